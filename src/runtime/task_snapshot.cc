#include "runtime/task_snapshot.h"

#include <exception>
#include <utility>

#include "base/planted_bug.h"
#include "levada/assert.h"

namespace levada {
namespace {

// Slots looked at in one slice: some 20 µs.
constexpr std::size_t kSlotsPerScan = 4096;
// Blocks go to the background so many bytes at a time: to wake its thread costs the task some 20 µs.
constexpr std::size_t kHeldBytes = 2 * 1024 * 1024;
// The scan is no further ahead of the background: further would cost memory, and save no more.
constexpr std::size_t kHeldBytesMax = 64 * 1024 * 1024;

}  // namespace

// What the background jobs share; dies with the last of them.
struct TaskSnapshot::Writing {
  std::unique_ptr<StateFileWriter> writer;
  Done done;
  std::shared_ptr<SnapshotBase> next;
  std::string error;
  std::uint32_t tables = 0;
  std::atomic<bool> aborted{false};
  detail::ColdQueue::Ticket cold_ticket;  // null: there is no cold tier
  std::shared_ptr<ColdFilesWriter> cold;  // belongs to the ticket's work until that is done
  std::shared_ptr<SpareBuffers> spares;
  std::atomic<std::size_t> held_bytes{0};  // charged for blocks that are not written yet

  bool wanted() const { return error.empty() && !aborted.load(std::memory_order_acquire); }
  // Returns the bytes written; after a failure nothing more is.
  std::size_t run(const std::function<void(StateFileWriter&)>& write) {
    if (!wanted()) return 0;
    const std::uint64_t before = writer->size_bytes();
    try {
      write(*writer);
    } catch (const std::exception& failure) {
      error = failure.what();
    }
    return writer->size_bytes() - before;
  }
};

// What is on its way to the background, its blocks charged until they are written or given up.
class TaskSnapshot::Held final {
 public:
  using Write = std::function<void(StateFileWriter&)>;

  Held(MemoryShare& memory, std::atomic<std::size_t>& held_in_all) : memory_(memory), held_in_all_(held_in_all) {}
  ~Held() { release(); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  // Comes before the blocks.
  void add(Write write) {
    LEVADA_ASSERT(!has_blocks(), "a write behind blocks is held for itself");
    writes_.push_back(std::move(write));
  }
  void add(std::uint32_t table, StateBlock&& block) {
    const std::size_t bytes = block.bytes.capacity();
    blocks_.emplace_back(table, std::move(block));
    memory_.acquire(bytes);
    held_in_all_ += bytes;
    bytes_ += bytes;
  }
  bool has_blocks() const { return !blocks_.empty(); }
  // Of the blocks.
  std::size_t bytes() const { return bytes_; }
  // Returns the bytes written.
  std::size_t write(Writing& writing) {
    std::size_t written = 0;
    for (const Write& write : writes_) written += writing.run(write);
    for (auto& [table, block] : blocks_) {
      written += writing.run([&, table = table](StateFileWriter& writer) { writer.put_block(table, block); });
    }
    for (auto& [table, block] : blocks_) writing.spares->put(block.bytes, held_in_all_);
    writes_.clear();
    blocks_.clear();
    release();
    return written;
  }

 private:
  void release() {
    held_in_all_ -= bytes_;
    memory_.release(std::exchange(bytes_, 0));
  }

  MemoryShare& memory_;
  std::atomic<std::size_t>& held_in_all_;  // of the snapshot that the blocks are of
  std::size_t bytes_ = 0;
  std::vector<Write> writes_;
  std::vector<std::pair<std::uint32_t, StateBlock>> blocks_;
};

class TaskSnapshot::Context final : public SnapshotContext {
 public:
  explicit Context(TaskSnapshot& snapshot) : snapshot_(snapshot) {}
  CheckpointId checkpoint() const override { return snapshot_.checkpoint(); }
  void put_operator_state(std::string_view name, std::string_view bytes) override {
    snapshot_.put_operator_state(name, bytes);
  }
  void put_table(StateTable& table) override { snapshot_.put_table(table); }

 private:
  TaskSnapshot& snapshot_;
};

// Takes one table's snapshot, and says which namespaces the base has as they are.
class TaskSnapshot::Blocks final : public BlockSink {
 public:
  Blocks(TaskSnapshot& snapshot, std::uint32_t table, const StateLayout::Table* base)
      : snapshot_(snapshot), table_(table), base_(base) {}

  void block(StateBlock&& block) override { snapshot_.put_block(table_, std::move(block)); }
  Bytes spare() override { return snapshot_.writing_->spares->take(); }
  bool keep(std::int64_t name_space, CheckpointId changed_after) override {
    if (base_ == nullptr) return false;
    const bool changed = changed_after >= snapshot_.base_->checkpoint;
    if (changed && !LEVADA_PLANTED("snapshot.change_overlooked")) return false;
    const StateHandle* file = snapshot_.base_->layout.find(*base_, name_space);
    if (file == nullptr) return false;
    kept_.push_back({name_space, *file, base_->spaces.at(name_space).bytes});
    return true;
  }
  std::vector<Kept> take_kept() { return std::move(kept_); }

 private:
  TaskSnapshot& snapshot_;
  const std::uint32_t table_;
  const StateLayout::Table* const base_;  // the table in the base; null: the base does not have it
  std::vector<Kept> kept_;
};

TaskSnapshot::TaskSnapshot(CheckpointId checkpoint, std::shared_ptr<const SnapshotBase> base,
                           std::unique_ptr<StateFileWriter> writer, BackgroundQueue& background,
                           MemoryShare& memory, std::shared_ptr<SpareBuffers> spares, Done done)
    : checkpoint_(checkpoint),
      base_(std::move(base)),
      writing_(std::make_shared<Writing>()),
      background_(background),
      memory_(memory),
      context_(std::make_unique<Context>(*this)) {
  writing_->writer = std::move(writer);
  writing_->done = std::move(done);
  writing_->spares = std::move(spares);
  writing_->next = std::make_shared<SnapshotBase>(checkpoint);
}

TaskSnapshot::~TaskSnapshot() { abort(); }

std::shared_ptr<const SnapshotBase> TaskSnapshot::as_base() const noexcept { return writing_->next; }

void TaskSnapshot::put_cold(detail::ColdQueue& queue, std::shared_ptr<ColdFilesWriter> writer) {
  writing_->cold = writer;
  const auto write = [writer, writing = std::weak_ptr<Writing>(writing_)](ColdTier& tier) {
    const auto wanted = writing.lock();
    if (wanted && !wanted->aborted.load(std::memory_order_acquire)) tier.write_checkpoint(*writer);
  };
  // A checkpoint that cannot be written is no harm to the tier.
  writing_->cold_ticket = queue.submit(write, false);
}

SnapshotContext& TaskSnapshot::context(std::string_view node) {
  node_ = node;
  return *context_;
}

// Runs `write` in the background, after all before it. It is handed over with the first blocks: to wake the thread
// would make the barrier longer.
void TaskSnapshot::submit(std::function<void(StateFileWriter&)> write) {
  if (held_ && held_->has_blocks()) hand_over();
  held().add(std::move(write));
}

TaskSnapshot::Held& TaskSnapshot::held() {
  if (!held_) held_ = std::make_shared<Held>(memory_, writing_->held_bytes);
  return *held_;
}

void TaskSnapshot::put_operator_state(std::string_view name, std::string_view bytes) {
  submit([node = node_, name = std::string(name), bytes = Bytes(bytes)](StateFileWriter& writer) {
    writer.put_operator_state(node, name, bytes);
  });
}

void TaskSnapshot::put_table(StateTable& table) {
  submit([node = node_, name = std::string(table.name()), schema = table.schema()](
             StateFileWriter& writer) { writer.begin_table(node, name, schema); });
  const std::uint32_t index = writing_->tables++;
  const StateLayout::Table* base = base_ ? base_->layout.find_table(node_, table.name()) : nullptr;
  tables_.push_back({&table, std::make_unique<Blocks>(*this, index, base)});
  Blocks& blocks = *tables_.back().blocks;
  table.begin_snapshot(checkpoint_, blocks);
  keep(index, blocks.take_kept());
}

void TaskSnapshot::keep(std::uint32_t table, std::vector<Kept> kept) {
  if (kept.empty()) return;
  submit([table, kept = std::move(kept)](StateFileWriter& writer) {
    for (const Kept& space : kept) writer.keep(table, space.name_space, space.file, space.bytes);
  });
}

void TaskSnapshot::put_block(std::uint32_t table, StateBlock&& block) {
  held().add(table, std::move(block));
  if (held_->bytes() >= kHeldBytes) hand_over();
}

void TaskSnapshot::hand_over() {
  if (!held_) return;
  background_.submit_limited([writing = writing_, held = std::move(held_)] { return held->write(*writing); });
}

TaskSnapshot::Scan TaskSnapshot::scan() {
  for (Capturing& capturing : tables_) {
    if (capturing.done) continue;
    if (memory_.used_bytes() > memory_.limit_bytes() || writing_->held_bytes > kHeldBytesMax) {
      hand_over();
      return Scan::kWaitingWriter;
    }
    capturing.done = capturing.table->scan(kSlotsPerScan);
    return Scan::kMore;
  }
  if (!finished_) finish();
  return Scan::kDone;
}

std::vector<StateTable*> TaskSnapshot::tables() const {
  std::vector<StateTable*> tables;
  for (const Capturing& captured : tables_) tables.push_back(captured.table);
  return tables;
}

void TaskSnapshot::finish() {
  finished_ = true;
  hand_over();
  background_.submit_limited([writing = writing_, aligned = aligned_, synchronous = synchronous_] {
    if (writing->aborted.load(std::memory_order_acquire)) return std::size_t{0};
    SnapshotResult result;
    result.aligned = aligned;
    result.synchronous = synchronous;
    result.error = writing->error;
    if (result.error.empty()) {
      try {
        result.bytes = writing->writer->size_bytes();
        std::vector<StateHandle> cold_contents;
        if (writing->cold) {
          detail::ColdQueue::finish(writing->cold_ticket);
          std::vector<ColdFile> cold = writing->cold->take();
          for (const ColdFile& file : cold) cold_contents.push_back(file.content);
          writing->writer->put_cold_files(std::move(cold));
          result.bytes += writing->cold->new_bytes();
        }
        result.state = writing->writer->finish();
        writing->next->layout = writing->writer->take_layout();
        result.older = writing->next->layout.older();
        result.older.insert(result.older.end(), cold_contents.begin(), cold_contents.end());
      } catch (const std::exception& failure) {
        result.error = failure.what();
      }
    }
    writing->writer.reset();
    writing->done(std::move(result));
    return std::size_t{0};
  });
}

void TaskSnapshot::abort() {
  if (finished_) return;
  finished_ = true;
  writing_->aborted.store(true, std::memory_order_release);
  held_.reset();
  for (Capturing& capturing : tables_) {
    if (!capturing.done) capturing.table->abort_snapshot();
  }
}

}  // namespace levada
