#include "exchange/barrier_aligner.h"

#include <gtest/gtest.h>

namespace levada {
namespace {

TEST(BarrierAligner, BlocksOnlyTheChannelThatDelivered) {
  BarrierAligner aligner(3);
  EXPECT_FALSE(aligner.deliver(1, {.checkpoint = 7}));
  EXPECT_TRUE(aligner.aligning());
  EXPECT_FALSE(aligner.blocked(0));
  EXPECT_TRUE(aligner.blocked(1));
  EXPECT_FALSE(aligner.blocked(2));
}

TEST(BarrierAligner, AlignsWithTheLastChannelAndReleasesAll) {
  BarrierAligner aligner(2);
  EXPECT_FALSE(aligner.deliver(0, {.checkpoint = 7, .stop = true}));
  const auto aligned = aligner.deliver(1, {.checkpoint = 7, .stop = true});
  ASSERT_TRUE(aligned);
  EXPECT_EQ(aligned->checkpoint, 7u);
  EXPECT_TRUE(aligned->stop);
  EXPECT_FALSE(aligner.blocked(0));
  EXPECT_FALSE(aligner.aligning());
}

TEST(BarrierAligner, PassesABarrierOfASingleChannelAtOnce) {
  BarrierAligner aligner(1);
  EXPECT_TRUE(aligner.deliver(0, {.checkpoint = 1}));
  EXPECT_TRUE(aligner.deliver(0, {.checkpoint = 2}));
}

TEST(BarrierAligner, GivesUpWhenABarrierOfANewerCheckpointComes) {
  BarrierAligner aligner(2);
  EXPECT_FALSE(aligner.deliver(0, {.checkpoint = 1}));
  EXPECT_FALSE(aligner.deliver(1, {.checkpoint = 2}));
  EXPECT_FALSE(aligner.blocked(0));
  EXPECT_TRUE(aligner.blocked(1));
  EXPECT_FALSE(aligner.deliver(1, {.checkpoint = 1})) << "what is over is ignored";
  EXPECT_TRUE(aligner.deliver(0, {.checkpoint = 2}));
}

TEST(BarrierAligner, ReleasesTheChannelsOfAnAbortedCheckpoint) {
  BarrierAligner aligner(2);
  EXPECT_FALSE(aligner.deliver(0, {.checkpoint = 5}));
  aligner.abort(5);
  EXPECT_FALSE(aligner.blocked(0));
  EXPECT_FALSE(aligner.deliver(1, {.checkpoint = 5})) << "a late barrier of it is ignored";
  EXPECT_FALSE(aligner.aligning());
  EXPECT_FALSE(aligner.deliver(1, {.checkpoint = 6}));
  EXPECT_TRUE(aligner.deliver(0, {.checkpoint = 6}));
}

TEST(BarrierAligner, HoldsNothingBackWhenAlignmentIsSwitchedOff) {
  BarrierAligner aligner(2);
  aligner.set_alignment(false);
  EXPECT_TRUE(aligner.deliver(0, {.checkpoint = 5}));
  EXPECT_FALSE(aligner.blocked(0));
  EXPECT_FALSE(aligner.deliver(1, {.checkpoint = 5}));
}

}  // namespace
}  // namespace levada
