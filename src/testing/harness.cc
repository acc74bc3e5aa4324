#include "levada/testing/harness.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <stdexcept>
#include <utility>

#include "base/log.h"
#include "base/manual_clock.h"
#include "checkpoint/cold_restore.h"
#include "checkpoint/manifest.h"
#include "checkpoint/restore.h"
#include "checkpoint/state_file.h"
#include "levada/detail/key_groups.h"
#include "levada/error.h"
#include "testing/harness_cold.h"
#include "testing/simulated_file_system.h"

namespace levada::testing {

struct HarnessSnapshot::Contents {
  CheckpointId checkpoint = 0;
  std::size_t entries = 0;
  mutable SimulatedFileSystem files;
  Bytes manifest;
};

CheckpointId HarnessSnapshot::checkpoint() const { return contents_->checkpoint; }
std::size_t HarnessSnapshot::entries() const { return contents_->entries; }

}  // namespace levada::testing

namespace levada::detail {

using testing::HarnessOptions;
using testing::HarnessSnapshot;

namespace {

// The step's id in snapshots, whatever its uid is.
constexpr std::string_view kNode = "step";
constexpr std::string_view kStateDirectory = "/state";
constexpr std::size_t kEntriesPerScan = 2048;
// What is free of the state's memory where there is a cold tier: next to nothing.
constexpr std::size_t kColdFreeBytes = std::size_t{64} << 10;

std::shared_ptr<const ColdBackend>& cold_backend() {
  static std::shared_ptr<const ColdBackend> backend;
  return backend;
}

struct Item {
  enum class Kind { kBatch, kTime, kEnd, kBarrier, kDue, kCompletion };
  Kind kind = Kind::kTime;
  std::size_t input = 0;
  BatchPtr batch;
  std::size_t row = 0;
  InputTime time;
};

// An input of the step: the row at hand, and how it finds its subtask.
struct Input {
  OutputRef ref;
  BatchPtr row;
  std::unique_ptr<KeyHasher> hasher;  // null: no key
  ExchangeKind exchange = ExchangeKind::kForward;
};

// Where one subtask's snapshot goes; lives until the snapshot is finished or given up.
class Writing final : public SnapshotContext {
 public:
  Writing(CheckpointId checkpoint, FileSystem& files, int subtask, std::size_t& entries)
      : checkpoint_(checkpoint),
        writer_(files, std::string(kStateDirectory), "tmp-" + std::to_string(subtask),
                [](const std::string&) { return true; }),
        entries_(entries) {}

  CheckpointId checkpoint() const override { return checkpoint_; }
  void put_operator_state(std::string_view name, std::string_view bytes) override {
    writer_.put_operator_state(kNode, name, bytes);
  }
  void put_table(StateTable& table) override {
    const std::uint32_t index = writer_.begin_table(kNode, table.name(), table.schema());
    tables_.push_back({&table, std::make_unique<Blocks>(*this, index)});
    table.begin_snapshot(checkpoint_, *tables_.back().blocks);
  }

  // The tier behind all its changes so far is part of the snapshot.
  void put_cold(ColdQueue& queue, FileSystem& files) {
    cold_ = std::make_shared<ColdFilesWriter>(
        files, std::string(kStateDirectory), "tmp-cold", [](const std::string&) { return true; },
        std::make_shared<KnownColdFiles>());
    ticket_ = queue.submit([cold = cold_](ColdTier& tier) { tier.write_checkpoint(*cold); }, false);
  }

  StateHandle finish() {
    for (const Capturing& capturing : tables_) {
      while (!capturing.table->scan(kEntriesPerScan)) {
      }
      capturing.table->end_snapshot();
    }
    if (cold_) {
      ColdQueue::finish(ticket_);
      std::vector<ColdFile> cold = cold_->take();
      for (const ColdFile& file : cold) older.push_back(file.content);
      writer_.put_cold_files(std::move(cold));
    }
    return writer_.finish();
  }
  std::vector<StateHandle> older;  // what the finished snapshot refers to
  void abort() {
    for (const Capturing& capturing : tables_) capturing.table->abort_snapshot();
    if (cold_) ColdQueue::finish(ticket_);  // it writes to the snapshot's files
  }

 private:
  class Blocks final : public BlockSink {
   public:
    Blocks(Writing& writing, std::uint32_t table) : writing_(writing), table_(table) {}
    void block(StateBlock&& block) override {
      writing_.entries_ += block.entries;
      writing_.writer_.put_block(table_, block);
    }

   private:
    Writing& writing_;
    std::uint32_t table_;
  };
  struct Capturing {
    StateTable* table;
    std::unique_ptr<Blocks> blocks;
  };

  CheckpointId checkpoint_;
  StateFileWriter writer_;
  std::size_t& entries_;
  std::shared_ptr<ColdFilesWriter> cold_;
  ColdQueue::Ticket ticket_;
  std::vector<Capturing> tables_;
};

// One operator, with what it still has to do.
struct Subtask {
  explicit Subtask(Output out_in) : out(std::move(out_in)) {}
  ~Subtask() {
    if (writing) writing->abort();
    if (opened) op->close();
  }

  std::deque<std::function<void()>> background;  // of its cold tier
  std::unique_ptr<ColdQueue> cold;               // outlives the operator
  OperatorContext context;
  OperatorCounters counters;
  Output out;
  std::unique_ptr<Operator> op;
  bool opened = false;
  BatchPtr filling;
  std::size_t filling_input = 0;
  std::deque<Item> queue;
  std::unique_ptr<Writing> writing;
  std::shared_ptr<std::atomic<bool>> woken = std::make_shared<std::atomic<bool>>(false);
};

[[noreturn]] void throw_broken(const std::string& what) {
  throw std::logic_error("OperatorHarness: the operator breaks its contract: " + what);
}

}  // namespace

class HarnessCore::Impl {
 public:
  Impl(const std::vector<const BatchType*>& inputs, const HarnessOptions& options)
      : options_(options),
        graph_(std::make_shared<LogicalGraph>()),
        clock_(options.now),
        memory_(options.memory) {
    MemoryShare& state = memory_.state();
    if (cold_backend() && state.limit_bytes() > kColdFreeBytes) {
      state.acquire(state.limit_bytes() - kColdFreeBytes);
    }
    for (const BatchType* type : inputs) {
      Transformation node;
      node.kind = NodeKind::kSource;
      node.name = "harness";
      node.outputs = {{.tag = {}, .type = type}};
      Input& input = inputs_.emplace_back();
      input.ref = {graph_->add(std::move(node)), 0};
      input.row = Batch::make(*type, 1);
    }
  }

  const std::shared_ptr<LogicalGraph>& graph() const { return graph_; }
  OutputRef input(std::size_t index) const { return inputs_[index].ref; }
  Batch& row(std::size_t input) { return *inputs_[input].row; }
  const InputTime& time() const { return time_; }
  const MemoryBudget& memory() const { return memory_; }
  const std::vector<std::string>& logged() const { return logged_; }

  void start() {
    if (!graph_->problems().empty()) throw GraphError(graph_->problems());
    if (graph_->nodes().size() != inputs_.size() + 1) {
      throw std::logic_error("OperatorHarness: it runs exactly one step, this function built " +
                             std::to_string(graph_->nodes().size() - inputs_.size()));
    }
    for (const InputEdge& edge : step().inputs) {
      Input& input = inputs_[static_cast<std::size_t>(edge.from.node)];
      input.exchange = edge.exchange.kind;
      if (edge.exchange.hasher) input.hasher = edge.exchange.hasher->clone_hasher();
    }
    results_.resize(step().outputs.size());
    start_subtasks(options_.parallelism, nullptr);
  }

  void push_row(std::size_t index, Timestamp time) {
    const Input& input = inputs_[index];
    Batch& row = *input.row;
    row.times()[0] = time;
    row.set_size(1);
    if (input.hasher) input.hasher->hash(row);
    if (input.exchange == ExchangeKind::kBroadcast) {
      for (const auto& subtask : subtasks_) append(*subtask, index, *row.slice(0, 1));
    } else {
      append(*subtasks_[owner(input)], index, row);
    }
    row.clear();
  }

  void push_time(const InputTime& time) {
    if (time.watermark < time_.watermark) {
      throw std::logic_error("OperatorHarness: a watermark never goes back");
    }
    time_ = time;
    push_to_all(Item::Kind::kTime);
  }

  void push_end() {
    for (std::size_t input = 0; input < inputs_.size(); ++input) push_to_all(Item::Kind::kEnd, input);
  }

  void advance_clock(Duration by) {
    settle();
    clock_.advance(by);
    run_all();
    const SteadyTime now = clock_.steady_now();
    for (const auto& subtask : subtasks_) {
      if (subtask->queue.empty() && subtask->op->next_time() <= now) {
        enqueue(*subtask, Item::Kind::kDue);
      }
    }
    run_all();
  }

  void begin_snapshot() {
    if (snapshot_) throw std::logic_error("OperatorHarness: a snapshot is under way already");
    settle();
    snapshot_ = std::make_shared<HarnessSnapshot::Contents>();
    snapshot_->checkpoint = ++last_checkpoint_;
    snapshot_->files.create_directories(std::string(kStateDirectory));
    push_to_all(Item::Kind::kBarrier);
  }

  HarnessSnapshot finish_snapshot() {
    if (!snapshot_) throw std::logic_error("OperatorHarness: no snapshot was begun");
    settle();
    Manifest manifest;
    manifest.job_name = "harness";
    manifest.id = snapshot_->checkpoint;
    manifest.max_parallelism = static_cast<std::uint32_t>(options_.max_parallelism);
    manifest.nodes = {
        {std::string(kNode), step().name, static_cast<std::uint32_t>(subtasks_.size())}};
    for (const auto& subtask : subtasks_) {
      if (!subtask->writing) throw_waiting(*subtask, "the barrier did not pass");
      const StateHandle state = subtask->writing->finish();
      manifest.subtasks.push_back({step().name,
                                   static_cast<std::uint32_t>(subtask->context.subtask), state,
                                   subtask->writing->older});
      subtask->writing.reset();
    }
    snapshot_->manifest = encode(manifest);
    return HarnessSnapshot(std::exchange(snapshot_, nullptr));
  }

  void abort_snapshot() {
    if (!snapshot_) throw std::logic_error("OperatorHarness: no snapshot was begun");
    for (const auto& subtask : subtasks_) {
      if (subtask->writing) subtask->writing->abort();
      subtask->writing.reset();
      subtask->op->aborted(snapshot_->checkpoint);
    }
    snapshot_.reset();
  }

  void committed(CheckpointId checkpoint) {
    settle();
    for (const auto& subtask : subtasks_) subtask->op->committed(checkpoint);
  }

  void restore(const HarnessSnapshot& snapshot, int parallelism) {
    subtasks_.clear();
    snapshot_.reset();
    for (auto& batches : results_) batches.clear();
    time_ = {};
    const HarnessSnapshot::Contents& contents = snapshot.contents();
    last_checkpoint_ = std::max(last_checkpoint_, contents.checkpoint);
    const RestoredCheckpoint restored(contents.files, std::string(kStateDirectory),
                                      decode_manifest(contents.manifest, "the harness's manifest"));
    start_subtasks(parallelism, &restored);
  }

  void take(std::string_view tag, const std::function<void(Batch&)>& f) {
    settle();
    for (std::size_t i = 0; i < results_.size(); ++i) {
      if (step().outputs[i].tag != tag) continue;
      for (const BatchPtr& batch : std::exchange(results_[i], {})) f(*batch);
      return;
    }
    throw std::logic_error("OperatorHarness: the tag \"" + std::string(tag) +
                           "\" was not given to the constructor");
  }

  bool waiting() const {
    return std::any_of(subtasks_.begin(), subtasks_.end(),
                       [](const auto& subtask) { return !subtask->queue.empty(); });
  }

  NodeStatus status() const {
    NodeStatus status;
    status.node = node_name();
    status.watermark = time_.watermark;
    for (const auto& subtask : subtasks_) {
      const OperatorCounters& counters = subtask->counters;
      status.rows_in += counters.rows_in.value();
      status.rows_out += counters.rows_out.value();
      status.late_rows += counters.late_rows.value();
      status.bad_records += counters.bad_records.value();
      status.side_output_unread += counters.side_output_unread.value();
      if (std::string text = subtask->op->waiting_for(); !text.empty()) {
        status.waiting_for.push_back(std::move(text));
      }
    }
    return status;
  }

 private:
  const Transformation& step() const { return graph_->nodes().back(); }
  const std::string& node_name() const { return step().uid.empty() ? step().name : step().uid; }

  // ---- subtasks

  void start_subtasks(int parallelism, const RestoredCheckpoint* restored) {
    if (parallelism < 1 || parallelism > options_.max_parallelism) {
      throw std::logic_error("OperatorHarness: a parallelism of " + std::to_string(parallelism) +
                             ", with max_parallelism " + std::to_string(options_.max_parallelism));
    }
    for (int i = 0; i < parallelism; ++i) {
      subtasks_.push_back(std::make_unique<Subtask>(make_output()));
      start_subtask(*subtasks_.back(), i, parallelism, restored);
    }
    next_ = 0;
  }

  Output make_output() const {
    const auto batch_rows = static_cast<std::size_t>(options_.batch_rows);
    const std::vector<OutputSpec>& outputs = step().outputs;
    if (outputs.empty()) return Output(nullptr, batch_rows);
    Output output(outputs.front().type, batch_rows);
    for (std::size_t i = 1; i < outputs.size(); ++i) {
      output.sides().emplace_back(outputs[i].type, batch_rows, outputs[i].tag);
    }
    return output;
  }

  void start_subtask(Subtask& subtask, int index, int parallelism,
                     const RestoredCheckpoint* restored) {
    OperatorContext& context = subtask.context;
    context.node = node_name();
    context.subtask = index;
    context.parallelism = parallelism;
    context.max_parallelism = options_.max_parallelism;
    context.key_groups = key_group_range(static_cast<std::uint32_t>(index),
                                         static_cast<std::uint32_t>(options_.max_parallelism),
                                         static_cast<std::uint32_t>(parallelism));
    context.batch_rows = static_cast<std::size_t>(options_.batch_rows);
    context.checkpoints = true;
    context.restored_checkpoint = restored != nullptr ? restored->manifest().id : 0;
    context.clock = &clock_;
    context.memory = &memory_;
    context.counters = &subtask.counters;
    context.log = [this](LogLevel, std::string_view text) { logged_.emplace_back(text); };
    context.wake = [woken = subtask.woken] { woken->store(true, std::memory_order_release); };
    context.state_id = kNode;
    open_cold(subtask, restored);
    subtask.op = step().make_operator();
    subtask.opened = true;  // close() is called also when open() throws
    subtask.op->open(context);
    if (restored != nullptr) {
      subtask.op->restore(RestoredNodeState(*restored, std::string(kNode)));
    }
  }

  void open_cold(Subtask& subtask, const RestoredCheckpoint* restored) {
    std::unique_ptr<ColdTier> tier = restore_cold_tier(cold_backend().get(), {}, restored,
                                                       {std::string(kNode)}, subtask.context.key_groups);
    if (tier == nullptr) return;
    subtask.cold = std::make_unique<ColdQueue>(
        std::move(tier), [&background = subtask.background](std::function<void()> job) {
          background.push_back(std::move(job));
        });
    subtask.context.cold = subtask.cold.get();
    subtask.context.evicting = true;
  }

  // ---- rows to subtasks

  std::size_t owner(const Input& input) {
    const auto parallelism = static_cast<std::uint32_t>(subtasks_.size());
    if (!input.hasher) return next_++ % parallelism;
    const auto groups = static_cast<std::uint32_t>(options_.max_parallelism);
    return key_group_owner(key_group_of(input.row->hashes()[0], groups), groups, parallelism);
  }

  // Moves row 0 of `from` to the end of the subtask's batch, which leaves when it is full.
  void append(Subtask& subtask, std::size_t input, Batch& from) {
    if (subtask.filling_input != input) hand_on(subtask);
    subtask.filling_input = input;
    if (!subtask.filling) {
      subtask.filling = Batch::make(from.type(), static_cast<std::size_t>(options_.batch_rows));
    }
    Batch& to = *subtask.filling;
    const std::size_t at = to.size();
    from.type().move(from.row(0), to.row(at), 1);
    to.times()[at] = from.times()[0];
    to.hashes()[at] = from.hashes()[0];
    to.set_has_hashes(inputs_[input].hasher != nullptr);
    to.set_size(at + 1);
    subtask.counters.rows_in.add(1);
    if (to.full()) {
      hand_on(subtask);
      run(subtask);
    }
  }

  static void hand_on(Subtask& subtask) {
    if (!subtask.filling) return;
    Item item;
    item.kind = Item::Kind::kBatch;
    item.input = subtask.filling_input;
    item.batch = std::move(subtask.filling);
    subtask.queue.push_back(std::move(item));
  }

  // Everything that was pushed is with the operators.
  void settle() {
    for (const auto& subtask : subtasks_) hand_on(*subtask);
    run_all();
  }

  void enqueue(Subtask& subtask, Item::Kind kind, std::size_t input = 0) {
    Item item;
    item.kind = kind;
    item.input = input;
    item.time = time_;
    subtask.queue.push_back(std::move(item));
  }

  void push_to_all(Item::Kind kind, std::size_t input = 0) {
    for (const auto& subtask : subtasks_) {
      hand_on(*subtask);
      enqueue(*subtask, kind, input);
    }
    run_all();
  }

  // ---- the loop over the operator's calls

  void run_all() {
    for (const auto& subtask : subtasks_) run(*subtask);
  }

  void run(Subtask& subtask) {
    if (subtask.queue.empty() && subtask.woken->exchange(false, std::memory_order_acq_rel)) {
      enqueue(subtask, Item::Kind::kCompletion);
    }
    while (!subtask.queue.empty()) {
      Item& item = subtask.queue.front();
      const std::size_t row = item.row;
      if (!subtask.background.empty()) {  // one change of the tier a call
        subtask.background.front()();
        subtask.background.pop_front();
      }
      const bool done = call(subtask, item);
      const bool emitted = collect(subtask);
      if (done) {
        subtask.queue.pop_front();
      } else if (!emitted && item.row == row) {
        return;  // it waits for the outside
      }
    }
  }

  // One call of the operator; true when the item is done with.
  bool call(Subtask& subtask, Item& item) {
    Operator& op = *subtask.op;
    switch (item.kind) {
      case Item::Kind::kBatch: {
        const std::size_t size = item.batch->size();
        const std::size_t next = op.process(item.input, item.batch, item.row, subtask.out);
        // An exchanged batch is empty, and all of its rows are done.
        const bool done = next >= item.batch->size();
        if (next < item.row || next > size) {
          throw_broken("process() returned row " + std::to_string(next) + " of rows " +
                       std::to_string(item.row) + " to " + std::to_string(size));
        }
        item.row = next;
        return done;
      }
      case Item::Kind::kTime: return op.advance(item.time, subtask.out);
      case Item::Kind::kEnd: return op.end_of_input(item.input, subtask.out);
      case Item::Kind::kDue: return op.on_time(clock_.steady_now(), subtask.out);
      case Item::Kind::kCompletion: return op.on_completion(subtask.out);
      case Item::Kind::kBarrier:
        if (!op.before_barrier(subtask.out)) return false;
        if (!snapshot_) return true;  // it was given up meanwhile
        subtask.writing = std::make_unique<Writing>(snapshot_->checkpoint, snapshot_->files,
                                                    subtask.context.subtask, snapshot_->entries);
        op.snapshot(*subtask.writing);
        if (subtask.cold) subtask.writing->put_cold(*subtask.cold, snapshot_->files);
        return true;
    }
    return true;
  }

  bool collect(Subtask& subtask) {
    if (step().outputs.empty()) return false;
    std::size_t count = collect(subtask.out, results_[0]);
    subtask.counters.rows_out.add(count);
    for (std::size_t i = 1; i < results_.size(); ++i) {
      count += collect(subtask.out.side(i - 1), results_[i]);
    }
    return count > 0;
  }

  // Returns how many rows there were.
  static std::size_t collect(Output& out, std::vector<BatchPtr>& into) {
    std::size_t count = 0;
    while (BatchPtr batch = out.take()) {
      count += batch->size();
      into.push_back(std::move(batch));
    }
    return count;
  }

  [[noreturn]] static void throw_waiting(const Subtask& subtask, const std::string& what) {
    const std::string reason = subtask.op->waiting_for();
    throw std::logic_error("OperatorHarness: " + what + ", subtask " +
                           std::to_string(subtask.context.subtask) + " waits" +
                           (reason.empty() ? "" : " for " + reason));
  }

  const HarnessOptions options_;
  std::shared_ptr<LogicalGraph> graph_;
  std::vector<Input> inputs_;
  ManualClock clock_;
  MemoryBudget memory_;
  std::vector<std::string> logged_;
  InputTime time_;
  std::size_t next_ = 0;
  CheckpointId last_checkpoint_ = 0;
  std::shared_ptr<HarnessSnapshot::Contents> snapshot_;
  std::vector<std::vector<BatchPtr>> results_;  // of each output
  std::vector<std::unique_ptr<Subtask>> subtasks_;
};

HarnessCore::HarnessCore(const std::vector<const BatchType*>& inputs, HarnessOptions options)
    : impl_(std::make_unique<Impl>(inputs, options)) {}
HarnessCore::~HarnessCore() = default;

const std::shared_ptr<LogicalGraph>& HarnessCore::graph() const noexcept { return impl_->graph(); }
OutputRef HarnessCore::input(std::size_t index) const noexcept { return impl_->input(index); }
void HarnessCore::start() { impl_->start(); }
Batch& HarnessCore::row(std::size_t input) noexcept { return impl_->row(input); }
void HarnessCore::push_row(std::size_t input, Timestamp time) { impl_->push_row(input, time); }
void HarnessCore::push_time(const InputTime& time) { impl_->push_time(time); }
void HarnessCore::push_end() { impl_->push_end(); }
void HarnessCore::advance_clock(Duration by) { impl_->advance_clock(by); }
void HarnessCore::begin_snapshot() { impl_->begin_snapshot(); }
HarnessSnapshot HarnessCore::finish_snapshot() { return impl_->finish_snapshot(); }
void HarnessCore::abort_snapshot() { impl_->abort_snapshot(); }
void HarnessCore::committed(CheckpointId checkpoint) { impl_->committed(checkpoint); }
void HarnessCore::restore(const HarnessSnapshot& snapshot, int parallelism) {
  impl_->restore(snapshot, parallelism);
}
void HarnessCore::take(std::string_view tag, const std::function<void(Batch&)>& f) {
  impl_->take(tag, f);
}
InputTime HarnessCore::time() const noexcept { return impl_->time(); }
bool HarnessCore::waiting() const { return impl_->waiting(); }
NodeStatus HarnessCore::status() const { return impl_->status(); }
const MemoryBudget& HarnessCore::memory() const noexcept { return impl_->memory(); }
const std::vector<std::string>& HarnessCore::logged() const noexcept { return impl_->logged(); }

}  // namespace levada::detail

namespace levada::testing {

void set_harness_cold(std::shared_ptr<const ColdBackend> backend) {
  detail::cold_backend() = std::move(backend);
}

bool harness_has_cold_tier() { return detail::cold_backend() != nullptr; }

}  // namespace levada::testing
