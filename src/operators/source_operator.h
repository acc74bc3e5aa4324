// SourceOperator: the engine's half of a source: event time per split, idleness, positions in the
// checkpoint. The reader only reads.
//
// Threads:    of its task.
// Invariants: 1. The watermark of a split is its newest row's time − the bound − 1 µs; it is part of the
//                checkpoint by the newest time.
//             2. A split becomes idle only after it was polled, caught up and without rows, for
//                `idle_after` of clock time in all; time in which it was not polled does not count.
//             3. A subtask without splits is finished at once: it holds nobody back.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "exchange/watermark_merger.h"
#include "levada/job.h"
#include "levada/source.h"
#include "levada/watermarks.h"

namespace levada {

/// A split as it is kept in a checkpoint.
struct SplitState {
  Split split;
  Timestamp newest_time = kMinWatermark;  ///< of the rows read so far
};

Bytes encode_splits(const std::vector<SplitState>& splits);
/// Appends to `into`; throws StateError.
void decode_splits(View bytes, std::vector<SplitState>& into);

class SourceOperator {
 public:
  static constexpr std::string_view kStateName = "splits";

  SourceOperator(std::unique_ptr<SourceReader> reader, detail::WatermarkStrategy watermarks,
                 std::vector<SplitState> splits);

  void open(OperatorContext& context);
  /// Fills `batch` (empty) with rows and their times.
  PollResult poll(Batch& batch);
  /// The event time after the rows polled so far.
  const InputTime& time() const noexcept { return time_; }
  /// The source was not polled although it could be: back-pressure. Its splits do not grow idle.
  void skipped() noexcept { last_poll_ = kNever; }
  SteadyTime next_time() const;

  void snapshot(SnapshotContext& context);
  void committed(CheckpointId checkpoint);
  void close() { reader_->close(); }
  std::string waiting_for() const { return reader_->waiting_for(); }
  /// Appends the splits' positions for people.
  void positions(const std::string& node, std::vector<SplitStatus>& into) const;

 private:
  struct State {
    std::string id;
    Timestamp newest_time;
    Duration quiet{};
    bool had_rows = false;
  };

  void note_rows(Batch& batch);
  void note_time(SteadyTime now);
  InputTime time_of(std::size_t split) const;
  Timestamp watermark_of(const State& split) const;

  std::unique_ptr<SourceReader> reader_;
  detail::WatermarkStrategy watermarks_;
  std::vector<State> splits_;
  std::vector<Split> initial_;
  WatermarkMerger merger_;
  InputTime time_;
  SteadyTime last_poll_ = kNever;
  std::vector<SplitRun> runs_;
  std::map<CheckpointId, std::vector<std::string>> positions_of_;
  const Clock* clock_ = nullptr;
};

}  // namespace levada
