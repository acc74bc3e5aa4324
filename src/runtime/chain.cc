#include "runtime/chain.h"

#include <algorithm>
#include <utility>

#include "levada/assert.h"

namespace levada {
namespace {

// Operator calls of one drive(): keeps a step short while a firing makes many batches.
constexpr int kCallsPerDrive = 8;

}  // namespace

Chain::Chain(std::vector<std::unique_ptr<ChainStage>> stages,
             std::vector<std::unique_ptr<OutputEdge>> edges, std::size_t head_inputs,
             ChainListener& listener)
    : stages_(std::move(stages)),
      edges_(std::move(edges)),
      queues_(stages_.size()),
      inputs_left_(head_inputs),
      listener_(listener) {}

bool Chain::idle() const noexcept {
  return tail_.empty() &&
         std::all_of(queues_.begin(), queues_.end(), [](const Queue& q) { return q.empty(); });
}

void Chain::enter(Item item) {
  LEVADA_DEBUG_ASSERT(idle(), "work enters only an idle chain");
  (queues_.empty() ? tail_ : queues_.front()).push_back(std::move(item));
}

void Chain::push_batch(std::size_t input, BatchPtr batch, Channel* from, Output* source) {
  Item item;
  item.kind = Kind::kBatch;
  item.input = input;
  item.channel = from;
  item.output = source;
  item.batch = std::move(batch);
  if (!queues_.empty()) {
    stages_.front()->counters.rows_in.add(item.batch->size());
    enter(std::move(item));
    return;
  }
  to_tail(std::move(item.batch), *source, 0);  // a source alone
}

void Chain::push_time(const InputTime& time) {
  Item item;
  item.kind = Kind::kTime;
  item.time = time;
  enter(std::move(item));
}

void Chain::push_end(std::size_t input) {
  Item item;
  item.kind = Kind::kEnd;
  item.input = input;
  enter(std::move(item));
}

void Chain::push_barrier(const Barrier& barrier) {
  Item item;
  item.kind = Kind::kBarrier;
  item.barrier = barrier;
  enter(std::move(item));
}

void Chain::push_due(SteadyTime now) {
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (stages_[i]->op->next_time() > now) continue;
    Item item;
    item.kind = Kind::kDue;
    item.due = now;
    queues_[i].push_back(std::move(item));
  }
}

void Chain::push_completions() {
  for (Queue& queue : queues_) {
    Item item;
    item.kind = Kind::kCompletion;
    queue.push_back(std::move(item));
  }
}

Chain::Result Chain::drive() {
  bool progress = false;
  for (int calls = 0; calls < kCallsPerDrive; ++calls) {
    if (!tail_.empty()) {
      if (!drain_tail()) return progress ? Result::kProgress : Result::kWaitingOutput;
      progress = true;
    }
    std::size_t stage = stages_.size();
    while (stage > 0 && queues_[stage - 1].empty()) --stage;
    if (stage == 0) return progress ? Result::kProgress : Result::kIdle;
    if (!run_stage(stage - 1)) return progress ? Result::kProgress : Result::kWaitingOutside;
    progress = true;
  }
  return Result::kProgress;
}

// One call of one operator. False when it neither moved on nor emitted: it waits for the outside.
bool Chain::run_stage(std::size_t index) {
  ChainStage& stage = *stages_[index];
  Item& item = queues_[index].front();
  bool forward = false;
  running_ = &stage;
  const Step step = item.kind == Kind::kBatch ? run_batch(stage, item)
                                              : run_control(stage, item, forward);
  running_ = nullptr;
  const bool emitted = collect(index);
  if (step != Step::kDone) return emitted || step == Step::kSuspended;
  Item done = std::move(item);
  queues_[index].pop_front();
  if (done.batch) give_back(done);
  if (forward) (index + 1 < queues_.size() ? queues_[index + 1] : tail_).push_back(std::move(done));
  return true;
}

Chain::Step Chain::run_batch(ChainStage& stage, Item& item) {
  if (stage.hasher && !item.batch->has_hashes()) stage.hasher->hash(*item.batch);
  const std::size_t before = item.row;
  item.row = stage.op->process(item.input, item.batch, item.row, stage.out);
  LEVADA_DEBUG_ASSERT(item.row <= item.batch->size(), "process() stays within its batch");
  if (item.row >= item.batch->size()) return Step::kDone;
  return item.row > before ? Step::kSuspended : Step::kStuck;
}

Chain::Step Chain::run_control(ChainStage& stage, Item& item, bool& forward) {
  bool done = true;
  forward = true;
  switch (item.kind) {
    case Kind::kTime:
      done = stage.op->advance(item.time, stage.out);
      break;
    case Kind::kBarrier:
      done = stage.op->before_barrier(stage.out);
      break;
    case Kind::kEnd:
      done = stage.op->end_of_input(item.input, stage.out);
      // Inputs end at the first stage only; the end goes on with the last of them.
      if (done && &stage == stages_.front().get()) forward = --inputs_left_ == 0;
      break;
    case Kind::kDue:
      done = stage.op->on_time(item.due, stage.out);
      forward = false;
      break;
    case Kind::kCompletion:
      done = stage.op->on_completion(stage.out);
      forward = false;
      break;
    case Kind::kBatch:
      break;
  }
  return done ? Step::kDone : Step::kStuck;
}

// Moves what an operator emitted on to the next stage. Returns whether there was anything.
bool Chain::collect(std::size_t stage) {
  bool emitted = false;
  Output& out = stages_[stage]->out;
  collect_output(stage, out, 0, emitted);
  for (std::size_t i = 0; i < out.sides().size(); ++i) {
    collect_output(stage, out.sides()[i], i + 1, emitted);
  }
  return emitted;
}

void Chain::collect_output(std::size_t stage, Output& out, std::size_t index, bool& emitted) {
  if (out.type() == nullptr) return;
  while (BatchPtr batch = out.take()) {
    emitted = true;
    if (index == 0) stages_[stage]->counters.rows_out.add(batch->size());
    if (index > 0 || stage + 1 == stages_.size()) {
      to_tail(std::move(batch), out, index);
      continue;
    }
    Item item;
    item.kind = Kind::kBatch;
    item.output = &out;
    batch->set_has_hashes(false);
    stages_[stage + 1]->counters.rows_in.add(batch->size());
    item.batch = std::move(batch);
    queues_[stage + 1].push_back(std::move(item));
  }
}

// Queues a batch for every edge that reads the output: a copy for each but the last.
void Chain::to_tail(BatchPtr batch, Output& from, std::size_t output_index) {
  std::vector<OutputEdge*> readers;
  for (const auto& edge : edges_) {
    if (edge->output() == output_index) readers.push_back(edge.get());
  }
  if (readers.empty()) {
    if (!stages_.empty()) stages_.back()->counters.side_output_unread.add(batch->size());
    from.recycle(std::move(batch));
    return;
  }
  for (std::size_t i = 0; i < readers.size(); ++i) {
    Item item;
    item.kind = Kind::kBatch;
    item.edge = readers[i];
    if (i + 1 < readers.size()) {
      item.batch = batch->slice(0, batch->size());
    } else {
      item.output = &from;
      item.batch = std::move(batch);
    }
    tail_.push_back(std::move(item));
  }
}

bool Chain::drain_tail() {
  while (!tail_.empty()) {
    if (!drain_tail_item(tail_.front())) return false;
    Item done = std::move(tail_.front());
    tail_.pop_front();
    if (done.batch) give_back(done);
    if (done.kind == Kind::kBarrier) listener_.barrier_passed(done.barrier);
    if (done.kind == Kind::kEnd) listener_.end_passed();
  }
  return true;
}

bool Chain::drain_tail_item(Item& item) {
  switch (item.kind) {
    case Kind::kBatch:
      return item.edge->write(item.batch, item.row);
    case Kind::kTime:
      for (const auto& edge : edges_) edge->set_time(item.time);
      return true;
    case Kind::kBarrier:
    case Kind::kEnd: {
      if (!flush_edges()) return false;
      for (const auto& edge : edges_) {
        if (!edge->control_room()) return false;
      }
      const auto kind =
          item.kind == Kind::kEnd ? Element::Kind::kEnd : Element::Kind::kBarrier;
      for (const auto& edge : edges_) edge->push_control(kind, item.barrier);
      return true;
    }
    case Kind::kDue:
    case Kind::kCompletion:
      break;
  }
  return true;
}

void Chain::give_back(Item& item) {
  item.batch->clear();
  if (item.channel != nullptr) {
    item.channel->give_back(std::move(item.batch));
  } else if (item.output != nullptr) {
    item.output->recycle(std::move(item.batch));
  }
}

bool Chain::flush_edges() {
  bool all = true;
  for (const auto& edge : edges_) all = edge->flush() && all;
  return all;
}

bool Chain::edges_pending() const noexcept {
  return std::any_of(edges_.begin(), edges_.end(),
                     [](const auto& edge) { return edge->has_pending(); });
}

void Chain::await_room() noexcept {
  for (const auto& edge : edges_) edge->await_room();
}

// What is in the chain comes first: until it has gone on, only whom it waits for is called, and nobody is when it waits
// for room behind the chain.
SteadyTime Chain::next_time() const {
  if (!tail_.empty()) return kNever;
  for (std::size_t stage = stages_.size(); stage > 0; --stage) {
    if (!queues_[stage - 1].empty()) return stages_[stage - 1]->op->next_time();
  }
  SteadyTime next = kNever;
  for (const auto& stage : stages_) next = std::min(next, stage->op->next_time());
  return next;
}

std::string Chain::waiting_for() const {
  for (const auto& stage : stages_) {
    if (std::string text = stage->op->waiting_for(); !text.empty()) return text;
  }
  return {};
}

}  // namespace levada
