// BarrierAligner: holds back the channels that delivered a checkpoint's barrier until all have.
//
// States:      idle; aligning checkpoint N with a set of channels that delivered.
// Transitions: the first barrier of N > any seen → aligning N; a barrier of a newer checkpoint while
//              aligning N gives N up; the last channel's barrier → aligned, idle again.
// Invariants:  1. Only a channel that delivered the current barrier is held back.
//              2. A barrier of a checkpoint that is over (complete, given up, aborted) is ignored.
//              3. A channel delivers each barrier once, in order of checkpoints.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "exchange/element.h"

namespace levada {

class BarrierAligner {
 public:
  explicit BarrierAligner(std::size_t channels) : delivered_(channels, false) {}

  /// Channel `channel` delivered `barrier`. Returns it when this aligns it.
  std::optional<Barrier> deliver(std::size_t channel, const Barrier& barrier);
  /// The checkpoint is over: releases the channels if it is being aligned.
  void abort(CheckpointId checkpoint);
  bool blocked(std::size_t channel) const { return aligning_ && delivered_[channel]; }
  bool aligning() const noexcept { return aligning_; }

  /// Planted fault for the tests of the simulation: barriers are taken without holding anything back.
  void set_alignment(bool on) noexcept { align_ = on; }

 private:
  void release();

  std::vector<bool> delivered_;
  std::size_t delivered_count_ = 0;
  bool aligning_ = false;
  bool align_ = true;
  Barrier current_;
  CheckpointId last_seen_ = 0;  // the newest checkpoint that was begun or is over
};

}  // namespace levada
