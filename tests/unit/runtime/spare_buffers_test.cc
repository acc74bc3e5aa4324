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
    spares.put(first);
    EXPECT_GE(share.used_bytes(), kBlock);
    const Bytes again = spares.take();
    EXPECT_EQ(again.data(), memory);
    EXPECT_EQ(share.used_bytes(), 0u);
    EXPECT_EQ(spares.take().capacity(), Bytes().capacity());
    Bytes kept = block();
    spares.put(kept);
    EXPECT_GT(share.used_bytes(), 0u);
  }
  EXPECT_EQ(share.used_bytes(), 0u);
}

TEST(SpareBuffers, KeepsNothingThatIsNoCommonBlocks) {
  MemoryShare share("snapshots", 100 * kBlock);
  SpareBuffers spares(share);
  Bytes small(100, 'x'), large(10 * kBlock, 'x');
  spares.put(small);
  spares.put(large);
  EXPECT_EQ(share.used_bytes(), 0u);
}

TEST(SpareBuffers, LeavesHalfOfTheShare) {
  MemoryShare share("snapshots", 10 * kBlock);
  SpareBuffers spares(share);
  share.acquire(2 * kBlock);  // by blocks on their way
  for (int i = 0; i < 10; ++i) {
    Bytes bytes = block();
    spares.put(bytes);
  }
  EXPECT_LE(share.used_bytes(), 5 * kBlock);
  EXPECT_GT(share.used_bytes(), 3 * kBlock);
  share.release(2 * kBlock);
}

}  // namespace
}  // namespace levada
