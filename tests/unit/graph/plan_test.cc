// Plans as text: what is chained, what is exchanged.
#include <gtest/gtest.h>

#include "levada/levada.h"

namespace levada {
namespace {

struct Row {
  std::int64_t user = 0;
  Timestamp at;
};
LEVADA_RECORD(Row, user, at)

void build(StreamEnvironment& env) {
  env.generate<Row>([](std::uint64_t) { return Row{}; }, {.rows = 1}, event_time(&Row::at))
      .filter([](const Row&) { return true; })
      .key_by(&Row::user)
      .window(tumbling(1s))
      .aggregate(key(), count())
      .uid("totals")
      .discard();
}

TEST(Plan, WithOneSubtaskEverythingIsOneChainKeyedOrNot) {
  StreamEnvironment env({.parallelism = 1});
  build(env);
  EXPECT_EQ(env.explain(),
            "key groups 128, subtasks 1\n"
            "chain 0 x1: generate -> filter =key=> window aggregate (slices) 'totals' -> for_each\n");
}

TEST(Plan, WithMoreSubtasksAKeyIsAnExchange) {
  StreamEnvironment env({.parallelism = 2});
  build(env);
  EXPECT_EQ(env.explain(),
            "key groups 128, subtasks 4\n"
            "chain 0 x2: generate -> filter -> window aggregate (slices), local\n"
            "chain 1 x2: window aggregate (slices) 'totals' -> for_each\n"
            "edge chain 0 -> chain 1: hash of partial result\n"
            "edge chain 0[rows] -> chain 1: hash of Row\n");
}

// A partial result could then come late.
TEST(Plan, RowsOfASourceThatMayBeIdleAreNotAggregatedLocally) {
  StreamEnvironment env({.parallelism = 2});
  env.generate<Row>([](std::uint64_t) { return Row{}; }, {.rows = 1},
                    event_time(&Row::at, {.idle_after = 1s}))
      .key_by(&Row::user)
      .window(tumbling(1s))
      .aggregate(key(), count())
      .discard();
  EXPECT_EQ(env.explain(),
            "key groups 128, subtasks 4\n"
            "chain 0 x2: generate\n"
            "chain 1 x2: window aggregate (slices) -> for_each\n"
            "edge chain 0 -> chain 1: hash of Row\n");
}

TEST(Plan, AnAggregateThatNeedsTheOrderOfRowsHasOnePhase) {
  StreamEnvironment env({.parallelism = 2});
  env.generate<Row>([](std::uint64_t) { return Row{}; }, {.rows = 1}, event_time(&Row::at))
      .key_by(&Row::user)
      .window(tumbling(1s))
      .reduce([](Row, const Row& row) { return row; })
      .discard();
  EXPECT_EQ(env.explain(),
            "key groups 128, subtasks 4\n"
            "chain 0 x2: generate\n"
            "chain 1 x2: window reduce (slices) -> for_each\n"
            "edge chain 0 -> chain 1: hash of Row\n");
}

TEST(Plan, DifferentParallelismsAreRebalanced) {
  StreamEnvironment env({.parallelism = 2});
  env.from_values<int>({1}).parallelism(1).map([](int x) { return x; }).discard();
  EXPECT_EQ(env.explain(),
            "key groups 128, subtasks 3\n"
            "chain 0 x1: values\n"
            "chain 1 x2: map -> for_each\n"
            "edge chain 0 -> chain 1: rebalance of int32\n");
}

TEST(Plan, AStreamWithTwoReadersIsNotChained) {
  StreamEnvironment env;
  auto values = env.from_values<int>({1});
  values.map([](int x) { return x; }).discard();
  values.discard();
  EXPECT_EQ(env.explain(),
            "key groups 128, subtasks 3\n"
            "chain 0 x1: values\n"
            "chain 1 x1: map -> for_each\n"
            "chain 2 x1: for_each\n"
            "edge chain 0 -> chain 1: forward of int32\n"
            "edge chain 0 -> chain 2: forward of int32\n");
}

TEST(Plan, ChainsBeginAndEndWhereTheUserSays) {
  StreamEnvironment env;
  env.from_values<int>({1})
      .map([](int x) { return x; }).start_new_chain()
      .filter([](int) { return true; })
      .map([](int x) { return x; }).disable_chaining()
      .discard();
  EXPECT_EQ(env.explain(),
            "key groups 128, subtasks 4\n"
            "chain 0 x1: values\n"
            "chain 1 x1: map -> filter\n"
            "chain 2 x1: map\n"
            "chain 3 x1: for_each\n"
            "edge chain 0 -> chain 1: forward of int32\n"
            "edge chain 1 -> chain 2: forward of int32\n"
            "edge chain 2 -> chain 3: forward of int32\n");
}

}  // namespace
}  // namespace levada
