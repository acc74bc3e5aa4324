// KeyGroupBlocks: what rows captured comes out once, in blocks of one namespace and key group each.
#include "core/key_group_blocks.h"

#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace levada {
namespace {

using Place = std::tuple<std::int64_t, std::uint32_t, bool>;  // namespace, key group, removed
struct Content {
  std::uint32_t entries = 0;
  std::string bytes;
};

void append_entry(CapturedRows& rows, std::uint32_t index, bool removed, const std::string& entry) {
  const std::size_t before = rows.bytes.size();
  rows.bytes.resize(before + CapturedRows::kHeaderBytes);
  rows.bytes += entry;
  CapturedRows::put_header(rows.bytes.data() + before, rows.bytes.size() - before, index, removed);
}

TEST(KeyGroupBlocks, HaveEachEntryOnceWhereItBelongs) {
  Random random(11);
  for (const std::uint32_t first : {0u, 7u, 32'000u}) {
    std::map<Place, Content> expected, found;
    std::size_t given = 0, added = 0;
    KeyGroupBlocks blocks;
    const auto take = [&](StateBlock& block) {
      EXPECT_GT(block.entries, 0u);
      Content& content = found[{block.name_space, block.key_group, block.removed}];
      content.entries += block.entries;
      content.bytes += block.bytes;
      given += block.bytes.size();
      if (random.below(2) == 0) block.bytes = Bytes();  // taken, or not
    };
    for (int part = 0; part < 200; ++part) {
      CapturedRows rows{.name_space = static_cast<std::int64_t>(random.below(3)) - 1, .first_key_group = first};
      for (std::uint64_t i = 0, count = random.below(1000); i < count; ++i) {
        const auto index = static_cast<std::uint32_t>(random.below(part % 2 == 0 ? 3 : 700));
        const bool removed = random.below(8) == 0;
        const std::string entry(random.below(100) == 0 ? 5000 : random.below(60), static_cast<char>(random.next()));
        append_entry(rows, index, removed, entry);
        Content& content = expected[{rows.name_space, first + index, removed}];
        ++content.entries;
        content.bytes += entry;
        added += entry.size();
      }
      blocks.add(rows, take);
      ASSERT_GE(blocks.memory_bytes(), added - given);
    }
    EXPECT_GT(given, 0u) << "full blocks do not wait for the end";
    const std::size_t given_before = given;
    EXPECT_FALSE(blocks.give_rest(1, take)) << "no namespace has ended";
    for (std::int64_t name = -1; name <= 1; ++name) blocks.add({name, first, {}, true}, take);
    EXPECT_TRUE(blocks.give_rest(1, take));
    EXPECT_GT(given, given_before) << "at least one";
    while (blocks.give_rest(10'000, take)) {
      ASSERT_LT(given, added);
    }
    EXPECT_EQ(given, added);
    EXPECT_EQ(blocks.memory_bytes(), 0u);
    EXPECT_FALSE(blocks.give_rest(1, take));
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [place, content] : expected) {
      ASSERT_EQ(found[place].entries, content.entries);
      ASSERT_EQ(found[place].bytes, content.bytes);
    }
  }
}

TEST(KeyGroupBlocks, AreNotMuchLongerThanABlock) {
  KeyGroupBlocks blocks;
  std::vector<std::size_t> sizes;
  CapturedRows rows;
  for (int i = 0; i < 10'000; ++i) append_entry(rows, 0, false, std::string(100, 'e'));
  blocks.add(rows, [&](StateBlock& block) { sizes.push_back(block.bytes.size()); });
  ASSERT_EQ(sizes.size(), 1'000'000 / (KeyGroupBlocks::kBlockBytes + 32));
  for (const std::size_t size : sizes) {
    EXPECT_GE(size, KeyGroupBlocks::kBlockBytes);
    EXPECT_LT(size, KeyGroupBlocks::kBlockBytes + 100);
  }
}

// A sink that knows nothing of them is given blocks.
TEST(KeyGroupBlocks, AreWhatASinkGetsOfCapturedRows) {
  struct Sink final : BlockSink {
    void block(StateBlock&& block) override { blocks.push_back(std::move(block)); }
    std::vector<StateBlock> blocks;
  } sink;
  CapturedRows rows{.name_space = 5, .first_key_group = 10};
  append_entry(rows, 2, false, "ab");
  append_entry(rows, 0, true, "k");
  append_entry(rows, 2, false, "cd");
  sink.captured(std::move(rows));
  ASSERT_EQ(sink.blocks.size(), 2u);
  EXPECT_EQ(sink.blocks[0].key_group, 12u);
  EXPECT_FALSE(sink.blocks[0].removed);
  EXPECT_EQ(sink.blocks[0].bytes, "abcd");
  EXPECT_EQ(sink.blocks[0].entries, 2u);
  EXPECT_EQ(sink.blocks[1].key_group, 10u);
  EXPECT_TRUE(sink.blocks[1].removed);
  EXPECT_EQ(sink.blocks[1].bytes, "k");
  for (const StateBlock& block : sink.blocks) EXPECT_EQ(block.name_space, 5);
}

}  // namespace
}  // namespace levada
