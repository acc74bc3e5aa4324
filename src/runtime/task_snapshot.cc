#include "runtime/task_snapshot.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <utility>

#include "base/mutex.h"
#include "base/planted_bug.h"
#include "core/key_group_blocks.h"
#include "levada/assert.h"

namespace levada {
namespace {

// A step of the background: about so many bytes, and not so many slots that the task, when it gives the snapshot up,
// would have to wait for long.
constexpr std::size_t kStepBytes = 512 * 1024;
constexpr std::size_t kStepSlots = 64 * 1024;
constexpr std::size_t kSlotsPerScan = 2048;
// Rests of a snapshot's background: they come to a part of a second.
constexpr int kRestsMost = 2000;

std::string text_of(const std::exception& failure) {
  return *failure.what() != '\0' ? failure.what() : "an error that does not say what it is";
}

}  // namespace

// What the task and the background's jobs share; dies with the last of them.
class TaskSnapshot::Writing final : public std::enable_shared_from_this<TaskSnapshot::Writing> {
 public:
  using Write = std::function<void(StateFileWriter&)>;

  Writing(CheckpointId checkpoint, std::unique_ptr<StateFileWriter> writer, MemoryShare& memory,
          std::shared_ptr<SpareBuffers> spares, Done done)
      : writer_(std::move(writer)),
        memory_(memory),
        spares_(std::move(spares)),
        done_(std::move(done)),
        next_(std::make_shared<SnapshotBase>(checkpoint)) {}
  ~Writing() { memory_.release(held_bytes_); }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

  // ---- of the task, before the start

  void put(Write write) { first_.push_back(std::move(write)); }
  void scan_too(StateTable& table) {
    MutexLock lock(scanning_);
    tables_.push_back({&table});
  }
  void set_times(Duration aligned, Duration synchronous) {
    aligned_ = aligned;
    synchronous_ = synchronous;
  }
  void put_cold(detail::ColdQueue& queue, std::shared_ptr<ColdFilesWriter> writer) {
    cold_ = std::move(writer);
    const auto write = [writer = cold_, writing = weak_from_this()](ColdTier& tier) {
      const auto wanted = writing.lock();
      if (wanted && !wanted->aborted_.load(std::memory_order_acquire)) tier.write_checkpoint(*writer);
    };
    // A checkpoint that cannot be written is no harm to the tier.
    cold_ticket_ = queue.submit(write, false);
  }
  std::shared_ptr<const SnapshotBase> next() const { return next_; }

  // ---- of the task, at any time

  bool captured() const { return captured_.load(std::memory_order_acquire); }
  void give_way(bool rows_wait) {
    if (rows_wait_.load(std::memory_order_relaxed) != rows_wait) rows_wait_.store(rows_wait, std::memory_order_relaxed);
  }
  // The tables are the task's alone from now on.
  void end_tables() {
    MutexLock lock(scanning_);
    if (!captured()) aborted_.store(true, std::memory_order_release);
    for (const Scanned& scanned : tables_) {
      if (scanned.state == Scanned::State::kDone) {
        scanned.table->end_snapshot();
      } else {
        scanned.table->abort_snapshot();
      }
    }
    tables_.clear();
  }

  // ---- of either

  void block(std::uint32_t table, StateBlock&& block) {
    const std::size_t bytes = block.bytes.capacity();
    MutexLock lock(blocks_mutex_);
    blocks_.emplace_back(table, std::move(block));
    hold(bytes);
  }
  void captured(std::uint32_t table, CapturedRows&& rows) {
    const std::size_t bytes = rows.bytes.capacity();
    MutexLock lock(blocks_mutex_);
    captured_rows_.emplace_back(table, std::move(rows));
    hold(bytes);
  }
  Bytes spare() { return spares_->take(); }

  // ---- of the background

  // Scans on by about so many slots and writes what there is; returns how many bytes, and whether there is more to do.
  std::pair<std::size_t, bool> step(std::size_t slots) {
    if (aborted_.load(std::memory_order_acquire)) return {0, false};
    std::size_t written = 0;
    for (const Write& write : std::exchange(first_, {})) written += run(write);
    const bool more_to_scan = scan(slots);
    written += write_blocks();
    const auto [rest, more_of_rows] = write_rest_of_rows();
    written += rest;
    const bool more = more_to_scan || more_of_rows;
    if (!more) finish();
    return {written, more};
  }

  // After a step. The scan and the task share the memory's bandwidth: a rest in time keeps rows from waiting long. But
  // the checkpoint must come to its end.
  bool takes_rest() {
    if (!gives_way()) return false;
    ++rests_;
    return true;
  }

 private:
  bool gives_way() const { return rows_wait_.load(std::memory_order_relaxed) && rests_ < kRestsMost; }

  struct Scanned {
    enum class State { kUnderWay, kDone, kFailed };
    StateTable* table;
    State state = State::kUnderWay;
  };

  // False: nothing is left.
  bool scan(std::size_t slots) {
    MutexLock lock(scanning_);
    for (Scanned& scanned : tables_) {
      if (scanned.state != Scanned::State::kUnderWay) continue;
      try {
        if (scan(*scanned.table, slots)) scanned.state = Scanned::State::kDone;
      } catch (const std::exception& failure) {
        scanned.state = Scanned::State::kFailed;
        error_ = text_of(failure);
      }
      return true;
    }
    captured_.store(true, std::memory_order_release);
    return false;
  }
  bool scan(StateTable& table, std::size_t slots) {
    for (;;) {
      const std::size_t some = std::min(slots, kSlotsPerScan);
      if (table.scan(some)) return true;
      slots -= some;
      if (slots == 0 || held_bytes_ - sorted_bytes_ >= kStepBytes || gives_way()) return false;
    }
  }

  void hold(std::size_t bytes) {
    memory_.acquire(bytes);
    held_bytes_ += bytes;
  }
  void let_go(std::size_t bytes) {
    held_bytes_ -= bytes;
    memory_.release(bytes);
  }

  // What there is: blocks go to the file, what rows captured is sorted into some first.
  std::size_t write_blocks() {
    std::vector<std::pair<std::uint32_t, StateBlock>> blocks;
    std::vector<std::pair<std::uint32_t, CapturedRows>> rows;
    {
      MutexLock lock(blocks_mutex_);
      blocks.swap(blocks_);
      rows.swap(captured_rows_);
    }
    std::size_t written = 0, held = 0;
    for (auto& [table, block] : blocks) {
      held += block.bytes.capacity();
      written += run([&, table = table](StateFileWriter& writer) { writer.put_block(table, block); });
    }
    for (auto& [table, captured] : rows) {
      held += captured.bytes.capacity();
      const auto add = [&rows = captured](KeyGroupBlocks& sorted, const KeyGroupBlocks::Take& take) {
        sorted.add(rows, take);
      };
      written += run([&, table = table](StateFileWriter& writer) { sort(table, add, writer); });
    }
    const std::size_t to_be_spare = held_bytes_ - sorted_bytes_;
    for (auto& [table, block] : blocks) spares_->put(block.bytes, to_be_spare);
    for (auto& [table, captured] : rows) spares_->put(captured.bytes, to_be_spare);
    let_go(held);
    return written;
  }
  // Some of what rows captured and makes no full block, of namespaces that are scanned. Returns how many bytes, and
  // whether there is more.
  std::pair<std::size_t, bool> write_rest_of_rows() {
    for (auto& [table, blocks] : sorted_) {
      bool more = false;
      const auto give = [&more](KeyGroupBlocks& sorted, const KeyGroupBlocks::Take& take) {
        more = sorted.give_rest(kStepBytes, take);
      };
      const std::size_t written = run([&, table = table](StateFileWriter& writer) { sort(table, give, writer); });
      if (more || written > 0) return {written, true};
    }
    return {0, false};
  }
  template <class Go>
  void sort(std::uint32_t table, Go go, StateFileWriter& writer) {
    KeyGroupBlocks& sorted = sorted_[table];
    const std::size_t before = sorted.memory_bytes();
    go(sorted, [&](StateBlock& block) { writer.put_block(table, block); });
    const std::size_t after = sorted.memory_bytes();
    if (after > before) hold(after - before);
    if (after < before) let_go(before - after);
    sorted_bytes_ += after - before;
  }

  // Returns the bytes written; after a failure nothing more is.
  std::size_t run(const Write& write) {
    if (!error_.empty() || aborted_.load(std::memory_order_acquire)) return 0;
    const std::uint64_t before = writer_->size_bytes();
    try {
      write(*writer_);
    } catch (const std::exception& failure) {
      error_ = text_of(failure);
    }
    return writer_->size_bytes() - before;
  }

  void finish() {
    if (aborted_.load(std::memory_order_acquire)) return;
    SnapshotResult result;
    result.aligned = aligned_;
    result.synchronous = synchronous_;
    result.error = error_;
    if (result.error.empty()) {
      try {
        finish_file(result);
      } catch (const std::exception& failure) {
        result.error = text_of(failure);
      }
    }
    writer_.reset();
    done_(std::move(result));
  }
  void finish_file(SnapshotResult& result) {
    result.bytes = writer_->size_bytes();
    std::vector<StateHandle> cold_contents;
    if (cold_) {
      detail::ColdQueue::finish(cold_ticket_);
      std::vector<ColdFile> cold = cold_->take();
      for (const ColdFile& file : cold) cold_contents.push_back(file.content);
      writer_->put_cold_files(std::move(cold));
      result.bytes += cold_->new_bytes();
    }
    result.state = writer_->finish();
    next_->layout = writer_->take_layout();
    result.older = next_->layout.older();
    result.older.insert(result.older.end(), cold_contents.begin(), cold_contents.end());
  }

  std::unique_ptr<StateFileWriter> writer_;
  MemoryShare& memory_;
  const std::shared_ptr<SpareBuffers> spares_;
  const Done done_;
  const std::shared_ptr<SnapshotBase> next_;
  std::vector<Write> first_;  // before all blocks
  Duration aligned_{};
  Duration synchronous_{};
  detail::ColdQueue::Ticket cold_ticket_;  // null: there is no cold tier
  std::shared_ptr<ColdFilesWriter> cold_;  // belongs to the ticket's work until that is done
  std::string error_;                      // of the background; not empty when something has failed

  std::atomic<bool> aborted_{false};
  std::atomic<bool> captured_{false};
  std::atomic<bool> rows_wait_{false};
  int rests_ = 0;  // of the background
  Mutex scanning_;
  std::vector<Scanned> tables_ LEVADA_GUARDED_BY(scanning_);
  Mutex blocks_mutex_;
  std::vector<std::pair<std::uint32_t, StateBlock>> blocks_ LEVADA_GUARDED_BY(blocks_mutex_);
  std::vector<std::pair<std::uint32_t, CapturedRows>> captured_rows_ LEVADA_GUARDED_BY(blocks_mutex_);
  std::map<std::uint32_t, KeyGroupBlocks> sorted_;  // of each table; of the background
  std::size_t sorted_bytes_ = 0;                    // of them
  std::atomic<std::size_t> held_bytes_{0};  // charged for what is not written yet
};

class TaskSnapshot::Context final : public SnapshotContext {
 public:
  explicit Context(TaskSnapshot& snapshot) : snapshot_(snapshot) {}
  CheckpointId checkpoint() const override { return snapshot_.checkpoint(); }
  void put_operator_state(std::string_view name, std::string_view bytes) override {
    snapshot_.writing_->put([node = snapshot_.node_, name = std::string(name),
                             bytes = Bytes(bytes)](StateFileWriter& writer) {
      writer.put_operator_state(node, name, bytes);
    });
  }
  void put_table(StateTable& table) override { snapshot_.put_table(table); }

 private:
  TaskSnapshot& snapshot_;
};

// Takes one table's snapshot, and says which namespaces the base has as they are.
class TaskSnapshot::Blocks final : public BlockSink {
 public:
  struct Kept {
    std::int64_t name_space;
    StateHandle file;
    std::uint64_t bytes;
  };

  Blocks(TaskSnapshot& snapshot, std::uint32_t table, std::string_view name)
      : writing_(*snapshot.writing_), table_(table), base_(snapshot.base_.get()) {
    if (base_ != nullptr) base_table_ = base_->layout.find_table(snapshot.node_, name);
  }

  void block(StateBlock&& block) override { writing_.block(table_, std::move(block)); }
  void captured(CapturedRows&& rows) override { writing_.captured(table_, std::move(rows)); }
  Bytes spare() override { return writing_.spare(); }
  bool keep(std::int64_t name_space, CheckpointId changed_after) override {
    if (base_table_ == nullptr) return false;
    const bool changed = changed_after >= base_->checkpoint;
    if (changed && !LEVADA_PLANTED("snapshot.change_overlooked")) return false;
    const StateHandle* file = base_->layout.find(*base_table_, name_space);
    if (file == nullptr) return false;
    kept_.push_back({name_space, *file, base_table_->spaces.at(name_space).bytes});
    return true;
  }
  std::vector<Kept> take_kept() { return std::move(kept_); }

 private:
  Writing& writing_;
  const std::uint32_t table_;
  const SnapshotBase* const base_;                  // null: there is none
  const StateLayout::Table* base_table_ = nullptr;  // the table in it; null: it does not have it
  std::vector<Kept> kept_;
};

TaskSnapshot::TaskSnapshot(CheckpointId checkpoint, std::shared_ptr<const SnapshotBase> base,
                           std::unique_ptr<StateFileWriter> writer, BackgroundQueue& background,
                           MemoryShare& memory, std::shared_ptr<SpareBuffers> spares, Done done)
    : checkpoint_(checkpoint),
      base_(std::move(base)),
      writing_(std::make_shared<Writing>(checkpoint, std::move(writer), memory, std::move(spares), std::move(done))),
      background_(background),
      context_(std::make_unique<Context>(*this)) {}

TaskSnapshot::~TaskSnapshot() { writing_->end_tables(); }

void TaskSnapshot::set_times(Duration aligned, Duration synchronous) noexcept {
  LEVADA_ASSERT(!started_, "the times are known before the rest is captured");
  writing_->set_times(aligned, synchronous);
}

std::shared_ptr<const SnapshotBase> TaskSnapshot::as_base() const noexcept { return writing_->next(); }

void TaskSnapshot::put_cold(detail::ColdQueue& queue, std::shared_ptr<ColdFilesWriter> writer) {
  writing_->put_cold(queue, std::move(writer));
}

SnapshotContext& TaskSnapshot::context(std::string_view node) {
  node_ = node;
  return *context_;
}

void TaskSnapshot::put_table(StateTable& table) {
  writing_->put([node = node_, name = std::string(table.name()), schema = table.schema()](StateFileWriter& writer) {
    writer.begin_table(node, name, schema);
  });
  const auto index = static_cast<std::uint32_t>(tables_.size());
  tables_.push_back(&table);
  Blocks& blocks = *blocks_.emplace_back(std::make_unique<Blocks>(*this, index, table.name()));
  writing_->scan_too(table);
  table.begin_snapshot(checkpoint_, blocks);
  std::vector<Blocks::Kept> kept = blocks.take_kept();
  if (kept.empty()) return;
  writing_->put([index, kept = std::move(kept)](StateFileWriter& writer) {
    for (const Blocks::Kept& space : kept) writer.keep(index, space.name_space, space.file, space.bytes);
  });
}

void TaskSnapshot::start() {
  LEVADA_ASSERT(!started_, "a snapshot is started once");
  started_ = true;
  struct Step {
    std::shared_ptr<Writing> writing;
    BackgroundQueue& background;

    std::size_t operator()() const {
      const auto [written, more] = writing->step(background.at_once(kStepSlots));
      if (more) {
        if (writing->takes_rest()) background.rest();
        background.submit_limited(*this);
      }
      return written;
    }
  };
  background_.submit_limited(Step{writing_, background_});
}

void TaskSnapshot::give_way(bool rows_wait) noexcept { writing_->give_way(rows_wait); }

bool TaskSnapshot::captured() const noexcept { return writing_->captured(); }

std::vector<StateTable*> TaskSnapshot::end() {
  writing_->end_tables();
  return std::move(tables_);
}

}  // namespace levada
