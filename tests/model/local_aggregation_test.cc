// Windows with local pre-aggregation against a plain count: few keys, many keys (where folding does not pay and
// rows pass), skewed keys, through crashes and at changing parallelism.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>

#include "levada/levada.h"
#include "levada/testing/simulation.h"

namespace levada {
namespace {

struct Row {
  std::string key;
  std::int64_t value = 0;
  Timestamp at;
};
LEVADA_RECORD(Row, key, value, at)

struct Total {
  std::string key;
  Timestamp start;
  std::int64_t count = 0, sum = 0, most = 0;
};
LEVADA_RECORD(Total, key, start, count, sum, most)

std::uint64_t random_of(std::uint64_t i) {
  i = (i ^ (i >> 31)) * 0x9e3779b97f4a7c15ULL;
  i = (i ^ (i >> 29)) * 0xbf58476d1ce4e5b9ULL;
  return i ^ (i >> 32);
}

struct Case {
  const char* name;
  std::uint64_t keys;
  bool skewed;
  std::int64_t size_us, slide_us;
  std::uint64_t rows;
};

// A row a microsecond, out of order by up to 50.
Row make_row(const Case& test_case, std::uint64_t i) {
  const std::uint64_t random = random_of(i + 1);
  std::uint64_t key = random % test_case.keys;
  if (test_case.skewed && random % 4 != 0) key = 0;
  return {"key " + std::to_string(key), static_cast<std::int64_t>(random >> 50),
          Timestamp{Duration{static_cast<std::int64_t>(i) + static_cast<std::int64_t>(random >> 40) % 50}}};
}

using Totals = std::map<std::pair<std::string, std::int64_t>, std::array<std::int64_t, 3>>;

Totals expected(const Case& test_case) {
  Totals totals;
  for (std::uint64_t i = 0; i < test_case.rows; ++i) {
    const Row row = make_row(test_case, i);
    const std::int64_t time = row.at.time_since_epoch().count();
    for (std::int64_t start = time - time % test_case.slide_us; start > time - test_case.size_us;
         start -= test_case.slide_us) {
      auto& [count, sum, most] = totals[{row.key, start}];
      ++count;
      sum += row.value;
      most = std::max(most, row.value);
    }
  }
  return totals;
}

void build(StreamEnvironment& env, const Case& test_case, Collected<Total>& collected) {
  env.generate<Row>([test_case](std::uint64_t i) { return make_row(test_case, i); },
                    {.rows = test_case.rows, .splits = 3},
                    event_time(&Row::at, {.bounded_out_of_orderness = 60us}))
      .uid("rows")
      .key_by(&Row::key)
      .window(sliding({.size = Duration{test_case.size_us}, .slide = Duration{test_case.slide_us}}))
      .aggregate(key().as(&Total::key), window_start().as(&Total::start), count().as(&Total::count),
                 sum(&Row::value).as(&Total::sum), max(&Row::value).as(&Total::most))
      .uid("totals")
      .collect_into(collected)
      .uid("out");
}

Totals totals_of(const Collected<Total>& collected) {
  Totals totals;
  for (const Total& row : collected.rows()) {
    const std::pair window{row.key, row.start.time_since_epoch().count()};
    EXPECT_TRUE(totals.emplace(window, std::array{row.count, row.sum, row.most}).second) << row.key;
  }
  return totals;
}

class LocalAggregation : public ::testing::TestWithParam<Case> {};

TEST_P(LocalAggregation, GivesTheResultsOfOnePhase) {
  StreamEnvironment env({.parallelism = 3});
  Collected<Total> collected;
  build(env, GetParam(), collected);
  ASSERT_NE(env.explain().find(", local"), std::string::npos);
  env.execute("local");
  EXPECT_EQ(totals_of(collected), expected(GetParam()));
}

TEST_P(LocalAggregation, TheSameThroughCrashesAndRescales) {
  Case test_case = GetParam();
  test_case.rows = std::min<std::uint64_t>(test_case.rows, 50'000);
  const Totals right = expected(test_case);
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Collected<Total> collected;
    const testing::SimulationResult result = testing::run_simulated(
        {.checkpoint = {.interval = 300us, .directory = "/job"}, .memory = 64_MiB, .batch_rows = 64},
        [&](StreamEnvironment& env) { build(env, test_case, collected); },
        {.seed = seed, .crashes = 3, .steps_per_crash = 500, .parallelism = {2, 1, 3}});
    ASSERT_TRUE(result.finished) << "seed " << seed << ": " << result.error;
    ASSERT_EQ(totals_of(collected), right) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Keys, LocalAggregation,
    ::testing::Values(Case{"few", 7, false, 3'000, 3'000, 100'000},
                      Case{"many", 1'000'000, false, 70'000, 70'000, 300'000},
                      Case{"skewed", 50'000, true, 70'000, 70'000, 200'000},
                      Case{"sliding", 500, true, 3'000, 1'000, 60'000}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace levada
