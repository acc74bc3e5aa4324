#include "runtime/state_pace.h"

#include <chrono>

#include <gtest/gtest.h>

namespace levada {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime kStart{1s};
constexpr auto kSlice = 20us;
constexpr bool kBusy = true, kIdle = false;

void look(StatePace& pace, int times, bool behind) {
  for (int i = 0; i < times; ++i) pace.note_look(behind);
}

// How long a busy task works on rows after a turn of its state that took kSlice.
SteadyTime::duration rows_after_a_turn(StatePace& pace, SteadyTime now) {
  pace.state_done(now - kSlice, now);
  for (auto rows = 0us; rows < 10ms; rows += 1us) {
    if (pace.turn_of_state(kBusy, now + rows)) return rows;
  }
  return SteadyTime::duration::max();
}

SteadyTime::duration rows_after_a_barrier(StatePace& pace, SteadyTime barrier) {
  pace.begin_snapshot(barrier, barrier);
  return rows_after_a_turn(pace, barrier);
}

TEST(StatePace, ATaskThatHasCaughtUpTakesFourTimesItsTimeForRows) {
  StatePace pace;
  look(pace, 1, false);
  EXPECT_EQ(rows_after_a_barrier(pace, kStart), 4 * kSlice);
}

TEST(StatePace, RowsOfATaskThatKeepsUpWaitFromTheSecondLookThatHadMore) {
  StatePace pace;
  look(pace, 1, false);
  pace.begin_snapshot(kStart, kStart);
  EXPECT_FALSE(pace.rows_wait());
  look(pace, 1, true);
  EXPECT_FALSE(pace.rows_wait());
  look(pace, 1, true);
  EXPECT_TRUE(pace.rows_wait());
  look(pace, 1, false);
  EXPECT_FALSE(pace.rows_wait());
}

TEST(StatePace, RowsOfATaskThatNeverKeepsUpDoNotWait) {
  StatePace pace;
  look(pace, 1, false);
  look(pace, 1000, true);
  pace.begin_snapshot(kStart, kStart);
  look(pace, 1000, true);
  pace.begin_snapshot(kStart, kStart);
  EXPECT_FALSE(pace.rows_wait());
}

TEST(StatePace, ATaskThatFallsBehindLeavesItsStateForLonger) {
  StatePace pace;
  look(pace, 1, false);
  pace.begin_snapshot(kStart, kStart);
  look(pace, 1, true);
  EXPECT_EQ(rows_after_a_turn(pace, kStart), 16 * kSlice);
  look(pace, 1, false);
  EXPECT_EQ(rows_after_a_turn(pace, kStart), 4 * kSlice);
}

TEST(StatePace, ATaskThatIsAlwaysBehindDoesNotLeaveItForEver) {
  StatePace pace;
  look(pace, 300, true);
  EXPECT_EQ(rows_after_a_barrier(pace, kStart), 4 * kSlice);
}

TEST(StatePace, OneThatMakesUpForAStallIsNotAlwaysBehind) {
  StatePace pace;
  look(pace, 1, false);  // since the barrier before
  look(pace, 300, true);
  EXPECT_EQ(rows_after_a_barrier(pace, kStart), 16 * kSlice);
  // It has still not caught up at the next barrier, so it never does.
  look(pace, 300, true);
  EXPECT_EQ(rows_after_a_barrier(pace, kStart + 1s), 4 * kSlice);
}

TEST(StatePace, AFewLooksSayNothing) {
  StatePace pace;
  look(pace, 255, true);
  EXPECT_EQ(rows_after_a_barrier(pace, kStart), 16 * kSlice);
  look(pace, 1, true);
  EXPECT_EQ(rows_after_a_barrier(pace, kStart + 1s), 4 * kSlice);
}

TEST(StatePace, OneThatCatchesUpAfterABarrierKeepsUpFromThenOn) {
  StatePace pace;
  look(pace, 300, true);
  pace.begin_snapshot(kStart, kStart);
  look(pace, 1, false);
  EXPECT_TRUE(pace.turn_of_state(kBusy, kStart));
  look(pace, 300, true);
  EXPECT_EQ(rows_after_a_turn(pace, kStart), 16 * kSlice);
}

TEST(StatePace, AnIdleTaskHasNothingElseToDo) {
  StatePace pace;
  look(pace, 1, true);
  pace.begin_snapshot(kStart, kStart);
  pace.state_done(kStart, kStart + kSlice);
  EXPECT_FALSE(pace.turn_of_state(kBusy, kStart + kSlice));
  EXPECT_TRUE(pace.turn_of_state(kIdle, kStart + kSlice));
}

TEST(StatePace, RowsComeFirstAfterABarrier) {
  StatePace pace;
  look(pace, 1, false);
  pace.begin_snapshot(kStart, kStart + 50us);
  EXPECT_FALSE(pace.turn_of_state(kBusy, kStart + 50us + 199us));
  EXPECT_TRUE(pace.turn_of_state(kBusy, kStart + 50us + 200us));
  // But not for long.
  pace.begin_snapshot(kStart, kStart + 100ms);
  EXPECT_FALSE(pace.turn_of_state(kBusy, kStart + 100ms + 999us));
  EXPECT_TRUE(pace.turn_of_state(kBusy, kStart + 101ms));
}

}  // namespace
}  // namespace levada
