#include "runtime/spare_buffers.h"

#include <string>

#include <gtest/gtest.h>

namespace levada {
namespace {

constexpr std::size_t kBlock = 32 * 1024;

Bytes block() { return Bytes(kBlock, 'x'); }

TEST(SpareBuffers, GivesBackWhatItKeepsAndChargesIt) {
  MemoryShare share("snapshots", 10 * kBlock);
  {
    SpareBuffers spares(share);
    Bytes first = block();
    const char* const memory = first.data();
    spares.put(first, 0);
    EXPECT_GE(share.used_bytes(), kBlock);
    const Bytes again = spares.take();
    EXPECT_EQ(again.data(), memory);
    EXPECT_EQ(share.used_bytes(), 0u);
    EXPECT_EQ(spares.take().capacity(), Bytes().capacity());
    Bytes kept = block();
    spares.put(kept, 0);
    EXPECT_GT(share.used_bytes(), 0u);
  }
  EXPECT_EQ(share.used_bytes(), 0u);
}

TEST(SpareBuffers, KeepsNothingThatIsNoCommonBlocks) {
  MemoryShare share("snapshots", 100 * kBlock);
  SpareBuffers spares(share);
  Bytes small(100, 'x'), large(10 * kBlock, 'x');
  spares.put(small, 0);
  spares.put(large, 0);
  EXPECT_EQ(share.used_bytes(), 0u);
}

TEST(SpareBuffers, LeavesHalfOfTheShare) {
  MemoryShare share("snapshots", 10 * kBlock);
  SpareBuffers spares(share);
  share.acquire(2 * kBlock);  // by others
  for (int i = 0; i < 10; ++i) {
    Bytes bytes = block();
    spares.put(bytes, 0);
  }
  EXPECT_LE(share.used_bytes(), 5 * kBlock);
  EXPECT_GT(share.used_bytes(), 3 * kBlock);
  share.release(2 * kBlock);
}

TEST(SpareBuffers, KeepsWhileTheTasksOwnBlocksWait) {
  MemoryShare share("snapshots", 10 * kBlock);
  SpareBuffers spares(share);
  share.acquire(9 * kBlock);  // by the task's blocks, of which this is one
  Bytes bytes = block();
  spares.put(bytes, 9 * kBlock);
  EXPECT_GT(share.used_bytes(), 9 * kBlock);
  share.release(9 * kBlock);
}

}  // namespace
}  // namespace levada
