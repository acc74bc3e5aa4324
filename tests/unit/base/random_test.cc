#include "base/random.h"

#include <array>
#include <set>

#include <gtest/gtest.h>

namespace levada {
namespace {

// A seed in a bug report must replay the run for ever: these numbers never change.
TEST(Random, GivesTheSameNumbersForASeedOnEveryMachine) {
  Random random(42);
  EXPECT_EQ(random.next(), 0x15780b2e0c2ec716u);
  EXPECT_EQ(random.next(), 0x6104d9866d113a7eu);
  EXPECT_EQ(random.next(), 0xae17533239e499a1u);
  EXPECT_EQ(random.next(), 0xecb8ad4703b360a1u);
}

TEST(Random, StaysBelowItsBoundAndReachesEveryValue) {
  Random random(1);
  std::array<int, 7> seen{};
  for (int i = 0; i < 7000; ++i) ++seen.at(random.below(7));
  for (const int count : seen) {
    EXPECT_GT(count, 800);
    EXPECT_LT(count, 1200);
  }
  EXPECT_EQ(random.below(1), 0u);
  for (int i = 0; i < 100; ++i) EXPECT_LT(random.below(UINT64_MAX), UINT64_MAX);
}

TEST(Random, TakesAChanceAsOftenAsToldTo) {
  Random random(2);
  int taken = 0;
  for (int i = 0; i < 10'000; ++i) taken += random.chance(0.25) ? 1 : 0;
  EXPECT_GT(taken, 2300);
  EXPECT_LT(taken, 2700);
  EXPECT_FALSE(random.chance(0));
  EXPECT_TRUE(random.chance(1));
}

TEST(Random, DiffersFromSeedToSeed) {
  std::set<std::uint64_t> first;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) first.insert(Random(seed).next());
  EXPECT_EQ(first.size(), 1000u);
}

}  // namespace
}  // namespace levada
