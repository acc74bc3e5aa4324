// CheckpointCoordinator: decides when a checkpoint begins, collects the subtasks' snapshots, and
// makes the manifest. Only one checkpoint is under way at a time.
//
// States:      idle → in progress (begun) → committed | given up → idle.
// Invariants:  1. A manifest is written only when every subtask has answered with a handle.
//              2. A checkpoint that is given up is never committed later: late answers are ignored.
//              3. After a final checkpoint has begun, no other begins.
// Threads:     of the job's control.
// Failures:    JobError when a later instance has taken the directory over. Else none thrown: a checkpoint that
//              fails is counted; when they fail for longer than tolerated, exhausted() says so.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "levada/job.h"
#include "levada/options.h"

#include "base/log.h"
#include "checkpoint/epoch_sinks.h"
#include "checkpoint/job_directory.h"
#include "checkpoint/snapshot_result.h"
#include "exchange/element.h"

namespace levada {

/// The newest checkpoints of a job that are over, newest first.
class CheckpointHistory {
 public:
  static constexpr std::size_t kMost = 16;
  void add(CheckpointStatus status);
  CheckpointStatus& newest() { return statuses_.front(); }
  const std::deque<CheckpointStatus>& all() const noexcept { return statuses_; }

 private:
  std::deque<CheckpointStatus> statuses_;
};

class CheckpointCoordinator {
 public:
  /// `manifest` has everything but ids, time, handles and sinks: its subtasks are in task order. `sinks`
  /// null: none is exactly once. `history` outlives it and goes on over restarts.
  CheckpointCoordinator(JobDirectory& directory, CheckpointOptions options, Manifest manifest,
                        EpochSinks* sinks, CheckpointHistory& history, const Clock& clock, Log& log);

  /// What kind of checkpoint is to begin.
  struct Trigger {
    bool final = false;      ///< none comes after it
    bool stop = false;       ///< sources emit nothing after it
    bool drain = false;      ///< with `stop`: the last watermark goes before it
    bool savepoint = false;  ///< everything is written
  };
  /// Begins a checkpoint. REQUIRES: may_trigger(trigger.final). The caller sends the barrier to the sources.
  Barrier trigger(const Trigger& trigger);
  /// None is under way, and for a final one: one that failed was long enough ago.
  bool may_trigger(bool final) const;
  /// After the final checkpoint: the same once more, with what has been published since. False: it could
  /// not be written; try again at next_time().
  bool record_published();
  bool due() const { return !running_ && !final_ && clock_.steady_now() >= next_; }
  /// Makes the next checkpoint due after `delay`.
  void set_due_in(Duration delay) { next_ = clock_.steady_now() + delay; }

  /// Task `task` has answered. Returns true when this completed or ended the checkpoint: outcome() then says
  /// how.
  bool answered(std::size_t task, CheckpointId checkpoint, SnapshotResult result);
  /// The checkpoint under way has taken too long.
  bool is_late() const { return running_ && clock_.steady_now() >= begun_ + options_.timeout; }
  /// Who has not answered. REQUIRES: is_late().
  std::string why_late() const;
  /// Gives the checkpoint under way up. REQUIRES: not idle().
  void give_up(const std::string& reason) { end(false, reason); }

  struct Outcome {
    CheckpointId checkpoint = 0;
    bool committed = false;
    bool final = false;
  };
  const Outcome& outcome() const noexcept { return outcome_; }
  /// What was committed last. REQUIRES: outcome().committed.
  const Manifest& manifest() const noexcept { return manifest_; }

  bool idle() const noexcept { return !running_; }
  /// Checkpoints have failed for longer than tolerated.
  bool exhausted() const;
  const std::string& last_error() const noexcept { return last_error_; }
  SteadyTime next_time() const noexcept;
  void add_status(JobStatus& status) const;

 private:
  Barrier begin(const Trigger& trigger);
  void commit();
  void end(bool committed, const std::string& error);
  void count_state(CheckpointStatus& status) const;
  SteadyTime after_interval(SteadyTime time) const;
  Duration retry_pause() const;

  JobDirectory& directory_;
  CheckpointOptions options_;
  Manifest manifest_;
  EpochSinks* const sinks_;
  CheckpointHistory& history_;
  const Clock& clock_;
  Log& log_;

  bool running_ = false;
  bool final_ = false;
  Barrier barrier_;
  CheckpointId base_ = 0;  // the newest one committed by this coordinator
  SteadyTime begun_;
  SteadyTime next_;                // the next trigger of the interval
  SteadyTime retry_at_ = kNever;   // of a final one that failed
  std::size_t missing_ = 0;
  std::vector<bool> has_answered_;
  CheckpointStatus status_;  // of the one under way
  Outcome outcome_;

  SteadyTime failing_since_ = kNever;
  std::string last_error_;
  std::optional<CheckpointStatus> last_;
  std::uint64_t completed_ = 0;
  std::uint64_t failed_ = 0;
};

}  // namespace levada
