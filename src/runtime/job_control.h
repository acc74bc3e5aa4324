// JobControl: the life of a job: attempts, checkpoints, restarts, stop and cancel. It holds no thread of
// its own accord: control_step() is called by a control thread, or by the simulation as one of its steps.
//
// States:     starting → running → finished
//                          ├→ (a task failed) restarting → starting
//                          ├→ stopping (stop requested, or all input read) → final checkpoint, all
//                          │    exactly-once output published, that recorded → finished
//                          └→ failed | cancelled                     — from any state but the ends
// Invariants: 1. An attempt's tasks are made and destroyed while the executor steps none.
//             2. A failure before the first attempt ran ends the job: it is bad input, not bad luck.
//             3. Nothing that a task or the background reports is acted on in their threads: it becomes
//                an event.
// Threads:    control_step() from one; everything the Job handle offers from any.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "checkpoint/coordinator.h"
#include "checkpoint/job_directory.h"
#include "levada/job.h"
#include "levada/options.h"
#include "plan/physical_plan.h"
#include "runtime/attempt.h"
#include "runtime/checkpoint_requests.h"
#include "runtime/executor.h"
#include "runtime/job_restore.h"
#include "runtime/pending_savepoint.h"
#include "runtime/restart_policy.h"

namespace levada {

/// What a job runs on; a simulation hands in its own.
struct JobHost {
  const Clock* clock = nullptr;
  FileSystem* files = nullptr;
  std::function<std::unique_ptr<Executor>()> make_executor;
  /// Tells this process from one that was started from a copy of its checkpoint directory.
  std::uint64_t owner = 0;
};

namespace detail {

class JobControl final : private TaskListener, private ExecutorListener {
 public:
  JobControl(std::string name, std::shared_ptr<const PhysicalPlan> plan, EnvironmentOptions options,
             JobHost host, ExecuteOptions execute = {});
  ~JobControl() override;

  // ---- whoever drives it
  /// Does what is to be done. False when there was nothing: call again at next_time() or after an event.
  bool control_step();
  /// Whether there has been a reason for a step since the last call: for who steps it without its thread.
  bool take_wakes() noexcept;
  SteadyTime next_time() const;
  bool ended() const noexcept { return ended_.load(std::memory_order_acquire); }
  /// Starts the control thread.
  void start_thread();
  /// Runs before each attempt's first step; for tests of the simulation.
  void on_attempt(std::function<void(Attempt&)> hook) { on_attempt_ = std::move(hook); }
  const std::vector<Task*>* tasks() const { return attempt_ ? &attempt_->tasks() : nullptr; }

  // ---- the Job handle
  void wait();
  bool wait_for(Duration timeout);
  JobStatus status() const;
  std::string explain() const;
  void cancel() noexcept;
  void request_stop() noexcept;
  /// Asks for a checkpoint, or for a savepoint, whose directory is prepared at once. Throws StateError when
  /// there can be none.
  CheckpointRequests::Ticket ask(CheckpointRequests::Request request);
  const CheckpointRequests& requests() const noexcept { return requests_; }
  /// The state's name in checkpoints. Throws StateError when no step has that uid and state, or it is of another
  /// type.
  std::string check_query(const std::string& uid, const StateSpec& wanted) const;
  /// The value of a key, both encoded. Waits for the owning task, and while the job restarts.
  std::optional<Bytes> query(const std::string& uid, const StateSpec& state, std::uint64_t hash,
                             const Bytes& key, std::int64_t name_space);
  /// Cancels and joins.
  void shut_down() noexcept;

 private:
  struct Event {
    enum class Kind { kOpened, kEnded, kSnapshot, kFinished, kFailed };
    Event(Kind kind_in, int task_in) : kind(kind_in), task(task_in) {}
    Kind kind;
    int attempt = 0;
    int task;
    CheckpointId checkpoint = 0;
    SnapshotResult snapshot;
    std::string node;
    int subtask = -1;
    std::exception_ptr failure;
  };

  void task_opened(int task) noexcept override;
  void task_ended(int task) noexcept override;
  void snapshot_done(int task, CheckpointId checkpoint, SnapshotResult result) noexcept override;
  void task_finished(Task& task) noexcept override;
  void task_failed(Task& task, std::exception_ptr failure) noexcept override;
  void background_failed(std::exception_ptr failure) noexcept override;
  template <class Make>
  void post(Make make) noexcept;

  void run_thread();
  bool step_or_fail();
  template <class Step>
  void insist(Step step);
  bool step_state();
  bool start_attempt();
  bool prepare_attempt();
  void recover_sinks();
  bool go_back_a_checkpoint();
  bool step_running();
  bool take_events();
  void take(Event& event);
  bool step_checkpoints();
  std::string standing_calls() const;
  bool step_final_checkpoint(bool all_read, bool stop);
  void trigger(CheckpointCoordinator::Trigger trigger);
  bool step_savepoint();
  std::string reading_place() const;
  ColdReading cold_reading();
  void end_savepoint(const std::string& error);
  void give_claimed_up();
  bool step_draining();
  bool step_end();
  void take_outcome();
  void tell_all(TaskMail::Kind kind, CheckpointId checkpoint);
  void tell_sources(TaskMail mail);
  void post_query(std::shared_ptr<StateQueryCall> call);
  void drop_attempt() noexcept;
  void failed(const std::string& node, int subtask, std::exception_ptr failure);
  void end(JobState state, std::exception_ptr error);
  void set_state(JobState state);
  void publish();

  const std::string name_;
  const std::shared_ptr<const PhysicalPlan> plan_;
  const EnvironmentOptions options_;
  const JobHost host_;
  const ExecuteOptions execute_;
  Log log_;
  MemoryBudget memory_;
  JobRestore restore_;
  std::unique_ptr<JobDirectory> directory_;
  std::unique_ptr<EpochSinks> sinks_;  // null: none is exactly once
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<CheckpointCoordinator> coordinator_;
  RestartPolicy restart_policy_;
  CheckpointRequests requests_;
  CheckpointHistory history_;
  std::function<void(Attempt&)> on_attempt_;

  // Of the control.
  std::unique_ptr<Attempt> attempt_;
  std::shared_ptr<const RestoredCheckpoint> restored_;  // of the attempt being prepared
  std::unique_ptr<PendingSavepoint> savepoint_;
  bool preparing_ = false;
  std::exception_ptr gone_back_for_;  // why the newest checkpoint is not restored
  bool draining_ = false;  // the final checkpoint is there, its output is not all published
  int attempt_number_ = 0;
  std::size_t opened_count_ = 0;
  std::size_t ended_count_ = 0;
  std::size_t finished_count_ = 0;
  std::vector<std::uint64_t> steps_at_trigger_;  // of each task
  bool ran_once_ = false;
  bool finishing_ = false;
  bool final_begun_ = false;
  bool source_stop_sent_ = false;
  SteadyTime restart_at_ = kNever;
  JobState state_ = JobState::kStarting;

  Mailbox<Event> events_;
  std::atomic<bool> event_lost_{false};  // there was no memory for it
  std::atomic<int> current_attempt_{0};
  std::atomic<bool> stop_requested_{false};
  std::atomic<bool> cancel_requested_{false};
  std::atomic<bool> ended_{false};
  mutable sem_t wake_;
  std::thread thread_;

  mutable Mutex mutex_;
  mutable CondVar end_changed_;
  CondVar attempt_changed_;  // there are tasks, or there never will be any again
  const Attempt* visible_attempt_ LEVADA_GUARDED_BY(mutex_) = nullptr;
  const EpochSinks* visible_sinks_ LEVADA_GUARDED_BY(mutex_) = nullptr;
  JobStatus published_ LEVADA_GUARDED_BY(mutex_);
  bool end_published_ LEVADA_GUARDED_BY(mutex_) = false;
  std::exception_ptr error_ LEVADA_GUARDED_BY(mutex_);
};

}  // namespace detail
}  // namespace levada
