#include "checkpoint/restore_decision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"
#include "levada/state_type.h"

#include "checkpoint_builder.h"
#include "testing/simulated_file_system.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A checkpoint with one step of each kind: a source, one with keyed state, a sink.
class Decision : public ::testing::Test {
 protected:
  Decision() {
    files_.create_directories("/state");
    manifest_.job_name = "orders";
    manifest_.id = 7;
    manifest_.max_parallelism = 16;
    manifest_.nodes = {{"source", "kafka", 1}, {"totals", "reduce", 1}};
    manifest_.sinks = {{.uid = "out", .name = "files", .published = {5}}};
  }

  RestoreReport decide(const std::vector<RestoringNode>& nodes, const ExecuteOptions& execute = {},
                       RestoreOrigin origin = RestoreOrigin::kOwn) {
    StateFileWriter writer(files_, "/state", "tmp", [](const std::string&) { return true; });
    writer.put_operator_state("source", "splits", "bytes");
    Bytes value;
    put_string(value, "[{a:int32}]");
    put_varint(value, 0);
    writer.put_operator_state("totals", "list", value);
    writer.put_block(writer.begin_table("totals", "rolling", "string -> int32"), testing::block_of(0, "\1a1234"));
    for (const std::string& name : map_tables_) {
      writer.put_block(writer.begin_table("totals", name, "string -> int32"), testing::block_of(0, "\1a1234"));
    }
    manifest_.subtasks = {{"all", 0, writer.finish()}};
    const RestoredCheckpoint checkpoint(files_, "/state", manifest_);
    return decide_restore(checkpoint, nodes, 16, false, origin, execute);
  }

  static RestoringNode source() { return {.uid = "source", .states = {{.name = "splits"}}, .source = true}; }
  static RestoringNode totals(std::string keyed = "string -> int32", std::string list = "[{a:int32}]") {
    return {.uid = "totals",
            .states = {{.name = "rolling", .keyed = true, .schema = std::move(keyed)},
                       {.name = "list", .schema = std::move(list)}}};
  }
  static RestoringNode sink() { return {.uid = "out", .exactly_once_sink = true}; }

  static RestoreVerdict verdict(const RestoreReport& report, const std::string& uid, const std::string& state) {
    for (const RestoreItem& item : report.items) {
      if (item.uid == uid && item.state == state) return item.verdict;
    }
    ADD_FAILURE() << report.text();
    return RestoreVerdict::kNew;
  }

  testing::SimulatedFileSystem files_;
  Manifest manifest_;
  std::vector<std::string> map_tables_;  // of the step with keyed state, besides
};

TEST_F(Decision, RestoresWhatIsThere) {
  const RestoreReport report = decide({source(), totals(), sink()});
  EXPECT_FALSE(report.refused());
  EXPECT_EQ(report.checkpoint, 7u);
  ASSERT_EQ(report.items.size(), 4u);
  for (const RestoreItem& item : report.items) EXPECT_EQ(item.verdict, RestoreVerdict::kRestored) << item.uid;
  EXPECT_NO_THROW(throw_if_refused(report));
}

TEST_F(Decision, SaysOfLargeMapsInPagesWhatItSaysOfTheirState) {
  map_tables_ = {"state/notes", "directory/notes", "pages/notes"};
  RestoringNode with_maps = totals();
  with_maps.states.push_back({.name = "state/notes", .keyed = true, .schema = "string -> int32", .paged = true});
  RestoreReport report = decide({source(), with_maps, sink()});
  EXPECT_FALSE(report.refused()) << report.text();
  EXPECT_EQ(report.items.size(), 5u) << report.text();
  EXPECT_EQ(verdict(report, "totals", "state/notes"), RestoreVerdict::kRestored);

  report = decide({source(), totals(), sink()});
  EXPECT_EQ(report.items.size(), 5u) << report.text();
  EXPECT_EQ(verdict(report, "totals", "state/notes"), RestoreVerdict::kRefused) << "there is no such state any more";
  report = decide({source(), totals(), sink()}, {.allow_non_restored_state = true});
  EXPECT_EQ(report.items.size(), 5u) << report.text();
  EXPECT_EQ(verdict(report, "totals", "state/notes"), RestoreVerdict::kDropped);

  with_maps.states.back().paged = false;
  report = decide({source(), with_maps, sink()});
  EXPECT_TRUE(report.refused());
  EXPECT_EQ(report.items.size(), 6u) << report.text();
  EXPECT_THAT(report.text(), HasSubstr("it was a MapState in a cold tier")) << "a value of the same schema";
}

TEST_F(Decision, MigratesKeyedStateAndOperatorValues) {
  const RestoreReport report = decide({source(), totals("string -> int64", "[{a:int64}]"), sink()});
  EXPECT_FALSE(report.refused());
  EXPECT_EQ(verdict(report, "totals", "rolling"), RestoreVerdict::kMigrated);
  EXPECT_EQ(verdict(report, "totals", "list"), RestoreVerdict::kMigrated);
  EXPECT_THAT(report.text(), HasSubstr("migrated  operator state 'list' of 'totals': [].a: int32 -> int64"));
}

TEST_F(Decision, RefusesAllThatCannotBeReadAtOnce) {
  const RestoreReport report = decide({source(), totals("int64 -> int32", "[{a:int16}]"), sink()});
  EXPECT_EQ(verdict(report, "totals", "rolling"), RestoreVerdict::kRefused);
  EXPECT_EQ(verdict(report, "totals", "list"), RestoreVerdict::kRefused);
  try {
    throw_if_refused(report);
    FAIL();
  } catch (const StateError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("checkpoint 7 of job 'orders' cannot be restored: "),
                                    HasSubstr("keyed state 'rolling' of 'totals': it has schema string -> int32"),
                                    HasSubstr("[].a: int32 -> int16 narrows")));
  }
}

TEST_F(Decision, RefusesStateThatChangesSides) {
  RestoringNode other = totals();
  other.states[0] = {.name = "rolling"};
  EXPECT_THAT(decide({source(), other, sink()}).text(), HasSubstr("it was keyed state and is operator state"));
  other = totals();
  other.states[1] = {.name = "list", .keyed = true, .schema = "string -> int32"};
  EXPECT_THAT(decide({source(), other, sink()}).text(), HasSubstr("it was operator state and is keyed state"));
}

TEST_F(Decision, LeavesStateBehindOnlyWhenThatIsAllowed) {
  RestoringNode fewer = totals();
  fewer.states.pop_back();
  for (const bool allow : {false, true}) {
    const RestoreVerdict left = allow ? RestoreVerdict::kDropped : RestoreVerdict::kRefused;
    const RestoreReport report = decide({fewer, sink()}, {.allow_non_restored_state = allow});
    EXPECT_EQ(report.refused(), !allow);
    EXPECT_EQ(verdict(report, "source", "splits"), left);
    EXPECT_EQ(verdict(report, "totals", "list"), left);
    EXPECT_EQ(verdict(report, "totals", "rolling"), RestoreVerdict::kRestored);
  }
  manifest_.nodes.push_back({"empty", "window", 1});
  EXPECT_THAT(decide({source(), totals(), sink()}).text(), HasSubstr("'empty': the graph has no step with that uid"));
}

TEST_F(Decision, LeavesAStepThatDoesNotSayWhatItHasToItsOperator) {
  const RestoreReport report = decide({source(), {.uid = "totals", .undeclared = true}, sink()});
  EXPECT_FALSE(report.refused());
  EXPECT_EQ(verdict(report, "totals", "rolling"), RestoreVerdict::kRestored);
}

TEST_F(Decision, KnowsWhatBecomesOfTheOutputOfSinks) {
  // Nothing waits: the sink may go.
  EXPECT_EQ(verdict(decide({source(), totals()}), "out", ""), RestoreVerdict::kDropped);
  EXPECT_EQ(verdict(decide({source(), totals(), sink(), {.uid = "new", .exactly_once_sink = true}}), "new", ""),
            RestoreVerdict::kNew);
  manifest_.sinks[0].epochs = {{.id = 6, .segments = {{}}}};
  EXPECT_EQ(verdict(decide({source(), totals(), sink()}), "out", ""), RestoreVerdict::kRestored);
  // That state may be left behind says nothing about output.
  const RestoreReport report = decide({source(), totals()}, {.allow_non_restored_state = true});
  EXPECT_EQ(verdict(report, "out", ""), RestoreVerdict::kRefused);
  EXPECT_THAT(report.text(), HasSubstr("not published yet"));
  const ExecuteOptions anew{.new_sink_generation = true};
  EXPECT_EQ(verdict(decide({source(), totals()}, anew), "out", ""), RestoreVerdict::kDropped);
  EXPECT_EQ(verdict(decide({source(), totals(), sink()}, anew), "out", ""), RestoreVerdict::kDropped);
}

TEST_F(Decision, KnowsThatOnlyTheJobsOwnDirectoryHasTheLogOfWhatWaits) {
  for (const RestoreOrigin origin : {RestoreOrigin::kElsewhere, RestoreOrigin::kOtherJob}) {
    manifest_.sinks[0].epochs.clear();
    EXPECT_EQ(verdict(decide({source(), totals(), sink()}, {}, origin), "out", ""),
              origin == RestoreOrigin::kElsewhere ? RestoreVerdict::kRestored : RestoreVerdict::kNew);
    manifest_.sinks[0].epochs = {{.id = 6, .segments = {{}}}};
    for (const auto& nodes : {std::vector{source(), totals(), sink()}, std::vector{source(), totals()}}) {
      EXPECT_THAT(decide(nodes, {}, origin).text(), HasSubstr("in that job's own directory"));
      EXPECT_EQ(verdict(decide(nodes, {.new_sink_generation = true}, origin), "out", ""), RestoreVerdict::kDropped);
    }
  }
}

TEST_F(Decision, RefusesAnotherMaxParallelism) {
  manifest_.max_parallelism = 128;
  EXPECT_THAT(decide({source(), totals(), sink()}).text(), HasSubstr("refused  checkpoint: it was taken with"));
}

}  // namespace
}  // namespace levada
