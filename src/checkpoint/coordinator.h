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
#include <optional>
#include <string>
#include <vector>

#include "levada/job.h"
#include "levada/options.h"

#include "base/log.h"
#include "checkpoint/epoch_sinks.h"
#include "checkpoint/job_directory.h"
#include "exchange/element.h"

namespace levada {

class CheckpointCoordinator {
 public:
  /// `manifest` has everything but ids, time, handles and sinks: its subtasks are in task order. `sinks`
  /// null: none is exactly once.
  CheckpointCoordinator(JobDirectory& directory, CheckpointOptions options, Manifest manifest,
                        EpochSinks* sinks, const Clock& clock, Log& log);

  /// Begins the next checkpoint if it is due. The caller sends the barrier to the sources.
  std::optional<Barrier> trigger_if_due();
  /// Begins the final checkpoint; the caller has seen idle(). `stop`: sources emit nothing after
  /// it.
  Barrier trigger_final(bool stop);
  /// After the final checkpoint: the same once more, with what has been published since. False: it could
  /// not be written; try again at next_time().
  bool record_published();
  bool due() const { return !running_ && !final_ && clock_.steady_now() >= next_; }
  /// Makes the next checkpoint due after `delay`.
  void set_due_in(Duration delay) { next_ = clock_.steady_now() + delay; }

  /// Task `task` has answered; `error` empty: with `state`, which refers to `older` files and was written with
  /// `bytes`. Returns true when this completed or
  /// ended the checkpoint: outcome() then says how.
  bool answered(std::size_t task, CheckpointId checkpoint, StateHandle state,
                std::vector<StateHandle> older, std::uint64_t bytes, const std::string& error);
  /// Gives the checkpoint under way up when it has taken too long. True when it did.
  bool give_up_if_late();
  /// Gives the checkpoint under way up. REQUIRES: not idle().
  void give_up(const std::string& reason) { end(false, reason); }

  struct Outcome {
    CheckpointId checkpoint = 0;
    bool committed = false;
    bool final = false;
  };
  const Outcome& outcome() const noexcept { return outcome_; }

  bool idle() const noexcept { return !running_; }
  /// Checkpoints have failed for longer than tolerated.
  bool exhausted() const;
  const std::string& last_error() const noexcept { return last_error_; }
  SteadyTime next_time() const noexcept;
  void add_status(JobStatus& status) const;

 private:
  Barrier begin(bool final, bool stop);
  void commit();
  void end(bool committed, const std::string& error);

  JobDirectory& directory_;
  CheckpointOptions options_;
  Manifest manifest_;
  EpochSinks* const sinks_;
  const Clock& clock_;
  Log& log_;

  bool running_ = false;
  bool final_ = false;
  Barrier barrier_;
  CheckpointId base_ = 0;  // the newest one committed by this coordinator
  SteadyTime begun_;
  SteadyTime next_;
  std::size_t missing_ = 0;
  std::vector<bool> has_answered_;
  std::uint64_t bytes_ = 0;
  Outcome outcome_;

  SteadyTime failing_since_ = kNever;
  std::string last_error_;
  std::optional<CheckpointStatus> last_;
  std::uint64_t completed_ = 0;
  std::uint64_t failed_ = 0;
};

}  // namespace levada
