#include "checkpoint/block_compression.h"

#include <gtest/gtest.h>

#include "levada/error.h"

#include "base/random.h"
#include "support/seed.h"

namespace levada {
namespace {

class BlockCompression : public ::testing::TestWithParam<Compression> {
 protected:
  Bytes compressed(std::string_view bytes) {
    BlockCompressor compressor(GetParam());
    const Bytes* found = compressor.compress(bytes);
    return found == nullptr ? Bytes() : *found;
  }
};

// Bytes with `kinds` different values in runs of random length.
Bytes runs(Random& random, std::size_t size, std::uint64_t kinds) {
  Bytes bytes;
  while (bytes.size() < size) {
    bytes.append(1 + random.below(20), static_cast<char>(random.below(kinds)));
  }
  bytes.resize(size);
  return bytes;
}

TEST_P(BlockCompression, GivesBackWhatItTook) {
  Random random(testing::first_seed());
  BlockCompressor compressor(GetParam());
  Bytes back = "of the block before";
  for (int i = 0; i < 200; ++i) {
    const Bytes bytes = runs(random, random.below(100'000), 1 + random.below(256));
    const Bytes* stored = compressor.compress(bytes);
    if (stored == nullptr) continue;
    ASSERT_LT(stored->size(), bytes.size());
    decompress(GetParam(), *stored, bytes.size(), back);
    ASSERT_EQ(back, bytes);
  }
}

TEST_P(BlockCompression, OfMuchOfTheSameIsSmall) {
  const Bytes bytes(3'000'000, 'x');
  const Bytes stored = compressed(bytes);
  ASSERT_FALSE(stored.empty());
  EXPECT_LT(stored.size(), 20'000u);
  Bytes back;
  decompress(GetParam(), stored, bytes.size(), back);
  EXPECT_EQ(back, bytes);
}

TEST_P(BlockCompression, LeavesAloneWhatDoesNotGetSmaller) {
  Random random(testing::first_seed());
  Bytes noise;
  while (noise.size() < 50'000) noise += static_cast<char>(random.next());
  EXPECT_TRUE(compressed(noise).empty());
  EXPECT_TRUE(compressed("").empty());
  EXPECT_TRUE(compressed("a").empty());
}

TEST_P(BlockCompression, RefusesALengthThatIsNotTrueWithoutAllocatingIt) {
  const Bytes bytes(100'000, 'x');
  const Bytes stored = compressed(bytes);
  for (const std::uint64_t lie : {std::uint64_t{0}, std::uint64_t{99'999}, std::uint64_t{100'001},
                                  std::uint64_t{1} << 31, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    Bytes back;
    EXPECT_THROW(decompress(GetParam(), stored, lie, back), StateError) << lie;
    EXPECT_LE(back.capacity(), 2 * bytes.size() + 512 * 1024) << lie;
  }
}

TEST_P(BlockCompression, RefusesOrSurvivesAnyBytes) {
  Random random(testing::first_seed());
  for (int i = 0; i < 2000; ++i) {
    const Bytes bytes = runs(random, 1 + random.below(3000), 4);
    Bytes stored = compressed(bytes);
    if (stored.empty()) continue;
    if (random.chance(0.5)) {
      stored[random.below(stored.size())] ^= static_cast<char>(1 << random.below(8));
    } else {
      stored.resize(random.below(stored.size()));
    }
    Bytes back;
    try {
      decompress(GetParam(), stored, bytes.size(), back);
      EXPECT_EQ(back.size(), bytes.size());  // the block's checksum tells them apart
    } catch (const StateError&) {
    }
    EXPECT_LE(back.capacity(), 2 * bytes.size() + 512 * 1024);
  }
}

INSTANTIATE_TEST_SUITE_P(Both, BlockCompression, ::testing::Values(Compression::kLz4, Compression::kZstd),
                         [](const auto& of) { return of.param == Compression::kLz4 ? "Lz4" : "Zstd"; });

}  // namespace
}  // namespace levada
