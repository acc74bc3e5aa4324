#include "checkpoint/rate_limit.h"

#include <gtest/gtest.h>

namespace levada {
namespace {

SteadyTime at(std::chrono::milliseconds time) { return SteadyTime{time}; }

TEST(RateLimit, OfNothingIsAlwaysReady) {
  RateLimit limit(0);
  limit.take(1 << 30, at(5s));
  EXPECT_LE(limit.ready_at(), at(0s));
}

TEST(RateLimit, LetsWritesWaitForTheOnesBefore) {
  RateLimit limit(1000);
  EXPECT_LE(limit.ready_at(), at(10s));
  limit.take(500, at(10s));
  EXPECT_EQ(limit.ready_at(), at(10'400ms)) << "half a second, less what was not used before";
  limit.take(100, at(10'400ms));
  EXPECT_EQ(limit.ready_at(), at(10'500ms));
}

TEST(RateLimit, KeepsToTheRateInTheMean) {
  RateLimit limit(1'000'000);
  SteadyTime now = at(0s);
  std::uint64_t bytes = 0;
  while (bytes < 10'000'000) {
    now = std::max(now + 1ms, limit.ready_at());
    limit.take(30'000, now);
    bytes += 30'000;
  }
  EXPECT_GT(now, at(9800ms));
  EXPECT_LT(now, at(10'100ms));
}

TEST(RateLimit, SavesNoMoreThanATenthOfASecond) {
  RateLimit limit(1000);
  limit.take(1, at(1s));
  limit.take(300, at(100s));
  EXPECT_EQ(limit.ready_at(), at(100'200ms));
}

TEST(RateLimit, SurvivesHugeWrites) {
  RateLimit limit(1);
  limit.take(~std::uint64_t{0}, at(1s));
  EXPECT_GT(limit.ready_at(), at(1s));
}

}  // namespace
}  // namespace levada
