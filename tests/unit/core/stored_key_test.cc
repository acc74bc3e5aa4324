// StoredKey: keys as bytes, in the entry or in the arena.
#include "levada/detail/stored_key.h"

#include <gtest/gtest.h>

namespace levada::detail {
namespace {

using Key = StoredKey<std::string>;

void store(Key& into, KeyArena& arena, const std::string& text) {
  if (Key::is_short(text.size())) return into.keep(text);
  if (!arena.reuse_chunk(text.size())) arena.add_chunk(arena.next_chunk(text.size()));
  into.point_to(arena.append(text), text.size());
}

TEST(StoredKey, OfEveryLengthEqualsItselfAndNothingThatDiffersInAByteOrInLength) {
  KeyArena arena;
  for (std::size_t size = 0; size <= 40; ++size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 26);
    Key key;
    store(key, arena, text);
    std::string scratch;
    EXPECT_EQ(key.load(scratch), text);
    EXPECT_EQ(key.hash(), hash_of(text));
    EXPECT_TRUE(key == Key::View(text));
    EXPECT_FALSE(key == Key::View(text + '\0'));
    for (std::size_t i = 0; i < size; ++i) {
      std::string other = text;
      other[i] ^= 1;
      EXPECT_FALSE(key == Key::View(other)) << "length " << size << ", byte " << i;
      EXPECT_FALSE(key == Key::View(text).substr(0, i)) << "length " << size << ", cut at " << i;
    }
  }
}

TEST(StoredKey, MovesWithItsEntry) {
  KeyArena arena;
  for (const std::size_t size : {std::size_t{5}, std::size_t{16}, std::size_t{17}}) {
    const std::string text(size, 'x');
    Key key;
    store(key, arena, text);
    const Key moved = std::move(key);
    EXPECT_EQ(moved.view(), text);
    Key again = moved;
    if (Key::is_short(size)) again.keep(again.view());
    EXPECT_EQ(again.view(), text);
  }
}

}  // namespace
}  // namespace levada::detail
