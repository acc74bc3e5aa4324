#include "runtime/capture_pace.h"

#include <chrono>

#include <gtest/gtest.h>

namespace levada {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime kStart{1s};
constexpr auto kSlice = 20us;
constexpr bool kBusy = true, kIdle = false;
constexpr bool kSnapshot = true, kSettling = false;

void look(CapturePace& pace, int times, bool behind) {
  for (int i = 0; i < times; ++i) pace.note_look(behind);
}

int slices_from(CapturePace& pace, SteadyTime barrier) {
  pace.begin_snapshot(barrier, barrier);
  return pace.slices();
}

// How long a busy task works on rows after a turn of its state that took kSlice.
SteadyTime::duration rows_after_a_turn(CapturePace& pace, SteadyTime now, bool snapshot) {
  pace.state_done(now - kSlice, now, snapshot);
  for (auto rows = 0us; rows < 10ms; rows += 1us) {
    if (pace.turn_of_state(kBusy, now + rows)) return rows;
  }
  return SteadyTime::duration::max();
}

TEST(CapturePace, ATaskThatHasCaughtUpTakesOneSliceAndFourTimesItsTimeForRows) {
  CapturePace pace;
  look(pace, 1, false);
  EXPECT_EQ(slices_from(pace, kStart), 1);
  EXPECT_EQ(rows_after_a_turn(pace, kStart, kSnapshot), 4 * kSlice);
}

TEST(CapturePace, ATaskThatFallsBehindLeavesItsStateForLonger) {
  CapturePace pace;
  look(pace, 1, false);
  pace.begin_snapshot(kStart, kStart);
  look(pace, 1, true);
  EXPECT_EQ(pace.slices(), 1);
  EXPECT_EQ(rows_after_a_turn(pace, kStart, kSnapshot), 16 * kSlice);
  look(pace, 1, false);
  EXPECT_EQ(rows_after_a_turn(pace, kStart, kSnapshot), 4 * kSlice);
}

TEST(CapturePace, ATaskThatIsAlwaysBehindGetsASnapshotOverWith) {
  CapturePace pace;
  look(pace, 300, true);
  EXPECT_EQ(slices_from(pace, kStart), CapturePace::kSlicesWhenAlwaysBehind);
  EXPECT_EQ(rows_after_a_turn(pace, kStart, kSnapshot), kSlice / 4);
  // What is left after it can wait.
  EXPECT_EQ(rows_after_a_turn(pace, kStart, kSettling), 4 * kSlice);
}

TEST(CapturePace, OneThatMakesUpForAStallIsNotAlwaysBehind) {
  CapturePace pace;
  look(pace, 1, false);  // since the barrier before
  look(pace, 300, true);
  EXPECT_EQ(slices_from(pace, kStart), 1);
  // It has still not caught up at the next barrier, so it never does.
  look(pace, 300, true);
  EXPECT_EQ(slices_from(pace, kStart + 1s), CapturePace::kSlicesWhenAlwaysBehind);
}

TEST(CapturePace, AFewLooksSayNothing) {
  CapturePace pace;
  look(pace, 255, true);
  EXPECT_EQ(slices_from(pace, kStart), 1);
  look(pace, 1, true);
  EXPECT_EQ(slices_from(pace, kStart + 1s), CapturePace::kSlicesWhenAlwaysBehind);
}

TEST(CapturePace, OneThatCatchesUpDuringASnapshotTakesSmallSlicesFromThenOn) {
  CapturePace pace;
  look(pace, 300, true);
  pace.begin_snapshot(kStart, kStart);
  look(pace, 1, false);
  EXPECT_TRUE(pace.turn_of_state(kBusy, kStart));
  EXPECT_EQ(pace.slices(), 1);
}

TEST(CapturePace, AnIdleTaskHasNothingElseToDo) {
  CapturePace pace;
  look(pace, 300, true);
  pace.begin_snapshot(kStart, kStart);
  pace.state_done(kStart, kStart + kSlice, kSnapshot);
  EXPECT_FALSE(pace.turn_of_state(kBusy, kStart + kSlice));
  EXPECT_TRUE(pace.turn_of_state(kIdle, kStart + kSlice));
  EXPECT_EQ(pace.slices(), 1);
}

TEST(CapturePace, RowsComeFirstAfterABarrier) {
  CapturePace pace;
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
