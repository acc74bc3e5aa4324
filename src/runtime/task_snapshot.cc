#include "runtime/task_snapshot.h"

#include <exception>
#include <utility>

namespace levada {
namespace {

// Entries captured in one slice between two batches: about 50 µs.
constexpr std::size_t kEntriesPerScan = 2048;

}  // namespace

// What the background jobs share; dies with the last of them.
struct TaskSnapshot::Writing {
  std::unique_ptr<StateFileWriter> writer;
  Done done;
  std::string error;
  std::uint32_t tables = 0;
  std::atomic<bool> aborted{false};
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

class TaskSnapshot::Blocks final : public BlockSink {
 public:
  Blocks(TaskSnapshot& snapshot, std::uint32_t table) : snapshot_(snapshot), table_(table) {}
  void block(StateBlock&& block) override { snapshot_.put_block(table_, std::move(block)); }

 private:
  TaskSnapshot& snapshot_;
  std::uint32_t table_;
};

TaskSnapshot::TaskSnapshot(CheckpointId checkpoint, std::unique_ptr<StateFileWriter> writer,
                           BackgroundQueue& background, MemoryShare& memory, Done done)
    : checkpoint_(checkpoint),
      writing_(std::make_shared<Writing>()),
      background_(background),
      memory_(memory),
      context_(std::make_unique<Context>(*this)) {
  writing_->writer = std::move(writer);
  writing_->done = std::move(done);
}

TaskSnapshot::~TaskSnapshot() { abort(); }

SnapshotContext& TaskSnapshot::context(std::string_view node) {
  node_ = node;
  return *context_;
}

// Runs `write` in the background; after a first failure nothing more is written.
void TaskSnapshot::submit(std::function<void(StateFileWriter&)> write) {
  background_.submit([writing = writing_, write = std::move(write)] {
    if (!writing->error.empty() || writing->aborted.load(std::memory_order_acquire)) return;
    try {
      write(*writing->writer);
    } catch (const std::exception& failure) {
      writing->error = failure.what();
    }
  });
}

void TaskSnapshot::put_operator_state(std::string_view name, std::string_view bytes) {
  submit([node = node_, name = std::string(name), bytes = Bytes(bytes)](StateFileWriter& writer) {
    writer.put_operator_state(node, name, bytes);
  });
}

void TaskSnapshot::put_table(StateTable& table) {
  submit([node = node_, name = std::string(table.name()), schema = table.schema()](
             StateFileWriter& writer) { writer.begin_table(node, name, schema); });
  tables_.push_back({&table, std::make_unique<Blocks>(*this, writing_->tables++)});
  table.begin_snapshot(*tables_.back().blocks);
}

void TaskSnapshot::put_block(std::uint32_t table, StateBlock&& block) {
  // std::function wants copies to be possible; the block itself is moved.
  auto held = std::make_shared<StateBlock>(std::move(block));
  const std::size_t bytes = held->bytes.capacity();
  memory_.acquire(bytes);
  MemoryShare& memory = memory_;
  background_.submit([writing = writing_, &memory, table, held, bytes] {
    if (writing->error.empty() && !writing->aborted.load(std::memory_order_acquire)) {
      try {
        writing->writer->put_block(table, std::move(*held));
      } catch (const std::exception& failure) {
        writing->error = failure.what();
      }
    }
    memory.release(bytes);
  });
}

TaskSnapshot::Scan TaskSnapshot::scan() {
  for (Capturing& capturing : tables_) {
    if (capturing.done) continue;
    if (memory_.used_bytes() > memory_.limit_bytes()) return Scan::kWaitingWriter;
    capturing.done = capturing.table->scan(kEntriesPerScan);
    return Scan::kMore;
  }
  if (!finished_) finish();
  return Scan::kDone;
}

void TaskSnapshot::finish() {
  finished_ = true;
  background_.submit([writing = writing_] {
    if (writing->aborted.load(std::memory_order_acquire)) return;
    SnapshotResult result;
    result.error = writing->error;
    if (result.error.empty()) {
      try {
        result.bytes = writing->writer->size_bytes();
        result.state = writing->writer->finish();
      } catch (const std::exception& failure) {
        result.error = failure.what();
      }
    }
    writing->writer.reset();
    writing->done(std::move(result));
  });
}

void TaskSnapshot::abort() {
  if (finished_) return;
  finished_ = true;
  writing_->aborted.store(true, std::memory_order_release);
  for (Capturing& capturing : tables_) {
    if (!capturing.done) capturing.table->abort_snapshot();
  }
}

}  // namespace levada
