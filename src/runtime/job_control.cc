#include "runtime/job_control.h"

#include <ctime>

#include <algorithm>
#include <map>
#include <new>
#include <utility>

#include "base/fail_point.h"
#include "base/percent_encoding.h"
#include "base/planted_bug.h"
#include "base/thread.h"
#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/savepoint.h"
#include "plan/plan_printer.h"
#include "runtime/check_restore.h"

namespace levada::detail {
namespace {

// How long a checkpoint is put off that would only make a full epoch log longer.
constexpr Duration kHeldCheckpointPause = 50ms;
constexpr Duration kMemoryPause = 10ms;

// What kind of failure an exception is, and its text.
JobErrorCode code_of(const std::exception_ptr& failure, std::string& what) {
  try {
    std::rethrow_exception(failure);
  } catch (const JobError& error) {
    what = error.what();
    return error.code();
  } catch (const ConnectorError& error) {
    what = error.what();
    return JobErrorCode::kConnector;
  } catch (const FormatError& error) {
    what = error.what();
    return JobErrorCode::kConnector;
  } catch (const StateError& error) {
    what = error.what();
    return JobErrorCode::kState;
  } catch (const std::exception& error) {
    what = error.what();
    return JobErrorCode::kUserCode;
  } catch (...) {
    what = "an exception that is no std::exception";
    return JobErrorCode::kUserCode;
  }
}

bool is_job_error(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const JobError&) {
    return true;
  } catch (...) {
    return false;
  }
}

// What is asked of a job after its end, or was not done by then.
CheckpointRequests::Refusal refusal_after(JobState state, const std::exception_ptr& error,
                                          const std::string& job) {
  CheckpointRequests::Refusal refusal{.code = JobErrorCode::kCheckpoint, .what = "the job '" + job + "'"};
  if (error) {
    std::string what;
    refusal.code = code_of(error, what);
    refusal.what += " has failed: " + what;
  } else if (state == JobState::kCancelled) {
    refusal.code = JobErrorCode::kCancelled;
    refusal.what += " was cancelled";
  } else {
    refusal.what += " has ended";
  }
  return refusal;
}

std::size_t budget_of(const EnvironmentOptions& options) {
  return options.memory > 0 ? options.memory : default_memory_bytes();
}

}  // namespace

JobControl::JobControl(std::string name, std::shared_ptr<const PhysicalPlan> plan,
                       EnvironmentOptions options, JobHost host, ExecuteOptions execute)
    : name_(std::move(name)),
      plan_(std::move(plan)),
      options_(std::move(options)),
      host_(std::move(host)),
      execute_(execute),
      log_(options_.log),
      memory_(budget_of(options_)),
      restore_({.job = name_,
                .plan = *plan_,
                .options = options_,
                .execute = execute_,
                .files = *host_.files,
                .clock = *host_.clock,
                .log = log_}),
      restart_policy_(options_.restart, options_.checkpoint.enabled(), host_.owner) {
  sem_init(&wake_, 0, 0);
}

JobControl::~JobControl() {
  shut_down();
  drop_attempt();
  if (sinks_) sinks_->interrupt();
  executor_.reset();
  sem_destroy(&wake_);
}

// ---- what tasks and the background report

// When there is no memory to report anything, the attempt fails for that.
template <class Make>
void JobControl::post(Make make) noexcept {
  try {
    Event event = make();
    event.attempt = current_attempt_.load(std::memory_order_acquire);
    events_.post(std::move(event));
  } catch (...) {
    event_lost_.store(true, std::memory_order_release);
  }
  sem_post(&wake_);
}

void JobControl::task_opened(int task) noexcept {
  post([&] { return Event(Event::Kind::kOpened, task); });
}
void JobControl::task_ended(int task) noexcept {
  post([&] { return Event(Event::Kind::kEnded, task); });
}
void JobControl::task_finished(Task& task) noexcept {
  post([&] { return Event(Event::Kind::kFinished, task.id()); });
}

void JobControl::snapshot_done(int task, CheckpointId checkpoint, SnapshotResult result) noexcept {
  post([&] {
    Event event(Event::Kind::kSnapshot, task);
    event.checkpoint = checkpoint;
    event.snapshot = std::move(result);
    return event;
  });
}

void JobControl::task_failed(Task& task, std::exception_ptr failure) noexcept {
  post([&] {
    Event event(Event::Kind::kFailed, task.id());
    event.node = task.failed_node();
    event.subtask = task.subtask();
    event.failure = std::move(failure);
    return event;
  });
}

void JobControl::background_failed(std::exception_ptr failure) noexcept {
  post([&] {
    Event event(Event::Kind::kFailed, -1);
    event.failure = std::move(failure);
    return event;
  });
}

// ---- the control thread

void JobControl::start_thread() {
  thread_ = levada::start_thread(options_.threads.name_prefix + "-job", options_.threads.on_start,
                                 options_.threads.on_stop, [this] { run_thread(); });
}

void JobControl::run_thread() {
  while (!ended()) {
    if (control_step()) continue;
    const SteadyTime until = next_time();
    if (until == kNever) {
      sem_wait(&wake_);
      continue;
    }
    const auto since = until.time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    timespec deadline{};
    deadline.tv_sec = static_cast<std::time_t>(seconds.count());
    deadline.tv_nsec = static_cast<long>((since - seconds).count());
    sem_clockwait(&wake_, CLOCK_MONOTONIC, &deadline);
  }
}

bool JobControl::take_wakes() noexcept {
  bool any = false;
  while (sem_trywait(&wake_) == 0) any = true;
  return any;
}

bool JobControl::control_step() {
  if (ended()) return false;
  if (cancel_requested_.load(std::memory_order_acquire)) {
    insist([&] { end(JobState::kCancelled, nullptr); });
    return true;
  }
  return step_or_fail();
}

// Without memory a job can neither fail nor be cancelled: it waits for some.
template <class Step>
void JobControl::insist(Step step) {
  for (;;) {
    try {
      return step();
    } catch (const std::bad_alloc&) {
      std::this_thread::sleep_for(kMemoryPause);
    }
  }
}

bool JobControl::step_or_fail() {
  std::exception_ptr failure;
  try {
    return step_state();
  } catch (...) {
    failure = std::current_exception();
  }
  insist([&] { failed({}, -1, failure); });
  return true;
}

bool JobControl::step_state() {
  if (sinks_ && !preparing_) sinks_->check();
  switch (state_) {
    case JobState::kStarting:
      return attempt_ ? step_running() : start_attempt();
    case JobState::kRunning:
    case JobState::kStopping:
      return step_running();
    case JobState::kRestarting:
      if (host_.clock->steady_now() < restart_at_) return false;
      set_state(JobState::kStarting);
      return true;
    case JobState::kFinished:
    case JobState::kFailed:
    case JobState::kCancelled:
      break;
  }
  return false;
}

SteadyTime JobControl::next_time() const {
  if (state_ == JobState::kRestarting) return restart_at_;
  // Publishers wake it; a manifest that could not be written is tried again.
  const SteadyTime publish_by =
      savepoint_ && savepoint_->waits_for_output() ? savepoint_->publish_by() : kNever;
  if (draining_ && !sinks_->all_published()) return publish_by;
  if (!coordinator_ || !attempt_ || !ran_once_ || opened_count_ == 0 || finishing_) return publish_by;
  // What is due now waits for the savepoint, whose end wakes the control.
  const bool held = savepoint_ && (savepoint_->waits_for_output() || state_ == JobState::kStopping);
  if (held && coordinator_->idle() && !draining_) return publish_by;
  return std::min(publish_by, coordinator_->next_time());
}

// ---- starting

bool JobControl::start_attempt() {
  if (!preparing_) return prepare_attempt();
  try {
    if (sinks_ && !sinks_->recovered()) return false;
  } catch (const JobError& error) {
    if (go_back_a_checkpoint()) return true;
    // The one before is no help either: then the damage is what matters.
    const bool refused = error.code() == JobErrorCode::kSinkAhead || error.code() == JobErrorCode::kEpochLogLost;
    if (gone_back_for_ && refused) std::rethrow_exception(gone_back_for_);
    throw;
  }
  gone_back_for_ = nullptr;
  preparing_ = false;
  const auto restored = std::exchange(restored_, nullptr);
  AttemptParts parts{.plan = plan_,
                     .options = &options_,
                     .job = name_,
                     .clock = host_.clock,
                     .log = &log_,
                     .memory = &memory_,
                     .background = &executor_->background(),
                     .sinks = sinks_.get(),
                     .listener = this,
                     .restored = restored,
                     .splits = restore_.discover_splits(restored.get()),
                     .make_writer = {},
                     .make_cold_writer = {}};
  if (directory_) {
    parts.make_writer = [directory = directory_.get(), compression = options_.checkpoint.compression,
                         disk = executor_->disk()](CheckpointId id, int chain, int subtask) {
      return directory->make_writer(id, static_cast<std::uint32_t>(chain),
                                    static_cast<std::uint32_t>(subtask), compression, disk);
    };
    parts.make_cold_writer = [directory = directory_.get()](CheckpointId id, int chain, int subtask,
                                                            std::shared_ptr<KnownColdFiles> known) {
      return directory->make_cold_writer(id, static_cast<std::uint32_t>(chain),
                                         static_cast<std::uint32_t>(subtask), std::move(known));
    };
    coordinator_ = std::make_unique<CheckpointCoordinator>(*directory_, options_.checkpoint,
                                                           restore_.manifest_template(*directory_, restored.get()),
                                                           sinks_.get(), history_, *host_.clock, log_);
  }
  current_attempt_.store(++attempt_number_, std::memory_order_release);
  opened_count_ = ended_count_ = finished_count_ = 0;
  finishing_ = draining_ = final_begun_ = source_stop_sent_ = false;
  attempt_ = std::make_unique<Attempt>(std::move(parts));
  if (on_attempt_) on_attempt_(*attempt_);
  executor_->start(attempt_->tasks(), *this);
  {
    // Not before: queries wake tasks, and the executor has just told those whom to wake.
    MutexLock lock(mutex_);
    visible_attempt_ = attempt_.get();
    published_.restored_from =
        restored ? std::optional<CheckpointId>(restored->manifest().id) : std::nullopt;
  }
  attempt_changed_.notify_all();
  publish();
  return true;
}

// What an attempt needs before it is made; then the shards of exactly-once sinks are fenced, if they are
// not yet.
bool JobControl::prepare_attempt() {
  if (!directory_) directory_ = restore_.open_directory();
  if (!executor_) {
    executor_ = host_.make_executor();
    if (options_.state.cold) options_.state.cold->clear(reading_place());  // of a start that was killed
  }
  restored_ = restore_.restore(directory_.get());
  recover_sinks();
  preparing_ = true;
  return true;
}

void JobControl::recover_sinks() {
  if (!directory_) return;
  const PhaseScope phase(Phase::kRestore);
  const Manifest* const manifest = restored_ ? &restored_->manifest() : nullptr;
  if (sinks_) {
    sinks_->restarted(manifest);
    return;
  }
  std::vector<EpochSinkSpec> specs;
  for (std::size_t i = 0; i < plan_->graph->nodes().size(); ++i) {
    const Transformation& node = plan_->graph->nodes()[i];
    if (!node.sink || guarantee_of(*node.sink, true) != Guarantee::kExactlyOnce) continue;
    specs.push_back({static_cast<int>(i), state_id(*plan_->graph, static_cast<int>(i)), node.name,
                     node.sink.get()});
  }
  if (specs.empty() && (manifest == nullptr || manifest->sinks.empty())) return;
  sinks_ = std::make_unique<EpochSinks>(
      EpochSinks::Parts{.job = name_,
                        .owner = host_.owner,
                        .directory = directory_.get(),
                        .limits = options_.epoch_log,
                        .execute = execute_,
                        .clock = host_.clock,
                        .log = &log_,
                        .memory = &memory_.epoch_log(),
                        .changed = [this] { sem_post(&wake_); }},
      specs);
  sinks_->recover(restore_.manifests_to_recover(*directory_, manifest), restore_.origin());
  executor_->start_publishers(sinks_->publishers());
  MutexLock lock(mutex_);
  visible_sinks_ = sinks_.get();
}

// The output of the newest checkpoint is damaged and not published: the one before has the rows once more, unless
// some of that output is out by another shard or sink, which the decision about its marker says.
bool JobControl::go_back_a_checkpoint() {
  const std::exception_ptr damage = sinks_->log_damage();
  if (!damage || attempt_number_ > 0 || !restore_.set_aside(*directory_, *restored_)) return false;
  if (!gone_back_for_) gone_back_for_ = damage;
  std::string what;
  code_of(damage, what);
  log_.warning("checkpoint " + std::to_string(restored_->manifest().id) + " cannot be used: " + what);
  sinks_->interrupt();
  executor_->stop_publishers();
  {
    MutexLock lock(mutex_);
    visible_sinks_ = nullptr;
  }
  sinks_.reset();
  preparing_ = false;
  return true;
}

// ---- running

bool JobControl::step_running() {
  bool progress = take_events();
  if (!attempt_) return true;  // an event was a failure
  progress = step_checkpoints() || progress;
  progress = step_savepoint() || progress;
  progress = step_draining() || progress;
  progress = step_end() || progress;
  if (progress) publish();
  return progress;
}

bool JobControl::take_events() {
  if (event_lost_.exchange(false, std::memory_order_acquire)) throw std::bad_alloc();
  if (!events_.has_mail()) return false;
  for (Event& event : events_.take()) {
    if (event.attempt == attempt_number_ && attempt_) take(event);
  }
  return true;
}

void JobControl::take(Event& event) {
  switch (event.kind) {
    case Event::Kind::kOpened:
      if (++opened_count_ < attempt_->tasks().size()) break;
      ran_once_ = true;
      set_state(JobState::kRunning);
      break;
    case Event::Kind::kEnded:
      ++ended_count_;
      break;
    case Event::Kind::kFinished:
      ++finished_count_;
      break;
    case Event::Kind::kSnapshot:
      if (coordinator_->answered(static_cast<std::size_t>(event.task), event.checkpoint,
                                 std::move(event.snapshot))) {
        take_outcome();
      }
      break;
    case Event::Kind::kFailed:
      failed(event.node, event.subtask, std::move(event.failure));
      break;
  }
}

void JobControl::take_outcome() {
  const CheckpointCoordinator::Outcome outcome = coordinator_->outcome();
  publish();  // who is answered finds it in the status
  if (!outcome.committed) {
    if (outcome.final) final_begun_ = false;
    requests_.failed(coordinator_->last_error(), outcome.final);
    tell_all(TaskMail::Kind::kAborted, outcome.checkpoint);
    return;
  }
  if (const auto ticket = requests_.committed(history_.newest())) {
    if (outcome.final) stop_requested_.store(true, std::memory_order_release);
    directory_->hold(outcome.checkpoint);
    savepoint_ = std::make_unique<PendingSavepoint>(
        ticket, coordinator_->manifest(), history_.newest(),
        outcome.final ? kNever : host_.clock->steady_now() + options_.checkpoint.timeout);
    if (sinks_) sinks_->hurry();
  }
  give_claimed_up();
  tell_all(TaskMail::Kind::kCommitted, outcome.checkpoint);
  if (!outcome.final) return;
  if (sinks_) {
    draining_ = true;
    sinks_->hurry();
    return;
  }
  finishing_ = true;
  tell_all(TaskMail::Kind::kFinish, outcome.checkpoint);
}

// After the final checkpoint: everything is published, that is recorded, and then the job may end.
bool JobControl::step_draining() {
  if (!draining_ || !sinks_->all_published()) return false;
  if (sinks_->unrecorded() && !coordinator_->record_published()) {
    if (!coordinator_->exhausted()) return false;
    throw JobError(JobErrorCode::kCheckpoint, {}, -1, coordinator_->last_error());
  }
  draining_ = false;
  finishing_ = true;
  tell_all(TaskMail::Kind::kFinish, 0);
  return true;
}

bool JobControl::step_checkpoints() {
  if (!coordinator_ || finishing_ || draining_ || opened_count_ < attempt_->tasks().size()) return false;
  if (coordinator_->is_late()) {
    coordinator_->give_up(coordinator_->why_late() + standing_calls());
    take_outcome();
    return true;
  }
  if (coordinator_->exhausted()) {
    throw JobError(JobErrorCode::kCheckpoint, {}, -1, coordinator_->last_error());
  }
  // A savepoint says exactly what was published before it, so nothing comes after it until that is out.
  if (savepoint_ && savepoint_->waits_for_output()) return false;
  const bool all_read = ended_count_ == attempt_->tasks().size();
  const bool stop =
      stop_requested_.load(std::memory_order_acquire) || requests_.stop_waiting() != nullptr;
  if (all_read || stop) return step_final_checkpoint(all_read, stop);
  if (sinks_ && sinks_->wants_checkpoint()) coordinator_->set_due_in(Duration{0});
  const bool asked = requests_.any_waiting(savepoint_ == nullptr);
  if (!coordinator_->may_trigger(false) || (!asked && !coordinator_->due())) return false;
  if (sinks_ && sinks_->holds_checkpoints()) {
    coordinator_->set_due_in(kHeldCheckpointPause);
    return false;
  }
  trigger({});
  return true;
}

bool JobControl::step_final_checkpoint(bool all_read, bool stop) {
  if (all_read && LEVADA_PLANTED("job.no_final_checkpoint")) {
    finishing_ = true;
    tell_all(TaskMail::Kind::kFinish, 0);
    return true;
  }
  if (state_ == JobState::kRunning) set_state(JobState::kStopping);
  if (final_begun_ || !coordinator_->may_trigger(true)) return false;
  const CheckpointRequests::Ticket ticket = requests_.stop_waiting();
  if (ticket && savepoint_) return false;  // one at a time
  final_begun_ = true;
  trigger({.final = true, .stop = stop, .drain = ticket && ticket->drain});
  return true;
}

void JobControl::trigger(CheckpointCoordinator::Trigger trigger) {
  trigger.savepoint = requests_.board(savepoint_ == nullptr, trigger.final);
  steps_at_trigger_.clear();
  for (const Task* task : attempt_->tasks()) steps_at_trigger_.push_back(task->steps());
  tell_sources({.kind = TaskMail::Kind::kTrigger, .barrier = coordinator_->trigger(trigger)});
}

// The subtasks that have been within one call since the checkpoint began: a function that hangs, a server that does
// not answer.
std::string JobControl::standing_calls() const {
  std::string names;
  for (std::size_t i = 0; i < attempt_->tasks().size(); ++i) {
    const Task& task = *attempt_->tasks()[i];
    const std::uint64_t steps = task.steps();
    if (steps % 2 == 0 || steps != steps_at_trigger_[i]) continue;
    names += (names.empty() ? "; within one call since it began: '" : ", '") + task.name() + "' subtask " +
             std::to_string(task.subtask());
  }
  return names;
}

// ---- savepoints

bool JobControl::step_savepoint() {
  if (!savepoint_) return false;
  if (savepoint_->waits_for_output()) {
    if (!sinks_ || sinks_->all_published()) {
      if (sinks_) sinks_->fill_published(savepoint_->manifest());
      savepoint_->start(*host_.files, directory_->state_path(), cold_reading(), executor_->background(),
                        [this] { sem_post(&wake_); });
      return true;
    }
    if (host_.clock->steady_now() < savepoint_->publish_by()) return false;
    end_savepoint("its output is not published yet");
    return true;
  }
  if (!savepoint_->done()) return false;
  end_savepoint(savepoint_->error());
  return true;
}

// No job's: percent signs are followed by digits in their names.
std::string JobControl::reading_place() const { return percent_encode(name_) + "%savepoint"; }

ColdReading JobControl::cold_reading() {
  ColdReading reading;
  reading.backend = options_.state.cold;
  if (reading.backend == nullptr) return reading;
  reading.compression = options_.checkpoint.compression;
  reading.place = {.job = reading_place(),
                   .name = "read",
                   .log = [this](LogLevel level, std::string_view message) { log_.write(level, message); }};
  for (const Transformation& node : plan_->graph->nodes()) {
    for (const StateSpec& state : node.states) {
      for (const StateType* type : state.types) add_opaque_types(*type, reading.opaque);
    }
  }
  return reading;
}

void JobControl::end_savepoint(const std::string& error) {
  directory_->let_go(savepoint_->checkpoint());
  const auto savepoint = std::exchange(savepoint_, nullptr);
  const std::string& path = savepoint->ticket()->path;
  if (error.empty()) {
    CheckpointStatus status = savepoint->status();
    status.path = path;
    requests_.answer(savepoint->ticket(), status);
    return;
  }
  const std::string what = "the savepoint '" + path + "' failed: " + error;
  log_.warning(what);
  requests_.refuse(savepoint->ticket(), {.code = {}, .what = what});
}

// A checkpoint of our own is complete, and refers to nothing of the savepoint that this start began with.
void JobControl::give_claimed_up() {
  std::optional<JobRestore::Claimed> claimed = restore_.take_claimed();
  if (!claimed) return;
  executor_->background().submit_limited(
      [files = host_.files, savepoint = std::move(*claimed), log = &log_] {
        try {
          remove_savepoint(*files, savepoint.path, savepoint.manifest);
        } catch (const std::exception& failure) {
          log->warning("the savepoint '" + savepoint.path + "' was not removed: " + failure.what());
        }
        return std::size_t{0};
      });
}

// Without checkpoints a stop ends the sources, and the end of all input ends the job.
bool JobControl::step_end() {
  const std::size_t all = attempt_->tasks().size();
  if (finished_count_ == all) {
    if (savepoint_) return false;
    end(JobState::kFinished, nullptr);
    return true;
  }
  if (coordinator_ || opened_count_ < all || finishing_) return false;
  if (ended_count_ == all) {
    finishing_ = true;
    tell_all(TaskMail::Kind::kFinish, 0);
    return true;
  }
  if (source_stop_sent_ || !stop_requested_.load(std::memory_order_acquire)) return false;
  source_stop_sent_ = true;
  set_state(JobState::kStopping);
  tell_sources({.kind = TaskMail::Kind::kEndSource, .barrier = {}});
  return true;
}

void JobControl::tell_all(TaskMail::Kind kind, CheckpointId checkpoint) {
  for (Task* task : attempt_->tasks()) {
    task->post({.kind = kind, .barrier = {.checkpoint = checkpoint}});
  }
}

void JobControl::tell_sources(TaskMail mail) {
  for (Task* task : attempt_->tasks()) {
    if (plan_->is_source(plan_->chains[static_cast<std::size_t>(task->chain_id())])) task->post(mail);
  }
}

// ---- failures and ends

void JobControl::drop_attempt() noexcept {
  if (executor_) executor_->stop();
  {
    MutexLock lock(mutex_);
    if (visible_attempt_ != nullptr) {
      published_.nodes.clear();
      published_.splits.clear();
      try {
        for (const Task* task : visible_attempt_->tasks()) task->add_status(published_);
      } catch (const std::bad_alloc&) {
        // The status lacks what there was no memory for.
      }
    }
    visible_attempt_ = nullptr;
  }
  if (attempt_) {
    for (Task* task : attempt_->tasks()) task->close();
  }
  attempt_.reset();
}

void JobControl::failed(const std::string& node, int subtask, std::exception_ptr failure) {
  std::string what;
  const JobErrorCode code = code_of(failure, what);
  if (coordinator_ && !coordinator_->idle() && directory_) {
    coordinator_->give_up("the job failed");
    requests_.failed(coordinator_->last_error(), false);
  }
  drop_attempt();
  // There will be output after the checkpoint that was to be the last.
  if (savepoint_ && savepoint_->stops()) end_savepoint("the job failed before it ended");
  preparing_ = draining_ = false;
  restored_.reset();
  log_.error((node.empty() ? std::string() : node + ": ") + what);
  const bool fatal = !ran_once_ || code == JobErrorCode::kCheckpoint ||
                     code == JobErrorCode::kSinkAhead || code == JobErrorCode::kFenced ||
                     (sinks_ && sinks_->failed());
  const std::optional<Duration> delay =
      fatal ? std::nullopt : restart_policy_.failed(host_.clock->steady_now());
  {
    MutexLock lock(mutex_);
    published_.last_error = what;
    published_.restarts = restart_policy_.restarts();
  }
  if (!delay) {
    end(JobState::kFailed, is_job_error(failure) ? failure
                                                 : std::make_exception_ptr(JobError(
                                                       code, node, subtask, what, failure)));
    return;
  }
  restart_at_ = host_.clock->steady_now() + *delay;
  set_state(JobState::kRestarting);
}

void JobControl::end(JobState state, std::exception_ptr error) {
  drop_attempt();
  const CheckpointRequests::Ticket unfinished = savepoint_ ? savepoint_->ticket() : nullptr;
  savepoint_.reset();
  if (sinks_) sinks_->interrupt();
  executor_.reset();
  coordinator_.reset();
  {
    MutexLock lock(mutex_);
    published_.sinks.clear();
    try {
      if (sinks_) sinks_->add_status(published_);
    } catch (const std::bad_alloc&) {
      // The status lacks what there was no memory for.
    }
    visible_sinks_ = nullptr;
  }
  sinks_.reset();
  directory_.reset();  // gives the lock back
  set_state(state);
  const CheckpointRequests::Refusal refusal = refusal_after(state, error, name_);
  if (unfinished) requests_.refuse(unfinished, refusal);
  requests_.close(refusal);
  {
    MutexLock lock(mutex_);
    error_ = std::move(error);
    end_published_ = true;
  }
  ended_.store(true, std::memory_order_release);
  end_changed_.notify_all();
  attempt_changed_.notify_all();
}

void JobControl::set_state(JobState state) {
  state_ = state;
  MutexLock lock(mutex_);
  published_.state = state;
}

void JobControl::publish() {
  MutexLock lock(mutex_);
  if (!coordinator_) return;
  published_.checkpoints.assign(history_.all().begin(), history_.all().end());
  published_.checkpoints_completed = published_.checkpoints_failed = 0;
  coordinator_->add_status(published_);
}

// ---- the handle's side

void JobControl::wait() {
  {
    MutexLock lock(mutex_);
    while (!end_published_) end_changed_.wait(mutex_);
    if (error_) std::rethrow_exception(error_);
    if (published_.state != JobState::kCancelled) return;
  }
  throw JobError(JobErrorCode::kCancelled, {}, -1, "the job '" + name_ + "' was cancelled");
}

bool JobControl::wait_for(Duration timeout) {
  const SteadyTime until = system_clock().steady_now() + timeout;
  {
    MutexLock lock(mutex_);
    while (!end_published_) {
      if (!end_changed_.wait_until(mutex_, until) && !end_published_) return false;
    }
  }
  wait();
  return true;
}

JobStatus JobControl::status() const {
  MutexLock lock(mutex_);
  JobStatus status = published_;
  if (visible_attempt_ != nullptr) {
    status.nodes.clear();
    status.splits.clear();
    for (const Task* task : visible_attempt_->tasks()) task->add_status(status);
  }
  if (visible_sinks_ != nullptr) visible_sinks_->add_status(status);
  return status;
}

std::string JobControl::explain() const {
  std::string text = print_plan(*plan_);
  text += "memory budget " + std::to_string(memory_.total_bytes()) + " bytes\n";
  for (const auto& share : memory_.shares()) {
    text += "  " + std::string(share->name()) + ": limit " + std::to_string(share->limit_bytes()) +
            ", used " + std::to_string(share->used_bytes()) + ", peak " +
            std::to_string(share->peak_bytes()) + "\n";
  }
  return text;
}

void JobControl::cancel() noexcept {
  cancel_requested_.store(true, std::memory_order_release);
  sem_post(&wake_);
}

void JobControl::request_stop() noexcept {
  stop_requested_.store(true, std::memory_order_release);
  sem_post(&wake_);
}

CheckpointRequests::Ticket JobControl::ask(CheckpointRequests::Request request) {
  if (!options_.checkpoint.enabled()) {
    throw StateError("the job '" + name_ + "' takes no checkpoints and no savepoints: it has no "
                     "checkpoint.directory");
  }
  if (request.kind != CheckpointRequests::Request::Kind::kCheckpoint) {
    prepare_savepoint(*host_.files, request.path);
  }
  CheckpointRequests::Ticket ticket = requests_.ask(std::move(request));
  sem_post(&wake_);
  return ticket;
}

void JobControl::shut_down() noexcept {
  cancel();
  if (thread_.joinable()) thread_.join();
}

}  // namespace levada::detail
