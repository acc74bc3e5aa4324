// Task: one subtask of a chain. step() is its only scheduling interface: it does a little (one batch,
// one control message, a slice of a snapshot, a few operator calls) and says why it stopped. It never
// waits for another subtask.
//
// States:      created → (first step opens and restores) → running → finished (told to finish).
// Invariants:  1. Mail is served at the start of every step, also while the chain is suspended.
//              2. Partly filled batches leave before the task waits, or after they lingered.
//              3. A source takes a checkpoint's trigger only when its chain is idle; others take the
//                 barrier from the gate. Barrier, snapshot and what follows happen in one step.
//              4. After the end of input the task lives on and takes part in checkpoints until it is
//                 told to finish.
// Threads:     step() and the destructor: one thread at a time. post(), status(): any thread.
// Failures:    step() throws what operators throw; the task must then be closed and not be stepped.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "checkpoint/restore.h"
#include "exchange/input_gate.h"
#include "levada/job.h"
#include "operators/source_operator.h"
#include "runtime/state_pace.h"
#include "runtime/chain.h"
#include "runtime/mailbox.h"
#include "runtime/state_query.h"
#include "runtime/task_snapshot.h"

namespace levada {

/// Why a step stopped.
enum class StepResult {
  kProgress,       ///< step again
  kWaitingInput,   ///< nothing to read
  kWaitingOutput,  ///< a channel is full
  kWaitingTimer,   ///< until next_time()
  kWaitingIo,      ///< an operator or source waits for the outside, or a snapshot for its writer
  kFinished,
};
std::string_view to_string(StepResult result);

/// What a task tells its job. Threads: called from the task's thread and the background queue.
class TaskListener {
 public:
  virtual ~TaskListener() = default;
  virtual void task_opened(int task) noexcept = 0;
  virtual void task_ended(int task) noexcept = 0;
  virtual void snapshot_done(int task, CheckpointId checkpoint, SnapshotResult result) noexcept = 0;
};

/// What a job tells a task.
struct TaskMail {
  enum class Kind { kTrigger, kCommitted, kAborted, kEndSource, kFinish, kQuery };
  Kind kind = Kind::kFinish;
  Barrier barrier;  ///< kTrigger; else only its checkpoint
  std::shared_ptr<StateQueryCall> query = nullptr;  ///< kQuery
};

/// Everything a task is made of.
struct TaskParts {
  int id = 0;
  int chain = 0;
  int subtask = 0;
  std::string name;  ///< of the chain, for messages
  bool may_block = false;
  std::vector<std::unique_ptr<ChainStage>> stages;
  std::vector<std::unique_ptr<OutputEdge>> edges;
  std::vector<InputGate::Port> ports;  ///< empty for a source
  std::size_t inputs = 1;
  std::unique_ptr<SourceOperator> source;  ///< null: reads the gate
  std::unique_ptr<Output> source_out;
  OperatorContext source_context;
  std::unique_ptr<OperatorCounters> source_counters;
  std::string source_state_id;
  Duration linger{};
  const Clock* clock = nullptr;
  Log* log = nullptr;
  MemoryBudget* memory = nullptr;
  BackgroundQueue* background = nullptr;
  TaskListener* listener = nullptr;
  std::shared_ptr<const RestoredCheckpoint> restored;  ///< null: a fresh start
  /// Makes the writer of this subtask's snapshot.
  std::function<std::unique_ptr<StateFileWriter>(CheckpointId)> make_writer;
  /// The same for the files of its cold tier.
  std::function<std::shared_ptr<ColdFilesWriter>(CheckpointId)> make_cold_writer;
  /// Null: keyed state is in memory alone.
  std::shared_ptr<const ColdBackend> cold_backend;
  ColdPlace cold_place;
};

class Task final : public Waker, public ChainListener {
 public:
  explicit Task(TaskParts parts);
  ~Task() override;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  StepResult step();
  /// Grows by one when a step begins and when it ends. Any thread.
  std::uint64_t steps() const noexcept { return steps_.load(std::memory_order_relaxed); }
  /// When a waiting task wants to be stepped although nothing woke it.
  SteadyTime next_time() const noexcept { return next_time_; }
  void post(TaskMail mail);
  /// Who steps this task and is woken for it; set before any task is stepped.
  void set_waker(Waker* waker) noexcept { waker_ = waker; }
  void wake() noexcept override {
    if (waker_ != nullptr) waker_->wake();
  }
  /// Closes the operators. Called once, after the last step, on any thread.
  void close() noexcept;

  int id() const noexcept { return parts_.id; }
  int chain_id() const noexcept { return parts_.chain; }
  int subtask() const noexcept { return parts_.subtask; }
  bool may_block() const noexcept { return parts_.may_block; }
  const std::string& name() const noexcept { return parts_.name; }
  /// The node to blame for what step() threw.
  std::string failed_node() const;
  BarrierAligner* aligner() noexcept { return gate_ ? &gate_->aligner() : nullptr; }
  /// Adds this subtask's figures to the status of its nodes and splits.
  void add_status(JobStatus& status) const;

 private:
  void barrier_passed(const Barrier& barrier) override;
  void end_passed() override;

  void open();
  void open_cold();
  void open_stage(ChainStage& stage);
  void serve_mail();
  void take(const TaskMail& mail);
  void answer(StateQueryCall& call);
  StepResult work();
  std::optional<StepResult> drive();
  bool do_due();
  StepResult poll_source();
  StepResult poll_gate();
  bool take_source_time();
  bool drain_source();
  void note_alignment();
  void note_synchronous(SteadyTime begun);
  void take_trigger();
  void push_barrier(const Barrier& barrier);
  StepResult wait(StepResult reason);
  // A chain in the middle of something has entries where it found them: nothing settles.
  bool tends_state() const { return snapshot_ || (!settling_.empty() && chain_->idle()); }
  bool tend_state(bool busy);
  void note_look(bool behind);
  bool tend_snapshot();
  bool settle_slice();
  bool room_came();
  void linger();
  void note_status(SteadyTime now);

  TaskParts parts_;
  std::unique_ptr<detail::ColdQueue> cold_;  // null: there is no cold tier; outlives the operators
  std::unique_ptr<Chain> chain_;
  std::unique_ptr<InputGate> gate_;
  std::shared_ptr<SpareBuffers> spare_buffers_;  // of snapshots; null before the first
  std::unique_ptr<TaskSnapshot> snapshot_;
  std::vector<StateTable*> settling_;  // after a snapshot: those that are not done yet
  std::shared_ptr<const SnapshotBase> last_taken_;  // that of the newest snapshot begun
  std::shared_ptr<const SnapshotBase> base_;        // that of the newest committed checkpoint
  StatePace pace_;
  Mailbox<TaskMail> mail_;
  Waker* waker_ = nullptr;
  std::shared_ptr<std::atomic<bool>> woken_;
  SteadyTime next_time_ = kNever;
  std::optional<Barrier> trigger_;
  InputTime source_time_;
  SteadyTime pending_since_ = kNever;
  SteadyTime aligning_since_ = kNever;  // the gate holds channels back
  bool barrier_in_chain_ = false;
  Duration aligned_{};      // of the barrier in the chain
  Duration synchronous_{};  // so far
  bool opened_ = false;
  bool running_source_ = false;
  bool source_done_ = false;
  bool drained_ = false;  // the last watermark was sent although the source has more
  bool stopped_ = false;
  bool finish_ = false;
  bool closed_ = false;

  std::atomic<std::uint64_t> steps_{0};
  std::atomic<std::int64_t> watermark_us_;
  SteadyTime status_at_ = SteadyTime::min();
  mutable Mutex status_mutex_;
  std::vector<SplitStatus> splits_ LEVADA_GUARDED_BY(status_mutex_);
  std::string waiting_for_ LEVADA_GUARDED_BY(status_mutex_);
};

}  // namespace levada
