// InputGate: all channels into a subtask, with the barrier aligner and the merged event time. It hands
// out one thing at a time and never holds back anything but channels.
//
// Threads: of the consuming task.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "exchange/barrier_aligner.h"
#include "exchange/channel.h"
#include "exchange/watermark_merger.h"

namespace levada {

/// What the gate hands to the task.
struct GateEvent {
  enum class Kind { kNothing, kBatch, kTime, kBarrier, kEnd };
  Kind kind = Kind::kNothing;
  std::size_t input = 0;
  Channel* channel = nullptr;  ///< kBatch: where it goes back to
  BatchPtr batch;
  InputTime time;
  Barrier barrier;
};

class InputGate {
 public:
  struct Port {
    Channel* channel;
    std::size_t input;
  };

  explicit InputGate(std::vector<Port> ports);

  /// The next event; kNothing when all open channels are empty.
  GateEvent poll();
  /// True when some channel that is not held back has an element.
  bool ready() noexcept;
  void abort(CheckpointId checkpoint) { aligner_.abort(checkpoint); }
  BarrierAligner& aligner() noexcept { return aligner_; }
  const InputTime& time() const noexcept { return merger_.merged(); }

 private:
  std::optional<GateEvent> take(std::size_t port);
  std::optional<GateEvent> time_event(std::size_t port, const InputTime& time);
  std::optional<GateEvent> end_event(std::size_t port);

  std::vector<Port> ports_;
  std::vector<bool> ended_;
  BarrierAligner aligner_;
  WatermarkMerger merger_;
  std::size_t next_port_ = 0;
  std::optional<InputTime> time_after_batch_;
  std::size_t time_port_ = 0;
};

}  // namespace levada
