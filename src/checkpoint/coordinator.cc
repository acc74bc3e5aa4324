#include "checkpoint/coordinator.h"

#include <algorithm>
#include <exception>
#include <set>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

#include "base/fail_point.h"
#include "base/planted_bug.h"

namespace levada {

// ---- CheckpointHistory

void CheckpointHistory::add(CheckpointStatus status) {
  statuses_.push_front(std::move(status));
  if (statuses_.size() > kMost) statuses_.pop_back();
}

// ---- CheckpointCoordinator

CheckpointCoordinator::CheckpointCoordinator(JobDirectory& directory, CheckpointOptions options,
                                             Manifest manifest, EpochSinks* sinks,
                                             CheckpointHistory& history, const Clock& clock, Log& log)
    : directory_(directory),
      options_(std::move(options)),
      manifest_(std::move(manifest)),
      sinks_(sinks),
      history_(history),
      clock_(clock),
      log_(log),
      next_(after_interval(clock.steady_now())) {}

SteadyTime CheckpointCoordinator::after_interval(SteadyTime time) const {
  return options_.interval == Duration{0} ? kNever : time + options_.interval;
}

bool CheckpointCoordinator::may_trigger(bool final) const {
  return !running_ && !final_ && (!final || retry_at_ == kNever || clock_.steady_now() >= retry_at_);
}

Barrier CheckpointCoordinator::trigger(const Trigger& trigger) {
  LEVADA_ASSERT(may_trigger(trigger.final), "one checkpoint is under way at a time");
  return begin(trigger);
}

Barrier CheckpointCoordinator::begin(const Trigger& trigger) {
  running_ = true;
  final_ = trigger.final;
  retry_at_ = kNever;
  barrier_ = {.checkpoint = directory_.begin_checkpoint(),
              .stop = trigger.stop,
              .drain = trigger.drain,
              .base = trigger.savepoint ? 0 : base_};
  begun_ = clock_.steady_now();
  next_ = after_interval(begun_);
  missing_ = manifest_.subtasks.size();
  has_answered_.assign(missing_, false);
  status_ = {.id = barrier_.checkpoint, .savepoint = trigger.savepoint, .triggered = clock_.now()};
  if (sinks_ != nullptr) sinks_->barrier_under_way(barrier_.checkpoint);
  return barrier_;
}

bool CheckpointCoordinator::answered(std::size_t task, CheckpointId checkpoint, SnapshotResult result) {
  if (!running_ || checkpoint != barrier_.checkpoint || has_answered_[task]) return false;
  LEVADA_FAILPOINT("checkpoint.acked");
  if (!result.error.empty()) {
    end(false, result.error);
    return true;
  }
  has_answered_[task] = true;
  manifest_.subtasks[task].state = std::move(result.state);
  manifest_.subtasks[task].older = std::move(result.older);
  status_.bytes += result.bytes;
  status_.aligned = std::max(status_.aligned, result.aligned);
  status_.synchronous = std::max(status_.synchronous, result.synchronous);
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
  const auto swept = directory_.sweep(static_cast<std::size_t>(options_.retained));
  if (sinks_ != nullptr) sinks_->swept(swept.left);
  history_.newest().retained = static_cast<std::uint32_t>(swept.retained);
  last_ = history_.newest();
}

void CheckpointCoordinator::end(bool committed, const std::string& error) {
  running_ = false;
  if (sinks_ != nullptr) sinks_->barrier_under_way(0);
  outcome_ = {.checkpoint = barrier_.checkpoint, .committed = committed, .final = final_};
  const SteadyTime now = clock_.steady_now();
  if (options_.interval > Duration{0}) next_ = std::max(next_, now + options_.min_pause);
  status_.completed = committed;
  status_.duration = std::chrono::duration_cast<Duration>(now - begun_);
  if (committed) {
    ++completed_;
    failing_since_ = kNever;
    count_state(status_);
    status_.path = directory_.manifest_path(barrier_.checkpoint);
    history_.add(status_);
    return;
  }
  directory_.abandon(barrier_.checkpoint);
  ++failed_;
  status_.error = error;
  history_.add(status_);
  last_error_ = "checkpoint " + std::to_string(barrier_.checkpoint) + " failed: " + error;
  log_.warning(last_error_);
  if (failing_since_ == kNever) failing_since_ = now;
  if (final_) retry_at_ = now + retry_pause();
  final_ = false;
}

// A final checkpoint is tried again soon, but not at once: what failed has had no time to change.
Duration CheckpointCoordinator::retry_pause() const {
  constexpr Duration kMost = 1s;
  return options_.interval == Duration{0} ? kMost : std::min(options_.interval, kMost);
}

void CheckpointCoordinator::count_state(CheckpointStatus& status) const {
  std::set<std::string> older;
  for (const SubtaskState& subtask : manifest_.subtasks) {
    status.full_bytes += subtask.state.length;
    for (const StateHandle& file : subtask.older) {
      if (older.insert(file.file).second) status.full_bytes += file.length;
    }
  }
  status.older_files = static_cast<std::uint32_t>(older.size());
}

bool CheckpointCoordinator::record_published() {
  LEVADA_ASSERT(idle() && manifest_.final, "what was published is recorded after the final checkpoint");
  if (clock_.steady_now() < retry_at_ && retry_at_ != kNever) return false;
  begin({.final = true});
  commit();
  return outcome_.committed;
}

std::string CheckpointCoordinator::why_late() const {
  constexpr std::size_t kMost = 3;
  std::string names;
  std::size_t count = 0;
  for (std::size_t i = 0; i < has_answered_.size(); ++i) {
    if (has_answered_[i] || count++ >= kMost) continue;
    const SubtaskState& subtask = manifest_.subtasks[i];
    names += (names.empty() ? " '" : ", '") + subtask.chain + "' subtask " + std::to_string(subtask.subtask);
  }
  return "it took longer than its timeout; " + std::to_string(missing_) + " of " +
         std::to_string(has_answered_.size()) + " subtasks have not answered:" + names + (count > kMost ? ", …" : "");
}

bool CheckpointCoordinator::exhausted() const {
  return failing_since_ != kNever &&
         clock_.steady_now() >= failing_since_ + options_.tolerable_failure;
}

SteadyTime CheckpointCoordinator::next_time() const noexcept {
  if (running_) return begun_ + options_.timeout;
  return retry_at_ != kNever ? retry_at_ : next_;
}

void CheckpointCoordinator::add_status(JobStatus& status) const {
  status.last_checkpoint = last_;
  status.checkpoints_completed += completed_;
  status.checkpoints_failed += failed_;
  if (!last_error_.empty()) status.last_error = last_error_;
}

}  // namespace levada
