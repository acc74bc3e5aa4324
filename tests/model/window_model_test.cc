// Windows against their definition. With one split, one subtask and batches of one row, lateness is exact, so
// every firing and every late row must be the oracle's. LEVADA_SEED=n replays.
#include <gtest/gtest.h>

#include <random>

#include "levada/levada.h"
#include "levada/testing/simulation.h"
#include "model/oracle.h"
#include "support/rows.h"
#include "support/seed.h"

namespace levada {
namespace {

using testing::Row;

struct Total {
  std::int64_t key = 0;
  Timestamp start;
  std::int64_t count = 0, sum = 0;
};
LEVADA_RECORD(Total, key, start, count, sum)

constexpr OutputTag<Row> kLate{"late"};

struct Case {
  std::int64_t size, slide, bound, lateness;
  std::vector<model::Row> rows;
};

Case random_case(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  Case made;
  made.size = 1 + below(20);
  made.slide = below(2) == 0 ? made.size : 1 + below(made.size);
  made.bound = below(10);
  made.lateness = below(3) == 0 ? 0 : below(30);
  std::int64_t now = below(200) - 100;
  for (std::int64_t i = 0, count = 20 + below(80); i < count; ++i) {
    now += below(4);
    made.rows.push_back({below(4), i, now - (below(4) == 0 ? below(60) : below(5))});
  }
  return made;
}

// Firings of one window at one moment come in any order of keys: runs of equal windows are sorted.
std::vector<model::Firing> canonical(std::vector<model::Firing> firings) {
  for (std::size_t first = 0; first < firings.size();) {
    std::size_t last = first + 1;
    while (last < firings.size() && firings[last].start == firings[first].start) ++last;
    std::sort(firings.begin() + static_cast<std::ptrdiff_t>(first),
              firings.begin() + static_cast<std::ptrdiff_t>(last));
    first = last;
  }
  return firings;
}

struct Got {
  std::vector<model::Firing> firings;
  std::vector<std::int64_t> late_values;
  std::string error;
};

Got expected(const Case& test_case) {
  Got expected;
  std::vector<model::Row> late;
  const auto note = [&](const model::Firing& firing) {
    expected.firings.push_back(firing);
    return model::Row{};
  };
  model::windows(model::source(test_case.rows, test_case.bound),
                 model::Windows(test_case.size, test_case.slide, test_case.lateness), note, late);
  for (const model::Row& row : late) expected.late_values.push_back(row.value);
  return expected;
}

// Sums, but does not say how a merge is undone: sliding windows cannot keep one running sum.
struct PlainSum {
  using Accumulator = std::int64_t;
  void add(Accumulator& sum, const Row& row) const { sum += row.value; }
  void merge(Accumulator& into, const Accumulator& from) const { into += from; }
  std::int64_t result(const Accumulator& sum) const { return sum; }
};

template <class Sum>
Got run(const Case& test_case, std::uint64_t seed, int crashes, Sum sum_of_values) {
  Collected<Total> totals;
  Collected<Row> late;
  std::vector<Row> rows;
  for (const model::Row& row : test_case.rows) {
    rows.push_back({row.key, row.value, Timestamp{Duration{row.time}}});
  }
  const auto build = [&](StreamEnvironment& env) {
    auto stream = env.from_values<Row>(rows, event_time(&Row::at, {.bounded_out_of_orderness =
                                                                       Duration{test_case.bound}}))
                      .uid("rows")
                      .key_by(&Row::key)
                      .window(sliding({.size = Duration{test_case.size},
                                       .slide = Duration{test_case.slide}}))
                      .allowed_lateness(Duration{test_case.lateness})
                      .side_output_late(kLate)
                      .aggregate(key().as(&Total::key), window_start().as(&Total::start),
                                 count().as(&Total::count), sum_of_values.as(&Total::sum))
                      .uid("totals");
    stream.collect_into(totals).uid("out");
    stream.side_output(kLate).collect_into(late).uid("late");
  };
  const testing::SimulationResult result = testing::run_simulated(
      {.checkpoint = {.interval = 300us, .directory = "/job"}, .memory = 64_MiB, .batch_rows = 1},
      build, {.seed = seed, .crashes = crashes, .steps_per_crash = 300});
  Got got;
  if (!result.finished) got.error = "not finished: " + result.error;
  for (const Total& row : totals.rows()) {
    got.firings.push_back({row.key, row.start.time_since_epoch().count(), row.count, row.sum});
  }
  for (const Row& row : late.rows()) got.late_values.push_back(row.value);
  return got;
}

template <class Sum>
void expect_all_as_the_oracle_says(int crashes, Sum sum_of_values) {
  const std::uint64_t first = testing::first_seed(), count = testing::seed_count(500);
  std::size_t firings = 0, late = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Case test_case = random_case(seed);
    const Got oracle = expected(test_case);
    const Got got = run(test_case, seed, crashes, sum_of_values);
    ASSERT_EQ(got.error, "") << "LEVADA_SEED=" << seed;
    ASSERT_EQ(got.late_values, oracle.late_values) << "LEVADA_SEED=" << seed;
    ASSERT_TRUE(canonical(got.firings) == canonical(oracle.firings))
        << "LEVADA_SEED=" << seed << ": size " << test_case.size << ", slide " << test_case.slide
        << ", bound " << test_case.bound << ", lateness " << test_case.lateness << ", "
        << got.firings.size() << " firings, expected " << oracle.firings.size();
    firings += oracle.firings.size();
    late += oracle.late_values.size();
  }
  EXPECT_GT(firings, 20 * count);
  EXPECT_GE(late, count / 2);
}

TEST(WindowModel, EveryFiringAndLateRowIsTheOracles) {
  expect_all_as_the_oracle_says(0, sum(&Row::value));
}

TEST(WindowModel, TheSameThroughCrashes) { expect_all_as_the_oracle_says(2, sum(&Row::value)); }

TEST(WindowModel, TheSameOfAnAggregateThatCannotRetract) {
  expect_all_as_the_oracle_says(0, aggregator(PlainSum{}));
  expect_all_as_the_oracle_says(2, aggregator(PlainSum{}));
}

}  // namespace
}  // namespace levada
