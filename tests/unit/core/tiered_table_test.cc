// TypedTables with a cold tier against a map: random writes, removals, look-ups, drops and walks on a budget
// that holds a small part, with changes of the tier that arrive late, snapshots that go on meanwhile, and
// restores from them at any parallelism.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "checkpoint/cold_restore.h"
#include "levada/detail/cold_queue.h"
#include "levada/detail/typed_table.h"
#include "levada/error.h"
#include "support/seed.h"
#include "unit/core/table_samples.h"
#include "testing/memory_cold_tier.h"

namespace levada::detail {
namespace {

using testing::MemoryColdBackend;
using testing::MemoryColdTier;

constexpr std::uint32_t kGroups = 16;

// The files of a tier in a checkpoint.
class Files final : public ColdFiles, public ColdImage {
 public:
  void link(const std::string&, const std::string&) override { FAIL(); }
  void write(const std::string& name, std::string_view bytes) override { files_[name] = bytes; }
  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (const auto& [name, bytes] : files_) all.push_back(name);
    return all;
  }
  Bytes read(const std::string& name) const override { return files_.at(name); }
  void link(const std::string&, const std::string&) const override { FAIL(); }

 private:
  std::map<std::string, Bytes> files_;
};

// The snapshot of one subtask. It keeps what has not changed since `base` began.
struct Snapshot final : public BlockSink {
  Snapshot(CheckpointId id_in, KeyGroupRange range_in, std::shared_ptr<Snapshot> base_in)
      : id(id_in), range(range_in), base(std::move(base_in)) {}
  void block(StateBlock&& block) override {
    MutexLock lock(mutex);
    blocks.push_back(std::move(block));
  }
  bool keep(std::int64_t name_space, CheckpointId changed_after) override {
    if (base == nullptr || changed_after >= base->id) return false;
    bool has = false;
    for (const StateBlock& block : base->blocks) {
      if (block.name_space != name_space) continue;
      from_base.push_back(block);
      has = true;
    }
    return has;
  }
  CheckpointId id;
  KeyGroupRange range;
  std::shared_ptr<Snapshot> base;
  std::vector<StateBlock> blocks, from_base;
  Files files;
  ColdQueue::Ticket ticket;
  Mutex mutex;  // of the blocks, while it is under way
};

template <class Types>
class TieredTable : public ::testing::Test {
 public:
  using Key = typename std::tuple_element<0, Types>::type;
  using V = typename std::tuple_element<1, Types>::type;
  using Table = TypedTable<Key, V>;
  using Contents = std::map<std::int64_t, std::map<Key, V>>;
  using Snapshots = std::vector<std::shared_ptr<Snapshot>>;

  struct Subtask {
    std::deque<std::function<void()>> background;
    std::unique_ptr<MemoryBudget> memory;
    std::unique_ptr<ColdQueue> queue;
    OperatorContext context;
    std::unique_ptr<Table> table;
    std::shared_ptr<Snapshot> under_way, base;
    bool scanned = false;
    std::size_t at_once = 0;  // share's memory with everything that could leave gone
    ~Subtask() { table.reset(); }
  };

  std::uint64_t below(std::uint64_t n) { return random() % n; }

  void start(std::uint32_t parallelism, const Snapshots& from) {
    subtasks.clear();
    for (std::uint32_t i = 0; i < parallelism; ++i) {
      Subtask& subtask = *subtasks.emplace_back(std::make_unique<Subtask>());
      subtask.memory = std::make_unique<MemoryBudget>(2 * budget);
      OperatorContext& context = subtask.context;
      context.key_groups = key_group_range(i, kGroups, parallelism);
      context.max_parallelism = kGroups;
      context.memory = subtask.memory.get();
      context.state_id = "node";
      std::vector<ColdPart> parts;
      for (const auto& snapshot : from) parts.push_back({&snapshot->files, snapshot->range});
      const MemoryColdBackend backend;
      subtask.queue = std::make_unique<ColdQueue>(
          restore_cold_tier(backend, {}, parts, context.key_groups,
                            {ColdQueue::table_number("node", "t")}),
          [&background = subtask.background](std::function<void()> job) {
            background.push_back(std::move(job));
          });
      context.cold = subtask.queue.get();
      subtask.table = std::make_unique<Table>("t", context);
      for (const auto& snapshot : from) {
        for (const StateBlock& block : snapshot->blocks) {
          if (block.key_group < context.key_groups.first || block.key_group >= context.key_groups.last) {
            continue;
          }
          subtask.table->restore({.name_space = block.name_space,
                                  .key_group = block.key_group,
                                  .entries = block.entries,
                                  .bytes = View(block.bytes),
                                  .removed = block.removed});
        }
      }
    }
  }

  Subtask& owner(std::uint64_t hash) {
    const std::uint32_t group = key_group_of(hash, kGroups);
    return *subtasks[key_group_owner(group, kGroups, static_cast<std::uint32_t>(subtasks.size()))];
  }

  void write(Contents& model, std::int64_t space, std::uint64_t keys) {
    const std::uint64_t first = below(keys), spread = below(2) == 0 ? keys : 1 + below(keys);
    for (const auto& subtask : subtasks) {
      std::vector<Key> rows;
      std::vector<std::uint64_t> hashes, by;
      for (std::uint64_t i = 0, count = 1 + below(below(4) == 0 ? rows_max : 20); i < count; ++i) {
        Key key = make<Key>((first + below(spread)) % keys);
        const std::uint64_t hash = hash_of(key);
        if (&owner(hash) != subtask.get()) continue;
        rows.push_back(key);
        hashes.push_back(hash);
        by.push_back(below(1000));
        change(model[space][rows.back()], by.back());
      }
      Table& table = *subtask->table;
      auto& into = table.space(space);
      table.visit(
          into, hashes.data(),
          [&](std::size_t i) -> typename Table::KeyView { return Table::Key::view(rows[i], scratch); }, 0,
          rows.size(), [&](std::size_t i, auto& entry) {
            const std::size_t before = heap_bytes_of(entry.value);
            change(entry.value, by[i]);
            table.charge_change(into, before, heap_bytes_of(entry.value));
          });
    }
  }

  void remove_some(Contents& model, std::int64_t space, std::uint64_t keys) {
    const std::uint64_t first = below(keys);
    for (std::uint64_t i = 0, count = below(40); i < count; ++i) {
      const Key key = make<Key>((first + i) % keys);
      const std::uint64_t hash = hash_of(key);
      Table& table = *owner(hash).table;
      const bool had = model[space].erase(key) > 0;
      ASSERT_EQ(table.remove(table.space(space), hash, Table::Key::view(key, scratch)), had);
    }
  }

  void look_up(const Contents& model, std::int64_t space, std::uint64_t keys) {
    for (int i = 0; i < 5; ++i) {
      const Key key = make<Key>(below(keys));
      const std::uint64_t hash = hash_of(key);
      Table& table = *owner(hash).table;
      const auto* entry = table.find(table.space(space), hash, Table::Key::view(key, scratch));
      const auto known = model.find(space);
      const bool has = known != model.end() && known->second.contains(key);
      ASSERT_EQ(entry != nullptr, has);
      if (has) {
        ASSERT_EQ(entry->value, known->second.at(key));
      }
    }
  }

  static void run_background(Subtask& subtask) {
    while (!subtask.background.empty()) {
      subtask.background.front()();
      subtask.background.pop_front();
    }
  }

  Contents contents() {
    return contents([](Subtask&) {});
  }
  // Calls meanwhile(subtask) again and again in the middle of a group, as when the output has no room.
  template <class F>
  Contents contents(F meanwhile) {
    Contents found;
    for (const auto& subtask : subtasks) {
      Table& table = *subtask->table;
      for (const std::int64_t name : table.names()) {
        auto& space = *table.find_space(name);
        for (auto& group : space.groups) {
          table.load(space, group);
          std::uint32_t live[16];
          for (std::size_t slot = 0; slot < group.slots(); meanwhile(*subtask)) {
            for (std::size_t i = 0, count = table.live_slots(space, group, slot, live, 16); i < count; ++i) {
              Key key{};
              const auto& entry = group.slot(live[i]);
              EXPECT_TRUE(found[name].emplace(entry.key.load(key), entry.value).second);
            }
          }
          table.unload(space, group);
        }
      }
    }
    std::erase_if(found, [](const auto& space) { return space.second.empty(); });
    return found;
  }

  void begin_snapshot(CheckpointId id) {
    for (const auto& subtask : subtasks) {
      auto& under_way = subtask->under_way;
      under_way = std::make_shared<Snapshot>(id, subtask->context.key_groups, subtask->base);
      // The base keeps its blocks, not what it was made from.
      if (under_way->base) under_way->base->base.reset();
      subtask->scanned = false;
      Files& files = under_way->files;
      subtask->table->begin_snapshot(id, *under_way);
      under_way->ticket =
          subtask->queue->submit([&files](ColdTier& tier) { tier.write_checkpoint(files); }, false);
    }
  }
  // The snapshots, when they are complete.
  std::optional<Snapshots> go_on() {
    bool all = true;
    for (const auto& subtask : subtasks) {
      if (!subtask->scanned) subtask->scanned = subtask->table->scan(1 + below(200));
      all = all && subtask->scanned;
    }
    if (!all) return std::nullopt;
    Snapshots done;
    for (const auto& subtask : subtasks) {
      subtask->table->end_snapshot();
      ColdQueue::finish(subtask->under_way->ticket);
      for (StateBlock& block : subtask->under_way->from_base) {
        subtask->under_way->blocks.push_back(std::move(block));
      }
      subtask->under_way->from_base.clear();
      done.push_back(std::exchange(subtask->under_way, nullptr));
      subtask->base = done.back();
    }
    return done;
  }
  void abort() {
    for (const auto& subtask : subtasks) {
      subtask->table->abort_snapshot();
      ColdQueue::finish(subtask->under_way->ticket);  // else it writes into what is gone
      subtask->under_way.reset();
    }
  }

  std::mt19937_64 random;
  std::size_t budget = 0;
  std::uint64_t rows_max = 0;
  Bytes scratch;
  std::vector<std::unique_ptr<Subtask>> subtasks;
};

using Types = ::testing::Types<std::tuple<std::uint64_t, std::int64_t>,
                               std::tuple<std::uint64_t, std::vector<std::uint64_t>>,
                               std::tuple<std::string, std::int64_t>,
                               std::tuple<std::tuple<std::string, std::int32_t>, std::int64_t>>;
TYPED_TEST_SUITE(TieredTable, Types);

template <class Model>
Model without_empty(Model model) {
  std::erase_if(model, [](const auto& space) { return space.second.empty(); });
  return model;
}

TYPED_TEST(TieredTable, IsAMapThroughEvictionSnapshotsAndRescaling) {
  using Model = typename TestFixture::Contents;
  this->random.seed(testing::first_seed());
  std::size_t went_cold = 0;
  struct Config {
    std::uint64_t keys;
    std::size_t budget;
    std::uint64_t rows_max;  // of one write
    std::uint64_t background;  // the greater, the later changes arrive
  };
  for (const auto& [keys, bytes, most_rows, background] : {Config{100, 1 << 10, 100, 2},
                                                          Config{2'000, 32 << 10, 100, 2},
                                                          Config{2'000, 1 << 20, 100, 2},
                                                          Config{5'000, 400 << 10, 400, 30},
                                                          Config{4'000, 4 << 20, 500, 4},
                                                          Config{6'000, 200 << 10, 100, 2}}) {
    this->budget = bytes;
    this->rows_max = most_rows;
    this->start(2, {});
    Model model, at_snapshot, restored_model;
    std::optional<typename TestFixture::Snapshots> last;
    bool under_way = false;
    CheckpointId id = 0;
    std::int64_t next_space = 3;
    for (int step = 0; step < 1200; ++step) {
      const std::int64_t space = next_space - 1 - static_cast<std::int64_t>(this->below(2));
      switch (this->below(14)) {
        case 0:
          if (this->below(6) == 0) {
            // The oldest is over; also one that comes again under its name.
            const std::int64_t gone = this->below(3) == 0 && !under_way ? next_space - 1 : next_space - 2;
            for (const auto& subtask : this->subtasks) subtask->table->drop(gone);
            model.erase(gone);
            if (gone == next_space - 2) ++next_space;
          }
          break;
        case 1:
          if (under_way) break;
          this->begin_snapshot(++id);
          at_snapshot = model;
          under_way = true;
          break;
        case 2:
        case 3:
          if (!under_way) break;
          if (this->below(40) == 0) {
            this->abort();
            under_way = false;
          } else if (auto done = this->go_on()) {
            last = std::move(done);
            restored_model = at_snapshot;
            under_way = false;
          }
          break;
        case 4:
          if (last && this->below(8) == 0) {
            if (under_way) this->abort();
            under_way = false;
            this->start(static_cast<std::uint32_t>(1 + this->below(5)), *last);
            model = restored_model;
            ASSERT_EQ(this->contents(), without_empty(model)) << "step " << step;
          }
          break;
        case 5:
        case 6:
          this->look_up(model, space, keys);
          break;
        case 7:
          this->remove_some(model, space, keys);
          break;
        case 8:
          if (this->below(10) == 0) {
            ASSERT_EQ(this->contents(), without_empty(model)) << "step " << step;
          }
          break;
        case 9:
        case 10:
          if (this->below(background) > 1) break;
          for (const auto& subtask : this->subtasks) {
            for (std::uint64_t i = this->below(4); i > 0 && !subtask->background.empty(); --i) {
              subtask->background.front()();
              subtask->background.pop_front();
            }
          }
          break;
        default:
          this->write(model, space, keys);
      }
      if (::testing::Test::HasFatalFailure()) return;
    }
    if (under_way) this->abort();
    ASSERT_EQ(this->contents(), without_empty(model));
    for (const auto& subtask : this->subtasks) {
      went_cold += static_cast<MemoryColdTier&>(subtask->queue->tier()).contents().size();
    }
    for (const auto& subtask : this->subtasks) {
      subtask->table.reset();
      EXPECT_EQ(subtask->memory->state().used_bytes(), 0u);
    }
  }
  EXPECT_GT(went_cold, 0u);
}

// As a job does it: the scan has a thread of its own, while entries leave for the tier and come back.
TYPED_TEST(TieredTable, IsScannedByAnotherThreadWhileEntriesComeAndGo) {
  using Model = typename TestFixture::Contents;
  this->random.seed(testing::first_seed());
  for (const auto& [keys, bytes] : {std::pair(2'000, 32 << 10), std::pair(6'000, 200 << 10)}) {
    this->budget = static_cast<std::size_t>(bytes);
    this->rows_max = 100;
    this->start(1, {});
    Model model;
    for (CheckpointId id = 1; id <= 12; ++id) {
      for (int i = 0; i < 30; ++i) this->write(model, 1, static_cast<std::uint64_t>(keys));
      auto& subtask = *this->subtasks.front();
      const Model at_snapshot = model;
      this->begin_snapshot(id);
      std::atomic<bool> over{false};
      std::thread scan([&, most = 1 + this->below(300)] {
        while (!subtask.table->scan(most)) std::this_thread::yield();
        over = true;
      });
      for (int i = 0; i < 3 || (!over && i < 10'000); ++i) {
        this->write(model, 1, static_cast<std::uint64_t>(keys));
        this->look_up(model, 1, static_cast<std::uint64_t>(keys));
        if (i % 4 == 0) this->remove_some(model, 1, static_cast<std::uint64_t>(keys));
        if (i % 3 == 0) this->run_background(subtask);
      }
      scan.join();
      subtask.scanned = true;
      const auto done = this->go_on();
      ASSERT_TRUE(done.has_value());
      if (id % 4 != 0) continue;
      this->start(1, *done);
      model = at_snapshot;
      ASSERT_EQ(this->contents(), without_empty(model)) << "checkpoint " << id;
    }
    EXPECT_GT(static_cast<MemoryColdTier&>(this->subtasks.front()->queue->tier()).contents().size(), 0u);
  }
}

TYPED_TEST(TieredTable, AChangeOfTheTierThatFailsFailsWhatFollows) {
  using Model = typename TestFixture::Contents;
  this->budget = 32 << 10;
  this->rows_max = 100;
  this->start(1, {});
  auto& subtask = *this->subtasks.front();
  static_cast<MemoryColdTier&>(subtask.queue->tier()).fail_after(2);
  Model model;
  const auto write_for_ever = [&] {
    for (;;) this->write(model, 0, 5'000);
  };
  EXPECT_THROW(write_for_ever(), StateError);
  this->begin_snapshot(1);
  EXPECT_THROW(ColdQueue::finish(subtask.under_way->ticket), StateError)
      << "a checkpoint of a tier that is not what it should be";
  subtask.table->abort_snapshot();
}

// What had not changed for a while leaves the snapshots, though all of it stays in memory.
TYPED_TEST(TieredTable, SnapshotsAreOfWhatChanges) {
  using Model = typename TestFixture::Contents;
  this->budget = 64 << 20;
  this->rows_max = 20;
  this->start(1, {});
  Model model;
  for (int i = 0; i < 2000; ++i) this->write(model, 0, 5'000);
  auto& subtask = *this->subtasks.front();
  const auto captured = [&](CheckpointId id) {
    this->begin_snapshot(id);
    std::optional<typename TestFixture::Snapshots> done;
    while (!done) done = this->go_on();
    std::size_t entries = 0;
    for (const StateBlock& block : done->front()->blocks) entries += block.entries;
    return entries;
  };
  EXPECT_EQ(captured(1), model[0].size());
  std::size_t last = model[0].size();
  for (CheckpointId id = 2; id < 8; ++id) {
    this->write(model, 0, 5'000);
    last = captured(id);
    this->write(model, 0, 10);
    for (auto left = StateTable::Settled::kMore; left != StateTable::Settled::kDone; left = subtask.table->settle()) {
      if (left == StateTable::Settled::kWaiting) this->run_background(subtask);
    }
  }
  EXPECT_LT(last, model[0].size() / 10);
  EXPECT_EQ(subtask.table->entries(), model[0].size()) << "all of it is in the table";
  EXPECT_EQ(this->contents(), model);
}

// A walk that waits for room in the output goes on over what it has begun, whatever arrives in the tier meanwhile.
TYPED_TEST(TieredTable, NothingLeavesAGroupInTheMiddleOfAWalk) {
  using Model = typename TestFixture::Contents;
  this->budget = 2 << 20;
  this->rows_max = 400;
  this->start(1, {});
  Model model;
  auto& subtask = *this->subtasks.front();
  for (int i = 0; i < 300; ++i) this->write(model, 0, 5'000);
  ASSERT_TRUE(subtask.background.empty()) << "all of it fits";
  for (CheckpointId id = 1; id <= 3; ++id) {  // little changes in between: there is something to tidy up
    this->write(model, 0, 10);
    this->begin_snapshot(id);
    while (!this->go_on()) {
    }
  }
  this->run_background(subtask);
  for (int i = 0; i < 5'000 && subtask.background.empty(); ++i) this->write(model, 0, 50'000);
  ASSERT_FALSE(subtask.background.empty()) << "nothing is on its way to the tier";
  std::size_t waits = 0;
  const Model found = this->contents([&](auto& of) {
    this->run_background(of);
    if (of.table->settle() == StateTable::Settled::kWaiting) ++waits;
  });
  EXPECT_EQ(found, model);
  EXPECT_GT(waits, 0U) << "there was nothing to settle";
}

}  // namespace
}  // namespace levada::detail
