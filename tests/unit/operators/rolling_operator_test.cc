// reduce and rolling aggregates alone: a result for every row, and state that moves with its key.
#include <gmock/gmock.h>

#include "levada/levada.h"
#include "levada/testing/harness.h"
#include "support/snapshot_entries.h"

namespace levada {
namespace {

using levada::testing::HarnessOptions;
using levada::testing::OperatorHarness;
using levada::testing::Timed;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Sale {
  std::string shop;
  std::int64_t cents = 0;
  bool operator==(const Sale&) const = default;
};
LEVADA_RECORD(Sale, shop, cents)

struct Total {
  std::string shop;
  std::int64_t sales = 0, cents = 0, least = 0, greatest = 0;
  double mean = 0;
  std::string names;
  bool operator==(const Total&) const = default;
};
LEVADA_RECORD(Total, shop, sales, cents, least, greatest, mean, names)

/// All amounts one after the other: an aggregate whose accumulator owns memory and cannot merge.
struct Names {
  using Accumulator = std::string;
  void add(std::string& so_far, const Sale& sale) const { so_far += std::to_string(sale.cents) + " "; }
  std::string result(const std::string& so_far) const { return so_far; }
};

constexpr auto kTotals = [](DataStream<Sale> sales) {
  return sales.key_by(&Sale::shop)
      .aggregate(key().as(&Total::shop), count().as(&Total::sales),
                 sum(&Sale::cents).as(&Total::cents), min(&Sale::cents).as(&Total::least),
                 max(&Sale::cents).as(&Total::greatest), average(&Sale::cents).as(&Total::mean),
                 aggregator(Names{}).as(&Total::names))
      .uid("totals");
};
constexpr auto kLongest = [](DataStream<Sale> sales) {
  return sales.key_by([](const Sale& sale) { return sale.cents % 10; })
      .reduce([](Sale a, const Sale& b) { return a.shop.size() >= b.shop.size() ? a : b; });
};

class RollingOperator : public ::testing::TestWithParam<int> {
 protected:
  HarnessOptions options(int parallelism = 1) const {
    return {.parallelism = parallelism, .batch_rows = GetParam()};
  }
};

TEST_P(RollingOperator, AggregateGivesTheResultSoFarForEveryRow) {
  OperatorHarness<Sale, Total> harness(kTotals, options());
  harness.push({"a", 5}, Timestamp{1s});
  harness.push({"b", 7}, Timestamp{2s});
  harness.push({"a", 1}, Timestamp{3s});
  EXPECT_THAT(harness.take_timed(),
              ElementsAre(Timed<Total>{{"a", 1, 5, 5, 5, 5, "5 "}, Timestamp{1s}},
                          Timed<Total>{{"b", 1, 7, 7, 7, 7, "7 "}, Timestamp{2s}},
                          Timed<Total>{{"a", 2, 6, 1, 5, 3, "5 1 "}, Timestamp{3s}}));
}

TEST_P(RollingOperator, WithoutNamesTheResultIsKeyWindowAndValues) {
  OperatorHarness<Sale, Aggregated<std::string, std::int64_t>> harness(
      [](DataStream<Sale> sales) { return sales.key_by(&Sale::shop).aggregate(sum(&Sale::cents)); },
      options());
  harness.push({"a", 5});
  harness.push({"a", 6});
  const auto rows = harness.take();
  ASSERT_EQ(rows.size(), 2u);
  const auto& [key, window, cents] = rows[1];
  EXPECT_EQ(key, "a");
  EXPECT_EQ(cents, 11);
}

TEST_P(RollingOperator, ReduceCombinesTheRowsOfAKey) {
  OperatorHarness<Sale, Sale> harness(kLongest, options());
  for (const Sale& sale : {Sale{"aa", 11}, Sale{"b", 21}, Sale{"c", 2}, Sale{"dddd", 31}}) {
    harness.push(sale);
  }
  EXPECT_THAT(harness.take(),
              ElementsAre(Sale{"aa", 11}, Sale{"aa", 11}, Sale{"c", 2}, Sale{"dddd", 31}));
}

TEST_P(RollingOperator, StateMovesWithItsKeysToAnotherParallelism) {
  OperatorHarness<Sale, Total> harness(kTotals, options(2));
  std::map<std::string, Total> expected;
  const auto sell = [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const Sale sale{"shop " + std::to_string(i * i % 101), i};
      harness.push(sale);
      Total& total = expected[sale.shop];
      total.least = total.sales == 0 ? i : std::min(total.least, i);
      total.greatest = total.sales == 0 ? i : std::max(total.greatest, i);
      total.shop = sale.shop;
      ++total.sales;
      total.cents += i;
      total.mean = static_cast<double>(total.cents) / static_cast<double>(total.sales);
      total.names += std::to_string(i) + " ";
    }
  };
  std::int64_t sold = 0;
  for (const int parallelism : {3, 1, 5, 2}) {
    sell(sold, sold + 300);
    sold += 300;
    const auto snapshot = harness.snapshot();
    testing::expect_entries(snapshot, expected.size());
    harness.restore(snapshot, parallelism);
    EXPECT_THAT(harness.take(), ElementsAre()) << "what was not taken is gone";
  }
  sell(sold, sold + 300);
  std::map<std::string, Total> last;
  for (const Total& total : harness.take()) last[total.shop] = total;
  for (const auto& [shop, total] : last) EXPECT_EQ(total, expected[shop]) << shop;
  EXPECT_GT(last.size(), 40u);
}

TEST_P(RollingOperator, RowsThatComeWhileTheSnapshotIsCapturedAreNotInIt) {
  OperatorHarness<Sale, Total> harness(kTotals, options(2));
  for (std::int64_t i = 0; i < 500; ++i) harness.push({std::to_string(i), 1});
  harness.begin_snapshot();
  for (std::int64_t i = 0; i < 1'000; ++i) harness.push({std::to_string(i), 100});  // old and new keys
  const auto snapshot = harness.finish_snapshot();
  testing::expect_entries(snapshot, 500);
  harness.restore(snapshot, 3);
  harness.push({"7", 1});
  harness.push({"700", 1});
  const auto rows = harness.take();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].cents + rows[1].cents, 2 + 1) << "\"700\" was not there, \"7\" was once";
}

TEST_P(RollingOperator, ASnapshotThatIsGivenUpLeavesTheNextOneWhole) {
  OperatorHarness<Sale, Total> harness(kTotals, options());
  for (std::int64_t i = 0; i < 100; ++i) harness.push({std::to_string(i), 1});
  harness.begin_snapshot();
  for (std::int64_t i = 50; i < 150; ++i) harness.push({std::to_string(i), 1});
  harness.abort_snapshot();
  const auto snapshot = harness.snapshot();
  testing::expect_entries(snapshot, 150);
  harness.restore(snapshot, 2);
  harness.push({"60", 1});
  EXPECT_EQ(harness.take().at(0).cents, 3);
}

INSTANTIATE_TEST_SUITE_P(BatchRows, RollingOperator, ::testing::Values(1, 7, 1024));

TEST(RollingOperatorLimits, StateThatOutgrowsItsBudgetNamesStateBytesAndBudget) {
  HarnessOptions options;
  options.memory = 1_MiB;
  OperatorHarness<Sale, Sale> harness(
      [](DataStream<Sale> sales) {
        return sales.key_by(&Sale::shop).reduce([](Sale a, const Sale&) { return a; }).uid("latest");
      },
      options);
  std::string what;
  try {
    for (int i = 0; i < 100'000; ++i) harness.push({std::string(50, 'x') + std::to_string(i), 1});
  } catch (const StateError& error) {
    what = error.what();
  }
  EXPECT_THAT(what, AllOf(HasSubstr("latest"), HasSubstr("bytes more do not fit"),
                          HasSubstr("bytes are used")));
}

TEST(RollingOperatorLimits, StateIsChargedToTheBudgetAndGivenBack) {
  const auto used = [](const MemoryBudget& memory) { return memory.shares()[1]->used_bytes(); };
  OperatorHarness<Sale, Total> harness(kTotals, {.batch_rows = 16});
  EXPECT_EQ(used(harness.memory()), 0u);
  for (std::int64_t i = 0; i < 1'000; ++i) {
    harness.push({"a shop with a long name " + std::to_string(i % 100), i});
  }
  const auto snapshot = harness.snapshot();
  // 100 entries with the names they are known by and ten amounts each.
  EXPECT_GT(used(harness.memory()), 100 * (sizeof(Total) + 25));
  EXPECT_LT(used(harness.memory()), 1'000u * 1'000);
  harness.restore(snapshot, 4);
  EXPECT_GT(used(harness.memory()), 100 * (sizeof(Total) + 25));
}

TEST(RollingOperatorLimits, ASumBeyondInt64FailsInsteadOfGoingRound) {
  OperatorHarness<Sale, Total> harness(kTotals);
  harness.push({"a", INT64_MAX});
  EXPECT_ANY_THROW(harness.push({"a", 1}));
}

TEST(RollingOperatorRestore, RefusesStateOfAnotherTypeAndShowsBoth) {
  OperatorHarness<Sale, Total> written(kTotals);
  written.push({"a", 1});
  const auto snapshot = written.snapshot();
  OperatorHarness<Sale, Sale> reads(kLongest);
  try {
    reads.restore(snapshot, 1);
    FAIL() << "the state was taken";
  } catch (const StateError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("string -> "), HasSubstr("int64 -> ")));
  }
}

}  // namespace
}  // namespace levada
