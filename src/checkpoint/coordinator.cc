#include "checkpoint/coordinator.h"

#include <exception>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

#include "base/fail_point.h"
#include "base/planted_bug.h"

namespace levada {

CheckpointCoordinator::CheckpointCoordinator(JobDirectory& directory, CheckpointOptions options,
                                             Manifest manifest, EpochSinks* sinks,
                                             const Clock& clock, Log& log)
    : directory_(directory),
      options_(std::move(options)),
      manifest_(std::move(manifest)),
      sinks_(sinks),
      clock_(clock),
      log_(log),
      next_(clock.steady_now() + options_.interval) {}

std::optional<Barrier> CheckpointCoordinator::trigger_if_due() {
  if (running_ || final_ || clock_.steady_now() < next_) return std::nullopt;
  return begin(false, false);
}

Barrier CheckpointCoordinator::trigger_final(bool stop) {
  LEVADA_ASSERT(idle(), "the final checkpoint waits for the one under way");
  return begin(true, stop);
}

Barrier CheckpointCoordinator::begin(bool final, bool stop) {
  running_ = true;
  final_ = final;
  barrier_ = {.checkpoint = directory_.begin_checkpoint(), .stop = stop, .base = base_};
  begun_ = clock_.steady_now();
  next_ = begun_ + options_.interval;
  missing_ = manifest_.subtasks.size();
  has_answered_.assign(missing_, false);
  bytes_ = 0;
  if (sinks_ != nullptr) sinks_->barrier_under_way(barrier_.checkpoint);
  return barrier_;
}

bool CheckpointCoordinator::answered(std::size_t task, CheckpointId checkpoint, StateHandle state,
                                     std::vector<StateHandle> older, std::uint64_t bytes,
                                     const std::string& error) {
  if (!running_ || checkpoint != barrier_.checkpoint || has_answered_[task]) return false;
  LEVADA_FAILPOINT("checkpoint.acked");
  if (!error.empty()) {
    end(false, error);
    return true;
  }
  has_answered_[task] = true;
  manifest_.subtasks[task].state = std::move(state);
  manifest_.subtasks[task].older = std::move(older);
  bytes_ += bytes;
  if (--missing_ > 0) return false;
  commit();
  return true;
}

void CheckpointCoordinator::commit() {
  const PhaseScope phase(Phase::kManifest);
  manifest_.id = barrier_.checkpoint;
  manifest_.incarnation = directory_.incarnation();
  manifest_.created = clock_.now();
  manifest_.final = final_;
  const bool too_soon = sinks_ != nullptr && LEVADA_PLANTED("checkpoint.published_before_manifest");
  try {
    if (sinks_ != nullptr) sinks_->fill(manifest_);
    if (too_soon) sinks_->committed(manifest_);
    directory_.commit(manifest_);
  } catch (const JobError& failure) {
    // A later instance has the directory: no other checkpoint will do better.
    end(false, failure.what());
    throw;
  } catch (const std::exception& failure) {
    end(false, failure.what());
    return;
  }
  manifest_.previous = base_ = manifest_.id;
  if (sinks_ != nullptr && !too_soon) sinks_->committed(manifest_);
  end(true, {});
  directory_.sweep(static_cast<std::size_t>(options_.retained));
}

void CheckpointCoordinator::end(bool committed, const std::string& error) {
  running_ = false;
  if (sinks_ != nullptr) sinks_->barrier_under_way(0);
  outcome_ = {.checkpoint = barrier_.checkpoint, .committed = committed, .final = final_};
  const SteadyTime now = clock_.steady_now();
  if (committed) {
    ++completed_;
    failing_since_ = kNever;
    last_ = CheckpointStatus{.id = barrier_.checkpoint,
                             .duration = std::chrono::duration_cast<Duration>(now - begun_),
                             .bytes = bytes_};
    return;
  }
  directory_.abandon(barrier_.checkpoint);
  ++failed_;
  last_error_ = "checkpoint " + std::to_string(barrier_.checkpoint) + " failed: " + error;
  log_.warning(last_error_);
  if (failing_since_ == kNever) failing_since_ = now;
  final_ = false;
}

bool CheckpointCoordinator::record_published() {
  LEVADA_ASSERT(idle() && manifest_.final, "what was published is recorded after the final checkpoint");
  if (clock_.steady_now() < next_ && failing_since_ != kNever) return false;
  begin(true, false);
  commit();
  return outcome_.committed;
}

bool CheckpointCoordinator::give_up_if_late() {
  if (!running_ || clock_.steady_now() < begun_ + options_.timeout) return false;
  end(false, "it took longer than its timeout");
  return true;
}

bool CheckpointCoordinator::exhausted() const {
  return failing_since_ != kNever &&
         clock_.steady_now() >= failing_since_ + options_.tolerable_failure;
}

SteadyTime CheckpointCoordinator::next_time() const noexcept {
  return running_ ? begun_ + options_.timeout : next_;
}

void CheckpointCoordinator::add_status(JobStatus& status) const {
  status.last_checkpoint = last_;
  status.checkpoints_completed += completed_;
  status.checkpoints_failed += failed_;
  if (!last_error_.empty()) status.last_error = last_error_;
}

}  // namespace levada
