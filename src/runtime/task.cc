#include "runtime/task.h"

#include <algorithm>
#include <utility>

#include "base/assert_scope.h"
#include "base/fail_point.h"
#include "base/planted_bug.h"
#include "checkpoint/cold_restore.h"
#include "levada/error.h"

namespace levada {
namespace {

// How often a busy task brings its texts for the status up to date.
constexpr Duration kStatusInterval = 100ms;

}  // namespace

std::string_view to_string(StepResult result) {
  switch (result) {
    case StepResult::kProgress: return "progress";
    case StepResult::kWaitingInput: return "waiting for input";
    case StepResult::kWaitingOutput: return "waiting for output";
    case StepResult::kWaitingTimer: return "waiting for a timer";
    case StepResult::kWaitingIo: return "waiting for I/O";
    case StepResult::kFinished: return "finished";
  }
  return "unknown";
}

Task::Task(TaskParts parts)
    : parts_(std::move(parts)),
      woken_(std::make_shared<std::atomic<bool>>(false)),
      watermark_us_(kMinWatermark.time_since_epoch().count()) {
  chain_ = std::make_unique<Chain>(std::move(parts_.stages), std::move(parts_.edges), parts_.inputs,
                                   *this);
  if (!parts_.ports.empty()) gate_ = std::make_unique<InputGate>(std::move(parts_.ports));
}

Task::~Task() { close(); }

void Task::post(TaskMail mail) {
  mail_.post(mail);
  if (!LEVADA_PLANTED("task.not_woken_by_mail")) wake();
}

namespace {

// Its only writer is the thread that steps.
class CountedStep {
 public:
  explicit CountedStep(std::atomic<std::uint64_t>& steps) : steps_(steps) { count(); }
  ~CountedStep() { count(); }
  CountedStep(const CountedStep&) = delete;
  CountedStep& operator=(const CountedStep&) = delete;

 private:
  void count() { steps_.store(steps_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  std::atomic<std::uint64_t>& steps_;
};

}  // namespace

StepResult Task::step() {
  const AssertScope scope(*parts_.log, parts_.name, parts_.subtask);
  const CountedStep counted(steps_);
  if (!opened_) {
    open();
    return StepResult::kProgress;
  }
  serve_mail();
  if (finish_) {
    close();
    return StepResult::kFinished;
  }
  const StepResult result = work();
  const bool busy = result == StepResult::kProgress;
  return tend_state(busy) ? StepResult::kProgress : result;
}

// ---- opening

void Task::open() {
  const PhaseScope phase(parts_.restored ? Phase::kRestore : Phase::kRun);
  auto wake = [woken = woken_, waker = waker_] {
    woken->store(true, std::memory_order_release);
    if (waker != nullptr) waker->wake();
  };
  if (parts_.source) {
    parts_.source_context.wake = wake;
    running_source_ = true;
    parts_.source->open(parts_.source_context);
    running_source_ = false;
  }
  open_cold();
  for (const auto& stage : chain_->stages()) {
    stage->context.wake = wake;
    stage->context.cold = cold_.get();
    open_stage(*stage);
  }
  chain_->set_running(nullptr);
  parts_.restored.reset();  // its files are closed when all tasks have read theirs
  opened_ = true;
  note_status(parts_.clock->steady_now());
  parts_.listener->task_opened(parts_.id);
}

void Task::open_cold() {
  std::vector<std::string> nodes;
  KeyGroupRange range;
  for (const auto& stage : chain_->stages()) {
    nodes.push_back(stage->state_id);
    range = stage->context.key_groups;  // the same for all
  }
  std::unique_ptr<ColdTier> tier = restore_cold_tier(parts_.cold_backend.get(), parts_.cold_place,
                                                     parts_.restored.get(), nodes, range);
  if (tier == nullptr) return;
  cold_ = std::make_unique<detail::ColdQueue>(
      std::move(tier),
      [&background = *parts_.background](std::function<void()> job) { background.submit(std::move(job)); });
}

void Task::open_stage(ChainStage& stage) {
  chain_->set_running(&stage);
  stage.op->open(stage.context);
  if (!parts_.restored || parts_.restored->node(stage.state_id) == nullptr) return;
  LEVADA_FAILPOINT("restore.state.read");
  const RestoredNodeState state(*parts_.restored, stage.state_id);
  stage.op->restore(state);
}

void Task::close() noexcept {
  if (std::exchange(closed_, true)) return;
  snapshot_.reset();
  settling_.clear();
  if (parts_.source) parts_.source->close();
  for (const auto& stage : chain_->stages()) stage->op->close();
}

// ---- mail

void Task::serve_mail() {
  if (!mail_.has_mail()) return;
  for (const TaskMail& mail : mail_.take()) take(mail);
}

void Task::take(const TaskMail& mail) {
  switch (mail.kind) {
    case TaskMail::Kind::kTrigger:
      trigger_ = mail.barrier;
      break;
    case TaskMail::Kind::kCommitted:
      if (parts_.source) parts_.source->committed(mail.barrier.checkpoint);
      for (const auto& stage : chain_->stages()) stage->op->committed(mail.barrier.checkpoint);
      break;
    case TaskMail::Kind::kAborted:
      if (trigger_ && trigger_->checkpoint == mail.barrier.checkpoint) trigger_.reset();
      if (gate_) {
        gate_->abort(mail.barrier.checkpoint);
        note_alignment();
      }
      if (snapshot_ && snapshot_->checkpoint() == mail.barrier.checkpoint) snapshot_.reset();
      for (const auto& stage : chain_->stages()) stage->op->aborted(mail.barrier.checkpoint);
      break;
    case TaskMail::Kind::kEndSource:
      source_done_ = true;  // no last watermark: open windows do not fire
      break;
    case TaskMail::Kind::kFinish:
      finish_ = true;
      break;
    case TaskMail::Kind::kQuery:
      answer(*mail.query);
      break;
  }
}

// What goes wrong here is the trouble of who asked, not the job's.
void Task::answer(StateQueryCall& call) {
  try {
    for (const auto& stage : chain_->stages()) {
      if (stage->state_id != call.state_id) continue;
      StateLookUp* const state = stage->op->state_look_up(call.state);
      if (state == nullptr) throw StateError("query: '" + call.state_id + "' has no state '" + call.state + "'");
      Bytes value;
      const bool found = state->find_value(call.name_space, call.hash, View(call.key), value);
      call.answer.set_value(found ? std::optional(std::move(value)) : std::nullopt);
      return;
    }
    throw StateError("query: '" + call.state_id + "' is no step with state");
  } catch (...) {
    call.answer.set_exception(std::current_exception());
  }
}

// ---- work

StepResult Task::work() {
  if (const auto waiting = drive()) {
    if (parts_.source) parts_.source->skipped();
    return *waiting;
  }
  if (chain_->idle()) {
    if (do_due()) return StepResult::kProgress;
    return parts_.source ? poll_source() : poll_gate();
  }
  return StepResult::kProgress;
}

// Drives the chain. Empty when it is idle or moved on.
std::optional<StepResult> Task::drive() {
  const SteadyTime begun = barrier_in_chain_ ? parts_.clock->steady_now() : kNever;
  const Chain::Result result = chain_->drive();
  if (begun != kNever) note_synchronous(begun);
  switch (result) {
    case Chain::Result::kProgress:
      linger();
      return StepResult::kProgress;
    case Chain::Result::kIdle:
      return std::nullopt;
    case Chain::Result::kWaitingOutput:
      return wait(StepResult::kWaitingOutput);
    case Chain::Result::kWaitingOutside:
      return wait(StepResult::kWaitingIo);
  }
  return std::nullopt;
}

// What operators want done by now, or after a wake-up.
bool Task::do_due() {
  if (const SteadyTime next = chain_->next_time(); next != kNever) {
    const SteadyTime now = parts_.clock->steady_now();
    if (next <= now) chain_->push_due(now);
  }
  if (woken_->exchange(false, std::memory_order_acq_rel)) chain_->push_completions();
  return !chain_->idle();
}

StepResult Task::poll_source() {
  if (take_source_time()) return StepResult::kProgress;
  if (trigger_) {
    if (!drain_source()) take_trigger();
    return StepResult::kProgress;
  }
  if (stopped_ || drained_ || source_done_) return wait(StepResult::kWaitingInput);
  BatchPtr batch = parts_.source_out->take_empty();
  running_source_ = true;
  const PollResult result = parts_.source->poll(*batch);
  running_source_ = false;
  note_look(result == PollResult::kMore);
  source_done_ = source_done_ || result == PollResult::kFinished;
  if (batch->empty()) {
    parts_.source_out->recycle(std::move(batch));
    return result == PollResult::kLater && parts_.source->time() == source_time_
               ? wait(StepResult::kWaitingInput)
               : StepResult::kProgress;
  }
  LEVADA_FAILPOINT("runtime.row.polled");
  parts_.source_counters->rows_out.add(batch->size());
  chain_->push_batch(0, std::move(batch), nullptr, parts_.source_out.get());
  return StepResult::kProgress;
}

// Event time follows the rows it was made from, before any other row; after the last time, the end.
bool Task::take_source_time() {
  if (stopped_ || drained_) return false;
  if (parts_.source->time() != source_time_) {
    source_time_ = parts_.source->time();
    watermark_us_.store(source_time_.watermark.time_since_epoch().count(), std::memory_order_relaxed);
    chain_->push_time(source_time_);
    return true;
  }
  if (!source_done_) return false;
  stopped_ = true;
  chain_->push_end(0);
  return true;
}

// The last watermark, before the barrier of a stop that drains. False: it was sent already.
bool Task::drain_source() {
  if (!trigger_->drain || stopped_ || drained_) return false;
  drained_ = true;
  source_time_ = {kMaxWatermark, false};
  watermark_us_.store(source_time_.watermark.time_since_epoch().count(), std::memory_order_relaxed);
  chain_->push_time(source_time_);
  return true;
}

void Task::take_trigger() {
  const Barrier barrier = *std::exchange(trigger_, std::nullopt);
  if (barrier.stop) stopped_ = true;
  push_barrier(barrier);
}

// From here until the barrier has passed, and the snapshot is begun, the task does nothing else.
void Task::push_barrier(const Barrier& barrier) {
  barrier_in_chain_ = true;
  synchronous_ = Duration{0};
  chain_->push_barrier(barrier);
}

void Task::note_synchronous(SteadyTime begun) {
  synchronous_ += std::chrono::duration_cast<Duration>(parts_.clock->steady_now() - begun);
  if (barrier_in_chain_ || !snapshot_) return;  // barrier_passed() has come by otherwise
  snapshot_->set_times(aligned_, synchronous_);
}

void Task::note_alignment() {
  if (!gate_->aligner().aligning()) {
    aligning_since_ = kNever;
  } else if (aligning_since_ == kNever) {
    aligning_since_ = parts_.clock->steady_now();
  }
}

StepResult Task::poll_gate() {
  GateEvent event = gate_->poll();
  const bool behind = event.kind != GateEvent::Kind::kNothing;
  if (behind || !gate_->aligner().aligning()) note_look(behind);  // else there may be more that is held back
  const SteadyTime aligning_since = aligning_since_;
  note_alignment();
  switch (event.kind) {
    case GateEvent::Kind::kNothing:
      return wait(StepResult::kWaitingInput);
    case GateEvent::Kind::kBatch:
      chain_->push_batch(event.input, std::move(event.batch), event.channel, nullptr);
      break;
    case GateEvent::Kind::kTime:
      watermark_us_.store(event.time.watermark.time_since_epoch().count(),
                          std::memory_order_relaxed);
      chain_->push_time(event.time);
      break;
    case GateEvent::Kind::kBarrier: {
      const PhaseScope phase(Phase::kAlign);
      LEVADA_FAILPOINT("runtime.barrier.aligned");
      aligned_ = aligning_since == kNever
                     ? Duration{0}
                     : std::chrono::duration_cast<Duration>(parts_.clock->steady_now() - aligning_since);
      push_barrier(event.barrier);
      break;
    }
    case GateEvent::Kind::kEnd:
      chain_->push_end(event.input);
      break;
  }
  return StepResult::kProgress;
}

// Before waiting, everything that is partly filled leaves; then the time of the next step is fixed.
StepResult Task::wait(StepResult reason) {
  if (chain_->edges_pending() && !chain_->flush_edges()) reason = StepResult::kWaitingOutput;
  if (!chain_->edges_pending()) pending_since_ = kNever;
  next_time_ = chain_->next_time();
  if (parts_.source && reason == StepResult::kWaitingInput && !stopped_ && !source_done_) {
    next_time_ = std::min(next_time_, parts_.source->next_time());
  }
  if (tends_state()) next_time_ = std::min(next_time_, parts_.clock->steady_now() + Duration{1000});
  if (reason == StepResult::kWaitingOutput && room_came()) return StepResult::kProgress;
  note_status(parts_.clock->steady_now());
  if (reason == StepResult::kWaitingInput && next_time_ != kNever) return StepResult::kWaitingTimer;
  return reason;
}

// Asks for a wake-up, then looks again: room that came in between woke nobody.
bool Task::room_came() {
  chain_->await_room();
  if (chain_->drive() == Chain::Result::kProgress) return true;
  return chain_->edges_pending() && chain_->flush_edges();
}

// A row waits for at most the linger in a batch that does not fill up.
void Task::linger() {
  const SteadyTime now = parts_.clock->steady_now();
  if (!chain_->edges_pending()) {
    pending_since_ = kNever;
  } else {
    if (pending_since_ == kNever) pending_since_ = now;
    if (now - pending_since_ >= parts_.linger && chain_->flush_edges()) pending_since_ = kNever;
  }
  if (now - status_at_ >= kStatusInterval) note_status(now);
}

// ---- checkpoints

void Task::barrier_passed(const Barrier& barrier) {
  const PhaseScope phase(Phase::kAlign);
  LEVADA_FAILPOINT("runtime.snapshot.begun");
  const SteadyTime stood = parts_.clock->steady_now();
  barrier_in_chain_ = false;
  const CheckpointId checkpoint = barrier.checkpoint;
  snapshot_.reset();  // one that was given up
  settling_.clear();
  if (last_taken_ && last_taken_->checkpoint == barrier.base) base_ = last_taken_;
  if (base_ && base_->checkpoint != barrier.base) base_.reset();
  MemoryShare& memory = parts_.memory->snapshots();
  if (!spare_buffers_) spare_buffers_ = std::make_shared<SpareBuffers>(memory);
  snapshot_ = std::make_unique<TaskSnapshot>(
      checkpoint, base_, parts_.make_writer(checkpoint), *parts_.background, memory, spare_buffers_,
      [listener = parts_.listener, id = parts_.id, checkpoint](SnapshotResult result) {
        listener->snapshot_done(id, checkpoint, std::move(result));
      });
  last_taken_ = snapshot_->as_base();
  if (parts_.source) parts_.source->snapshot(snapshot_->context(parts_.source_state_id));
  for (const auto& stage : chain_->stages()) {
    stage->op->snapshot(snapshot_->context(stage->state_id));
  }
  // Behind what the tables had on its way: nothing else comes between.
  if (cold_) snapshot_->put_cold(*cold_, parts_.make_cold_writer(checkpoint));
  pace_.begin_snapshot(stood, parts_.clock->steady_now());
}

void Task::note_look(bool behind) {
  pace_.note_look(behind);
  if (snapshot_) snapshot_->give_way(pace_.rows_wait());
}

// Has a snapshot go on, or does a slice of what is left to do after one. True when the task should be stepped again for
// it.
bool Task::tend_state(bool busy) {
  if (!tends_state()) return false;
  const SteadyTime begun = parts_.clock->steady_now();
  if (!pace_.turn_of_state(busy, begun)) return true;
  const PhaseScope phase(Phase::kWrite);
  const bool again = snapshot_ ? tend_snapshot() : settle_slice();
  pace_.state_done(begun, parts_.clock->steady_now());
  return again;
}

bool Task::tend_snapshot() {
  if (!snapshot_->started()) {
    snapshot_->start();
    return false;
  }
  if (!snapshot_->captured()) return false;
  settling_ = snapshot_->end();
  snapshot_.reset();
  return true;
}

bool Task::settle_slice() {
  for (std::size_t tables = settling_.size(); tables > 0; --tables) {
    switch (settling_.back()->settle()) {
      case StateTable::Settled::kMore:
        return true;
      case StateTable::Settled::kWaiting:
        std::rotate(settling_.begin(), settling_.end() - 1, settling_.end());
        break;
      case StateTable::Settled::kDone:
        settling_.pop_back();
        break;
    }
  }
  return false;
}

void Task::end_passed() { parts_.listener->task_ended(parts_.id); }

// ---- status

std::string Task::failed_node() const {
  if (running_source_) return parts_.source_context.node;
  const ChainStage* stage = chain_->running();
  return stage != nullptr ? stage->context.node : parts_.name;
}

void Task::note_status(SteadyTime now) {
  status_at_ = now;
  std::string waiting = parts_.source ? parts_.source->waiting_for() : std::string();
  if (waiting.empty()) waiting = chain_->waiting_for();
  std::vector<SplitStatus> splits;
  if (parts_.source) parts_.source->positions(parts_.source_context.node, splits);
  MutexLock lock(status_mutex_);
  waiting_for_ = std::move(waiting);
  splits_ = std::move(splits);
}

void Task::add_status(JobStatus& status) const {
  const Timestamp watermark{Duration{watermark_us_.load(std::memory_order_relaxed)}};
  const auto add = [&](const std::string& node, const OperatorCounters& counters) {
    auto at = std::find_if(status.nodes.begin(), status.nodes.end(),
                           [&](const NodeStatus& known) { return known.node == node; });
    if (at == status.nodes.end()) {
      at = status.nodes.insert(status.nodes.end(), NodeStatus{.node = node, .watermark = watermark});
    }
    at->rows_in += counters.rows_in.value();
    at->rows_out += counters.rows_out.value();
    at->late_rows += counters.late_rows.value();
    at->bad_records += counters.bad_records.value();
    at->side_output_unread += counters.side_output_unread.value();
    at->watermark = std::min(at->watermark, watermark);
    MutexLock lock(status_mutex_);
    if (!waiting_for_.empty()) at->waiting_for.push_back(waiting_for_);
  };
  if (parts_.source) add(parts_.source_context.node, *parts_.source_counters);
  for (const auto& stage : chain_->stages()) add(stage->context.node, stage->counters);
  MutexLock lock(status_mutex_);
  status.splits.insert(status.splits.end(), splits_.begin(), splits_.end());
}

}  // namespace levada
