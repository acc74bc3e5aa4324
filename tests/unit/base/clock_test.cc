#include <gtest/gtest.h>

#include "base/manual_clock.h"

namespace levada {
namespace {

TEST(ManualClock, MovesBothTimesTogetherAndOnlyWhenTold) {
  ManualClock clock(Timestamp{1000s});
  const SteadyTime start = clock.steady_now();
  EXPECT_EQ(clock.now(), Timestamp{1000s});
  clock.advance(5ms);
  EXPECT_EQ(clock.now(), Timestamp{1000s} + 5ms);
  EXPECT_EQ(clock.steady_now() - start, 5ms);
}

TEST(ManualClock, SetsTheWallClockBackwardsWithoutMovingTheMonotonicOne) {
  ManualClock clock(Timestamp{1000s});
  const SteadyTime start = clock.steady_now();
  clock.set(Timestamp{1s});
  EXPECT_EQ(clock.now(), Timestamp{1s});
  EXPECT_EQ(clock.steady_now(), start);
}

TEST(ManualClock, AdvancesToAMomentButNeverBack) {
  ManualClock clock;
  const SteadyTime start = clock.steady_now();
  clock.advance_to(start + 3s);
  clock.advance_to(start + 1s);
  EXPECT_EQ(clock.steady_now() - start, 3s);
  EXPECT_EQ(clock.now(), Timestamp{3s});
}

TEST(SystemClock, TellsTheTimeOfTheMachine) {
  const Timestamp before = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  const Timestamp now = system_clock().now();
  EXPECT_GE(now, before - 1s);
  EXPECT_LT(now, before + 1h);
  const SteadyTime first = system_clock().steady_now();
  EXPECT_LE(first, system_clock().steady_now());
}

}  // namespace
}  // namespace levada
