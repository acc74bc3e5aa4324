// Every decision about a marker.
#include "checkpoint/epoch_recovery.h"

#include <gmock/gmock.h>

#include "levada/error.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ShardEpoch epoch(CheckpointId id) {
  return {.id = id, .segments = {{.subtask = 0, .epoch = id, .bytes = 100, .records = 1}}};
}

// Epochs 30 (published), 40 and 50; 20 was the last one that is no longer in the log; 55 had no rows.
ShardHistory history() {
  return {.newest = 55, .published = 30, .base = 20, .epochs = {epoch(30), epoch(40), epoch(50)}};
}

TargetAnswer marker_at(CheckpointId id) {
  return {.status = TargetStatus::kDone, .marker = {.epoch = id}};
}

std::size_t decide(const ShardHistory& history, const TargetAnswer& answer) {
  return first_to_publish(history, answer, "to totals", "table totals");
}

JobError refusal(const ShardHistory& history, const TargetAnswer& answer) {
  try {
    decide(history, answer);
  } catch (const JobError& error) {
    return error;
  }
  ADD_FAILURE() << "it was not refused";
  return JobError(JobErrorCode::kUserCode, "", -1, "");
}

TEST(EpochRecovery, GoesOnBehindTheNewestPublishedEpoch) {
  EXPECT_EQ(decide(history(), marker_at(30)), 1u);
}

TEST(EpochRecovery, PublishesNothingAgainThatTheMarkerHas) {
  EXPECT_EQ(decide(history(), marker_at(40)), 2u);
  EXPECT_EQ(decide(history(), marker_at(50)), 3u);
}

TEST(EpochRecovery, PublishesAgainWhatAFailoverLost) {
  EXPECT_EQ(decide(history(), marker_at(20)), 0u);
}

TEST(EpochRecovery, BeginsWithTheFirstEpochOfAFreshMarker) {
  EXPECT_EQ(decide({}, marker_at(0)), 0u);
  EXPECT_EQ(decide({.newest = 5, .epochs = {epoch(5)}}, marker_at(0)), 0u);
}

TEST(EpochRecovery, RefusesAMarkerAheadOfTheNewestManifest) {
  const JobError error = refusal(history(), marker_at(60));
  EXPECT_EQ(error.code(), JobErrorCode::kSinkAhead);
  EXPECT_EQ(error.node(), "to totals");
  EXPECT_THAT(error.what(), AllOf(HasSubstr("epoch 60"), HasSubstr("checkpoint is 55"),
                                  HasSubstr("table totals"), HasSubstr("new_sink_generation")));
  EXPECT_EQ(refusal({}, marker_at(1)).code(), JobErrorCode::kSinkAhead);
}

TEST(EpochRecovery, RefusesAMarkerThatWentBackBehindTheLog) {
  const JobError error = refusal(history(), marker_at(10));
  EXPECT_EQ(error.code(), JobErrorCode::kEpochLogLost);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("went back to epoch 10"), HasSubstr("after 20")));
}

TEST(EpochRecovery, RefusesAMarkerThatIsNoEpochOfThisJob) {
  for (const CheckpointId id : {25, 35, 45, 55}) {
    const JobError error = refusal(history(), marker_at(id));
    EXPECT_EQ(error.code(), JobErrorCode::kEpochLogLost);
    EXPECT_THAT(error.what(), HasSubstr("none of this job's"));
  }
}

TEST(EpochRecovery, RefusesAMarkerThatIsGone) {
  const JobError error = refusal(history(), {.status = TargetStatus::kMissing});
  EXPECT_EQ(error.code(), JobErrorCode::kMarkerLost);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("epoch 30"), HasSubstr("new_sink_generation")));
}

TEST(EpochRecovery, EndsWhenALaterInstanceHasTheTarget) {
  EXPECT_EQ(refusal(history(), {.status = TargetStatus::kFenced}).code(), JobErrorCode::kFenced);
}

TEST(EpochRecovery, SaysThatTheDirectoryIsNewWhereTheMarkerIsOld) {
  TargetAnswer answer{.status = TargetStatus::kFenced};
  answer.marker = {.epoch = 77, .owner = {.incarnation = 9, .owner = 1}};
  const JobError error = refusal({}, answer);
  EXPECT_EQ(error.code(), JobErrorCode::kSinkAhead);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("epoch 77"), HasSubstr("start 9"), HasSubstr("directory is new")));
}

TEST(EpochRecovery, MakesAMarkerOnlyWhereNothingWasPublishedOrEverythingWas) {
  EXPECT_TRUE(may_create_marker({}));
  EXPECT_FALSE(may_create_marker(history()));
  ShardHistory clean = history();
  clean.clean = true;
  EXPECT_TRUE(may_create_marker(clean));
  // What newer checkpoints knew is not known.
  EXPECT_FALSE(may_create_marker({.newest = 5, .newer_unread = true}));
  clean.newer_unread = true;
  EXPECT_FALSE(may_create_marker(clean));
}

}  // namespace
}  // namespace levada
