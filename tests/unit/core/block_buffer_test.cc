#include "levada/detail/block_buffer.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace levada::detail {
namespace {

// Gives the memory of the blocks it was given before.
struct Recycler final : BlockSink {
  void block(StateBlock&& block) override { spares.push_back(std::move(block.bytes)); }
  Bytes spare() override {
    ++asked;
    if (spares.empty()) return {};
    Bytes last = std::move(spares.back());
    spares.pop_back();
    return last;
  }
  std::vector<Bytes> spares;
  int asked = 0;
};

std::string entry_of(Random& random, std::size_t bytes) {
  std::string entry(bytes, '\0');
  for (char& c : entry) c = static_cast<char>(random.next());
  return entry;
}

// Writes entries of so many bytes until it is full.
void fill(BlockBuffer& buffer, std::size_t entry_bytes, BlockSink& sink) {
  for (;;) {
    if (!buffer.has_room(entry_bytes)) {
      if (buffer.full()) return;
      buffer.make_room(entry_bytes, sink);
    }
    std::fill_n(buffer.end(), entry_bytes, 'e');
    buffer.extend(entry_bytes);
  }
}

// What is appended is what is taken, block after block, whatever memory the blocks lie in.
TEST(BlockBuffer, GivesBackWhatWasAppended) {
  Random random(7);
  Recycler sink;
  BlockBuffer buffer;
  for (int block = 0; block < 300; ++block) {
    const bool bounded = block % 2 == 0;
    const std::size_t longest = std::size_t{1} << (block % 16);
    const std::size_t bytes = random.below(2 * BlockBuffer::kBlockBytes);
    std::string appended;
    while (appended.size() < bytes) {
      const std::string entry = entry_of(random, 1 + random.below(longest));
      if (bounded) {
        if (!buffer.has_room(longest)) buffer.make_room(longest, sink);
        ASSERT_TRUE(buffer.has_room(longest));
        entry.copy(buffer.end(), entry.size());
        buffer.extend(entry.size());
      } else {
        buffer.tail() += entry;
        buffer.appended(sink);
      }
      appended += entry;
      ASSERT_EQ(buffer.size(), appended.size());
    }
    Bytes taken = buffer.take();
    ASSERT_EQ(taken, appended) << block;
    ASSERT_EQ(buffer.size(), 0u);
    if (block % 3 > 0) sink.block({.bytes = std::move(taken)});
  }
}

// Entries come until it is full: the memory that was got for the block is enough, and serves the next one.
TEST(BlockBuffer, AFullBlockFitsItsMemory) {
  constexpr std::size_t kEntry = 33;
  Recycler sink;
  const char* memory = nullptr;
  for (int block = 0; block < 20; ++block) {
    BlockBuffer buffer;
    fill(buffer, kEntry, sink);
    Bytes taken = buffer.take();
    EXPECT_GT(taken.size(), BlockBuffer::kBlockBytes - 2 * BlockBuffer::kStageBytes);
    EXPECT_LE(taken.size(), BlockBuffer::kBlockBytes);
    EXPECT_LT(taken.capacity(), BlockBuffer::kBlockBytes + BlockBuffer::kStageBytes);
    EXPECT_TRUE(memory == nullptr || taken.data() == memory);
    memory = taken.data();
    sink.block({.bytes = std::move(taken)});
  }
  EXPECT_EQ(sink.asked, 20);
}

// One thread fills it, and another, which only sees that it has, takes the block.
TEST(BlockBuffer, IsWholeForAThreadThatTakesIt) {
  constexpr int kBlocks = 3000;
  constexpr std::size_t kBytes = 5 * BlockBuffer::kStageBytes + 40, kEntry = 40;
  Recycler sink;
  BlockBuffer buffer;
  std::atomic<int> filled{0}, taken{0};
  int wrong = 0;
  std::thread taker([&] {
    for (int block = 1; block <= kBlocks; ++block) {
      while (filled.load(std::memory_order_acquire) < block) std::this_thread::yield();
      Bytes bytes = buffer.take();
      wrong += bytes.size() < kBytes || bytes.find_first_not_of(static_cast<char>(block)) != Bytes::npos;
      sink.block({.bytes = std::move(bytes)});
      taken.store(block, std::memory_order_release);
    }
  });
  for (int block = 1; block <= kBlocks; ++block) {
    while (taken.load(std::memory_order_acquire) < block - 1) std::this_thread::yield();
    while (buffer.size() < kBytes) {
      if (!buffer.has_room(kEntry)) buffer.make_room(kEntry, sink);
      std::fill_n(buffer.end(), kEntry, static_cast<char>(block));
      buffer.extend(kEntry);
    }
    buffer.make_room(BlockBuffer::kStageBytes, sink);  // the stage's lines are the last that happens
    filled.store(block, std::memory_order_release);
  }
  taker.join();
  EXPECT_EQ(wrong, 0);
}

// Where one ends does not depend on where memory lies.
TEST(BlockBuffer, EndsAtTheSameEntryWhereverTheBlockLies) {
  constexpr std::size_t kEntry = 33;
  // Gives memory that begins at another place of a line each time.
  struct Elsewhere final : BlockSink {
    void block(StateBlock&&) override {}
    Bytes spare() override {
      ++asked;
      Bytes spare;
      spare.reserve(BlockBuffer::kBlockBytes + 16 * static_cast<std::size_t>(asked));
      return spare;
    }
    int asked = 0;
  } sink;
  std::set<std::size_t> ends;
  std::vector<Bytes> kept;
  for (int block = 0; block < 20; ++block) {
    BlockBuffer buffer;
    fill(buffer, kEntry, sink);
    ends.insert(buffer.size());
    kept.push_back(buffer.take());
    kept.emplace_back(16 * static_cast<std::size_t>(block) + 24, 'x');
  }
  EXPECT_EQ(ends.size(), 1u);
}

// What is small does without a block's memory.
TEST(BlockBuffer, ASmallBlockIsItsStage) {
  Recycler sink;
  BlockBuffer buffer;
  buffer.make_room(8, sink);
  std::string("entries!").copy(buffer.end(), 8);
  buffer.extend(8);
  const Bytes taken = buffer.take();
  EXPECT_EQ(taken, "entries!");
  EXPECT_LE(taken.capacity(), BlockBuffer::kStageBytes);
  EXPECT_EQ(sink.asked, 0);
}

}  // namespace
}  // namespace levada::detail
