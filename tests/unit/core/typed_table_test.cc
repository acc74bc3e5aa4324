// TypedTable against a map: random writes, removals, look-ups, drops and growth, with snapshots that go on
// meanwhile, and tables restored from them.
#include "levada/detail/typed_table.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/mutex.h"
#include "support/seed.h"
#include "unit/core/table_samples.h"

namespace levada::detail {
namespace {

// Takes a snapshot, and keeps what has not changed since `base` began.
class Blocks final : public BlockSink {
 public:
  explicit Blocks(CheckpointId id_in, const Blocks* base = nullptr) : id(id_in), base_(base) {}

  void block(StateBlock&& block) override {
    EXPECT_FALSE(kept.contains(block.name_space)) << "what is kept is not captured";
    blocks.push_back(std::move(block));
  }
  Bytes spare() override { return blocks.size() % 2 == 0 ? Bytes() : Bytes(20'000, '?'); }
  bool keep(std::int64_t name_space, CheckpointId changed_after) override {
    if (base_ == nullptr || changed_after >= base_->id) return false;
    bool has = false;
    for (const StateBlock& block : base_->blocks) {
      if (block.name_space != name_space) continue;
      from_base_.push_back(block);
      has = true;
    }
    if (has) kept.insert(name_space);
    return has;
  }
  // The snapshot is complete: what was kept is as if it had been captured.
  void finish() {
    for (StateBlock& block : from_base_) blocks.push_back(std::move(block));
    base_ = nullptr;
  }

  CheckpointId id;
  std::vector<StateBlock> blocks;
  std::set<std::int64_t> kept;

 private:
  const Blocks* base_;
  std::vector<StateBlock> from_base_;
};

// The same for a table that another thread scans.
class SharedBlocks final : public BlockSink {
 public:
  explicit SharedBlocks(CheckpointId id) : blocks_(id) {}
  void block(StateBlock&& block) override {
    MutexLock lock(mutex_);
    blocks_.block(std::move(block));
  }
  Bytes spare() override {
    MutexLock lock(mutex_);
    return blocks_.spare();
  }
  // When nobody scans any more.
  const std::vector<StateBlock>& blocks() {
    MutexLock lock(mutex_);
    return blocks_.blocks;
  }

 private:
  Mutex mutex_;
  Blocks blocks_ LEVADA_GUARDED_BY(mutex_);
};

template <class Types>
class TypedTableModel : public ::testing::Test {
 public:
  using Key = typename std::tuple_element<0, Types>::type;
  using K = Key;
  using V = typename std::tuple_element<1, Types>::type;
  using KeyedTable = TypedTable<K, V>;
  using Contents = std::map<std::int64_t, std::map<K, V>>;

  std::uint64_t below(std::uint64_t n) { return random() % n; }

  void write(KeyedTable& table, Contents& model, std::int64_t space, std::uint64_t keys) {
    std::vector<K> rows;
    std::vector<std::uint64_t> hashes, by;
    for (std::uint64_t i = 0, count = 1 + below(100); i < count; ++i) {
      rows.push_back(make<K>(below(keys)));
      hashes.push_back(hash_of(rows.back()));
      by.push_back(below(1000));
      change(model[space][rows.back()], by.back());
    }
    auto& into = table.space(space);
    table.visit(
        into, hashes.data(),
        [&](std::size_t i) -> typename KeyedTable::KeyView { return KeyedTable::Key::view(rows[i], scratch); },
        0, rows.size(), [&](std::size_t i, auto& entry) {
          const std::size_t before = heap_bytes_of(entry.value);
          change(entry.value, by[i]);
          table.charge_change(into, before, heap_bytes_of(entry.value));
        });
  }

  void remove(KeyedTable& table, Contents& model, std::int64_t space, K key) {
    const bool had = model[space].erase(key) > 0;
    ASSERT_EQ(table.remove(table.space(space), hash_of(key), KeyedTable::Key::view(key, scratch)), had);
    ASSERT_EQ(table.find(table.space(space), hash_of(key), KeyedTable::Key::view(key, scratch)), nullptr);
  }
  // Of single keys, or of all in a range: then whole runs of neighbours go.
  void remove_some(KeyedTable& table, Contents& model, std::int64_t space, std::uint64_t keys) {
    const std::uint64_t first = below(keys);
    const std::uint64_t count = below(4) == 0 ? below(keys - first) : below(30);
    for (std::uint64_t i = 0; i < count; ++i) {
      remove(table, model, space, make<K>(count < 30 ? below(keys) : first + i));
    }
  }

  // The figures of each space are those of its entries.
  void expect_accounted(KeyedTable& table) {
    std::size_t total = 0;
    for (const std::int64_t name : table.names()) {
      auto& space = *table.find_space(name);
      std::size_t slots = 0, heap = 0, arenas = 0;
      for (auto& group : space.groups) {
        slots += group.slots() * sizeof(typename KeyedTable::Entry);
        std::size_t size = 0, keys = 0;
        table.each_live(space, group, [&](auto& entry) {
          ++size;
          heap += heap_bytes_of(entry.value);
          if constexpr (KeyedTable::Key::kInArena) {
            const std::size_t bytes = entry.key.view().size();
            if (!KeyedTable::Key::is_short(bytes)) keys += bytes;
          }
        });
        EXPECT_EQ(group.size, size);
        if constexpr (KeyedTable::Key::kInArena) {
          if (!group.arena) continue;
          EXPECT_EQ(group.arena->live_bytes(), keys);
          arenas += group.arena->capacity();
        }
      }
      EXPECT_EQ(space.slot_bytes, slots);
      EXPECT_EQ(space.heap_bytes, heap);
      EXPECT_EQ(space.arena_bytes, arenas);
      total += slots + heap + arenas;
    }
    EXPECT_LE(total, table.memory_bytes());
    EXPECT_LE(table.memory_bytes(), share.used_bytes());
  }

  // What the live entries say, by space.
  Contents contents(KeyedTable& table) {
    Contents found;
    for (const std::int64_t name : table.names()) {
      auto& space = *table.find_space(name);
      for (auto& group : space.groups) {
        table.each_live(space, group, [&](auto& entry) {
          K key{};
          EXPECT_TRUE(found[name].emplace(entry.key.load(key), entry.value).second);
        });
      }
    }
    return found;
  }

  Contents restored(const std::vector<StateBlock>& blocks) {
    KeyedTable table("t", "n", {0, 16}, 16, share);
    for (const StateBlock& block : blocks) {
      table.restore({block.name_space, block.key_group, block.entries, View(block.bytes)});
    }
    return contents(table);
  }

  void look_up(KeyedTable& table, const Contents& model, std::int64_t space, std::uint64_t keys) {
    const K key = make<K>(below(keys));
    const auto* entry = table.find(table.space(space), hash_of(key), KeyedTable::Key::view(key, scratch));
    const auto known = model.find(space);
    const bool has = known != model.end() && known->second.contains(key);
    ASSERT_EQ(entry != nullptr, has);
    if (has) {
      ASSERT_EQ(entry->value, known->second.at(key));
    }
  }

  std::mt19937_64 random{7};
  Bytes scratch;
  MemoryShare share{"state", std::size_t{1} << 30};
};

using Types = ::testing::Types<std::tuple<std::uint64_t, std::int64_t>,
                               std::tuple<std::int32_t, std::int8_t>,
                               std::tuple<std::uint64_t, std::optional<std::array<std::int64_t, 8>>>,
                               std::tuple<std::uint64_t, std::vector<std::uint64_t>>,
                               std::tuple<std::string, std::int64_t>,
                               std::tuple<std::string, std::vector<std::uint64_t>>,
                               std::tuple<std::tuple<std::string, std::int32_t>, std::int64_t>>;
TYPED_TEST_SUITE(TypedTableModel, Types);

template <class Model>
Model without_empty(Model model) {
  std::erase_if(model, [](const auto& space) { return space.second.empty(); });
  return model;
}

TYPED_TEST(TypedTableModel, IsAMapThroughGrowthDropsAndSnapshots) {
  using Table = typename TestFixture::KeyedTable;
  using Model = typename TestFixture::Contents;
  for (const std::uint64_t keys : {5u, 300u, 20'000u}) {
    Table table("t", "n", {0, 16}, 16, this->share);
    Model model, at_snapshot;
    std::int64_t next_space = 3;
    std::optional<Blocks> blocks, base;
    CheckpointId id = 0;
    std::size_t kept = 0;
    for (int step = 0; step < 4000; ++step) {
      const std::int64_t space = next_space - 1 - static_cast<std::int64_t>(this->below(3));
      switch (this->below(8)) {
        case 0:
          if (this->below(10) == 0) {  // spaces come and go like slices
            table.drop(next_space - 3);
            model.erase(next_space - 3);
            ++next_space;
          }
          break;
        case 1:
          if (!blocks) {
            blocks.emplace(++id, base ? &*base : nullptr);
            at_snapshot = model;
            table.begin_snapshot(id, *blocks);
          }
          break;
        case 2:
        case 3:
          if (blocks && table.scan(1 + this->below(2 * keys + 64))) {
            if (this->below(2) == 0) this->write(table, model, next_space - 1, keys);  // the end comes a little later
            table.end_snapshot();
            kept += blocks->kept.size();
            blocks->finish();
            EXPECT_EQ(this->restored(blocks->blocks), without_empty(at_snapshot));
            if (this->below(3) > 0) base = std::move(blocks);  // else it is never committed
            blocks.reset();
          } else if (blocks && this->below(200) == 0) {
            table.abort_snapshot();
            blocks.reset();
          }
          break;
        case 4:
          this->look_up(table, model, space, keys);
          break;
        default:
          // Mostly the newest: the others rest between two snapshots.
          this->write(table, model, this->below(20) == 0 ? space : next_space - 1, keys);
      }
    }
    if (blocks) table.abort_snapshot();
    EXPECT_GT(kept, 0u) << keys;
    EXPECT_EQ(without_empty(this->contents(table)), without_empty(model));
    EXPECT_LE(table.memory_bytes(), this->share.used_bytes());
  }
  EXPECT_EQ(this->share.used_bytes(), 0u);
}

TYPED_TEST(TypedTableModel, ForgetsRemovedEntriesAlsoWhileTheyAreCaptured) {
  using Table = typename TestFixture::KeyedTable;
  using Model = typename TestFixture::Contents;
  this->random.seed(testing::first_seed());
  for (const std::uint64_t keys : {4u, 40u, 400u, 8'000u}) {
    auto table = std::make_unique<Table>("t", "n", KeyGroupRange{0, 16}, 16, this->share);
    Model model, at_snapshot;
    std::optional<Blocks> blocks, base;
    CheckpointId id = 0;
    for (int step = 0; step < 1500; ++step) {
      const auto space = static_cast<std::int64_t>(1 + this->below(2));
      switch (this->below(8)) {
        case 0:
          if (blocks) break;
          blocks.emplace(++id, base ? &*base : nullptr);
          at_snapshot = model;
          table->begin_snapshot(id, *blocks);
          break;
        case 1:
        case 2:
          if (blocks && this->below(100) == 0) {
            table->abort_snapshot();
            blocks.reset();
          } else if (blocks && table->scan(1 + this->below(2 * keys + 64))) {
            table->end_snapshot();
            blocks->finish();
            ASSERT_EQ(this->restored(blocks->blocks), without_empty(at_snapshot));
            base = std::move(blocks);
            blocks.reset();
          }
          break;
        case 3:
          if (base && this->below(20) == 0) {  // a crash
            table = std::make_unique<Table>("t", "n", KeyGroupRange{0, 16}, 16, this->share);
            for (const StateBlock& block : base->blocks) {
              table->restore({block.name_space, block.key_group, block.entries, View(block.bytes)});
            }
            model = this->contents(*table);
            base.reset();
            blocks.reset();
          }
          break;
        case 4:
          this->look_up(*table, model, space, keys);
          break;
        case 5:
          this->write(*table, model, space, keys);
          break;
        default:
          this->remove_some(*table, model, space, keys);
      }
      if (step % 50 == 0) this->expect_accounted(*table);
    }
    if (blocks) table->abort_snapshot();
    EXPECT_EQ(without_empty(this->contents(*table)), without_empty(model));
    this->expect_accounted(*table);
  }
  EXPECT_EQ(this->share.used_bytes(), 0u);
}

// As a job does it: the scan has a thread of its own, while rows come, groups grow and entries move.
TYPED_TEST(TypedTableModel, IsScannedByAnotherThreadWhileItChanges) {
  using Table = typename TestFixture::KeyedTable;
  using Model = typename TestFixture::Contents;
  this->random.seed(testing::first_seed());
  for (const auto& [keys, groups, rounds] : {std::tuple(40, 2, 60), std::tuple(20'000, 3, 8)}) {
    Table table("t", "n", {0, static_cast<std::uint32_t>(groups)}, groups, this->share);
    Model model;
    for (int i = 0; i < keys / 50; ++i) this->write(table, model, 1, static_cast<std::uint64_t>(keys));
    for (CheckpointId id = 1; id <= static_cast<CheckpointId>(rounds); ++id) {
      const Model at_snapshot = model;
      SharedBlocks blocks(id);
      table.begin_snapshot(id, blocks);
      std::atomic<bool> over{false};
      std::thread scan([&, most = 1 + this->below(500)] {
        while (!table.scan(most)) std::this_thread::yield();
        over = true;
      });
      // More keys each time, and then fewer.
      const std::uint64_t range = static_cast<std::uint64_t>(keys) * (1 + id % 3);
      for (int i = 0; i < 3 || (!over && i < 10'000); ++i) {
        this->write(table, model, 1, range);
        if (i % 4 == 0) this->remove_some(table, model, 1, range);
        this->look_up(table, model, 1, range);
      }
      scan.join();
      table.end_snapshot();
      std::size_t captured = 0;
      for (const StateBlock& block : blocks.blocks()) captured += block.entries;
      ASSERT_EQ(captured, without_empty(at_snapshot).empty() ? 0 : at_snapshot.at(1).size()) << "each once";
      ASSERT_EQ(this->restored(blocks.blocks()), without_empty(at_snapshot));
      this->expect_accounted(table);
    }
    EXPECT_EQ(without_empty(this->contents(table)), without_empty(model));
  }
}

// One key group, so that runs of neighbours are long and go round its end.
TYPED_TEST(TypedTableModel, EntriesThatMoveUpAreCapturedOnceWhereverTheScanIs) {
  using Table = typename TestFixture::KeyedTable;
  using Model = typename TestFixture::Contents;
  for (std::uint64_t round = 0; round < 60; ++round) {
    Table table("t", "n", {0, 1}, 1, this->share);
    Model model;
    const std::uint64_t keys = 30 + this->below(300);
    for (int i = 0; i < 6; ++i) this->write(table, model, 1, keys);
    const Model expected = model;
    Blocks blocks(1);
    table.begin_snapshot(1, blocks);
    bool done = false;
    for (const std::uint64_t end = 1 + this->below(16); !done && table.entries() > end;) {
      done = table.scan(1);
      for (std::uint64_t i = 0, count = this->below(20); i < count; ++i) {
        this->remove(table, model, 1, make<typename TestFixture::Key>(this->below(keys)));
      }
    }
    while (!done) done = table.scan(1);
    table.end_snapshot();
    std::uint32_t captured = 0;
    for (const StateBlock& block : blocks.blocks) captured += block.entries;
    ASSERT_EQ(captured, expected.at(1).size());
    ASSERT_EQ(this->restored(blocks.blocks), expected);
    ASSERT_EQ(without_empty(this->contents(table)), without_empty(model));
  }
}

TYPED_TEST(TypedTableModel, KeysThatComeAndGoTakeNoMoreMemory) {
  using Table = typename TestFixture::KeyedTable;
  Table table("t", "n", {0, 1}, 1, this->share);
  auto& space = table.space(0);
  std::size_t most = 0;
  for (std::uint64_t n = 0; n < 50'000; ++n) {
    const auto came = make<typename TestFixture::Key>(n);
    auto& entry = table.at(space, hash_of(came), Table::Key::view(came, this->scratch));
    change(entry.value, n);
    table.charge_change(space, 0, heap_bytes_of(entry.value));
    if (n < 20) continue;
    const auto gone = make<typename TestFixture::Key>(n - 20);
    ASSERT_TRUE(table.remove(space, hash_of(gone), Table::Key::view(gone, this->scratch)));
    if (n < 200) most = std::max(most, space.slot_bytes + space.arena_bytes);
    ASSERT_LE(space.slot_bytes + space.arena_bytes, 4 * most);
  }
  EXPECT_EQ(table.entries(), 20u);
}

TYPED_TEST(TypedTableModel, TellsWhichSpacesHaveNotChangedSinceASnapshotBegan) {
  using Table = typename TestFixture::KeyedTable;
  using Model = typename TestFixture::Contents;
  using Names = std::set<std::int64_t>;
  Table table("t", "n", {0, 16}, 16, this->share);
  Model model;
  for (const std::int64_t space : {1, 2, 3, 4}) this->write(table, model, space, 50);
  const auto snapshot = [&](CheckpointId id, const Blocks* base, auto meanwhile) {
    Blocks blocks(id, base);
    const Model expected = model;
    table.begin_snapshot(id, blocks);
    meanwhile();
    while (!table.scan(1)) {
    }
    table.end_snapshot();
    const Names kept = blocks.kept;
    blocks.finish();
    EXPECT_EQ(this->restored(blocks.blocks), expected);
    return std::pair(std::move(blocks), kept);
  };
  const auto nothing = [] {};
  const auto [first, none] = snapshot(1, nullptr, [&] { this->write(table, model, 2, 50); });
  EXPECT_EQ(none, Names{});

  this->write(table, model, 3, 50);
  this->look_up(table, model, 1, 50);
  const auto [second, since_first] = snapshot(2, &first, nothing);
  EXPECT_EQ(since_first, (Names{1, 4})) << "2 changed while the first was captured";

  // A snapshot that was given up is no base, and changes after it began are not lost.
  Blocks given_up(3, &second);
  table.begin_snapshot(3, given_up);
  this->write(table, model, 4, 50);
  table.abort_snapshot();
  const auto [fourth, since_second] = snapshot(4, &second, nothing);
  EXPECT_EQ(since_second, (Names{1, 2, 3}));

  // One that comes again under its old name is another, also when it is dropped during a snapshot.
  table.drop(1);
  model.erase(1);
  this->write(table, model, 1, 50);
  const auto [fifth, since_fourth] = snapshot(5, &fourth, [&] {
    table.drop(2);
    model.erase(2);
    this->write(table, model, 2, 50);
  });
  EXPECT_EQ(since_fourth, (Names{2, 3, 4}));
  const auto [sixth, since_fifth] = snapshot(6, &fifth, nothing);
  EXPECT_EQ(since_fifth, (Names{1, 3, 4}));

  auto& space = *table.find_space(3);
  table.clear(space);
  model.erase(3);
  const auto [seventh, since_sixth] = snapshot(7, &sixth, nothing);
  EXPECT_EQ(since_sixth, (Names{1, 2, 4}));
  // A single entry that is asked for to be written.
  const auto key = model[4].begin()->first;
  table.at(*table.find_space(4), hash_of(key), Table::Key::view(key, this->scratch));
  const auto [eighth, since_seventh] = snapshot(8, &seventh, nothing);
  EXPECT_EQ(since_seventh, (Names{1, 2}));
  // One that is removed, and one that is not there.
  this->remove(table, model, 2, model[2].begin()->first);
  this->remove(table, model, 1, make<typename TestFixture::Key>(1000));
  EXPECT_EQ(snapshot(9, &eighth, nothing).second, (Names{1, 4}));
}

// The generation of a space has sixteen bits; an entry of an earlier round must not come alive again.
TYPED_TEST(TypedTableModel, ASpaceMayBeEmptiedForEver) {
  using Table = typename TestFixture::KeyedTable;
  using Model = typename TestFixture::Contents;
  Table table("t", "n", {0, 16}, 16, this->share);
  auto& space = table.space(0);
  for (int round = 0; round < 70'000; ++round) {
    if (round % 1000 < 2) {
      Model model;
      this->write(table, model, 0, 50);
      ASSERT_EQ(this->contents(table), model) << round;
    }
    table.clear(space);
    if (round % 1000 < 2) {
      ASSERT_TRUE(this->contents(table).empty()) << round;
    }
  }
}

TYPED_TEST(TypedTableModel, SiftingKeepsWhatIsWanted) {
  using Table = typename TestFixture::KeyedTable;
  using Model = typename TestFixture::Contents;
  Table table("t", "n", {0, 16}, 16, this->share);
  Model model;
  for (int i = 0; i < 50; ++i) this->write(table, model, 0, 2000);
  const std::size_t before = table.memory_bytes();
  const auto keep = [](const auto& value) {
    if constexpr (requires { value.size(); }) {
      return value.size() == 1;
    } else if constexpr (requires { value.has_value(); }) {
      return !value.has_value();
    } else {
      return value % 10 == 0;
    }
  };
  auto& space = *table.find_space(0);
  for (auto& group : space.groups) {
    table.sift(space, group, [&](const auto& entry) { return keep(entry.value); });
  }
  std::erase_if(model[0], [&](const auto& entry) { return !keep(entry.second); });
  EXPECT_EQ(this->contents(table), model);
  EXPECT_LT(table.memory_bytes(), before);
  this->write(table, model, 0, 2000);
  EXPECT_EQ(this->contents(table), model);
}

TEST(TypedTable, AStateThatOutgrowsItsShareIsNamedAndStaysAsItWas) {
  MemoryShare share("state", 64 * 1024);
  TypedTable<std::uint64_t, std::int64_t> table("windows", "totals", {0, 1}, 1, share);
  auto& space = table.space(0);
  std::uint64_t key = 0;
  try {
    for (;; ++key) table.at(space, hash_of(key), key).value = 1;
  } catch (const StateError& error) {
    EXPECT_NE(std::string(error.what()).find("totals.windows"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("65536"), std::string::npos) << error.what();
  }
  EXPECT_GT(key, 500u);
  for (std::uint64_t known = 0; known < key; ++known) {
    ASSERT_NE(table.find(space, hash_of(known), known), nullptr);
  }
  EXPECT_EQ(table.entries(), key);
}

}  // namespace
}  // namespace levada::detail
