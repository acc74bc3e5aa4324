// TypedTable against a map: random writes, look-ups, drops and growth, with snapshots that go on meanwhile.
#include "levada/detail/typed_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

namespace levada::detail {
namespace {

template <class T>
T make(std::uint64_t n);
template <>
std::uint64_t make(std::uint64_t n) {
  return n;
}
template <>
std::string make(std::uint64_t n) {
  return n % 3 == 0 ? std::to_string(n) : "a key that lies outside of the row " + std::to_string(n);
}
template <>
std::tuple<std::string, std::int32_t> make(std::uint64_t n) {
  return {make<std::string>(n / 2), static_cast<std::int32_t>(n % 2)};
}

void change(std::int64_t& value, std::uint64_t by) { value += static_cast<std::int64_t>(by); }
void change(std::vector<std::uint64_t>& value, std::uint64_t by) { value.push_back(by); }

class Blocks final : public BlockSink {
 public:
  void block(StateBlock&& block) override { blocks.push_back(std::move(block)); }
  std::vector<StateBlock> blocks;
};

template <class Types>
class TypedTableModel : public ::testing::Test {
 public:
  using K = typename std::tuple_element<0, Types>::type;
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
    std::optional<Blocks> blocks;
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
            blocks.emplace();
            at_snapshot = model;
            table.begin_snapshot(*blocks);
          }
          break;
        case 2:
        case 3:
          if (blocks && table.scan(1 + this->below(keys))) {
            EXPECT_EQ(this->restored(blocks->blocks), without_empty(at_snapshot));
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
          this->write(table, model, space, keys);
      }
    }
    if (blocks) table.abort_snapshot();
    EXPECT_EQ(without_empty(this->contents(table)), without_empty(model));
    EXPECT_LE(table.memory_bytes(), this->share.used_bytes());
  }
  EXPECT_EQ(this->share.used_bytes(), 0u);
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
