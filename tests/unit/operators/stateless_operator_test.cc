// map, filter, flat_map and for_each alone: rows and their times, whole batches and torn ones.
#include "levada/detail/stateless_operator.h"

#include <gmock/gmock.h>

#include "levada/levada.h"
#include "levada/testing/harness.h"

namespace levada {
namespace {

using levada::testing::OperatorHarness;
using levada::testing::Timed;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr OutputTag<std::string> kOdd{"odd"};
constexpr OutputTag<std::int64_t> kUnread{"unread"};

Timestamp at(std::int64_t us) { return Timestamp{Duration{us}}; }

// Batches of one row, of several that do not divide the rows, and one for all.
class StatelessOperator : public ::testing::TestWithParam<int> {
 protected:
  testing::HarnessOptions options() const { return {.batch_rows = GetParam()}; }

  template <class Harness>
  static void push_numbers(Harness& harness, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) harness.push(i, at(i));
  }
};

TEST_P(StatelessOperator, MapMakesOneRowOfEachWithItsTime) {
  OperatorHarness<std::int64_t, std::string> harness(
      [](auto in) { return in.map([](std::int64_t x) { return std::to_string(x * x); }); }, options());
  push_numbers(harness, 3);
  EXPECT_THAT(harness.take_timed(),
              ElementsAre(Timed<std::string>{"0", at(0)}, Timed<std::string>{"1", at(1)},
                          Timed<std::string>{"4", at(2)}));
  EXPECT_EQ(harness.status().rows_in, 3u);
  EXPECT_EQ(harness.status().rows_out, 3u);
}

TEST_P(StatelessOperator, MapMovesTheRowInWhenTheFunctionTakesItByValue) {
  OperatorHarness<std::string, std::string> harness(
      [](auto in) { return in.map([](std::string s) { return std::move(s) + "!"; }); }, options());
  const std::string text(100, 'x');
  for (int i = 0; i < 5; ++i) harness.push(text);
  EXPECT_THAT(harness.take(), ::testing::AllOf(::testing::SizeIs(5), ::testing::Each(text + "!")));
}

TEST_P(StatelessOperator, FilterKeepsRowsTheirOrderAndTheirTimes) {
  OperatorHarness<std::int64_t, std::int64_t> harness(
      [](auto in) { return in.filter([](std::int64_t x) { return x % 3 == 1; }); }, options());
  push_numbers(harness, 9);
  EXPECT_THAT(harness.take_timed(),
              ElementsAre(Timed<std::int64_t>{1, at(1)}, Timed<std::int64_t>{4, at(4)},
                          Timed<std::int64_t>{7, at(7)}));
}

TEST_P(StatelessOperator, FilterMayKeepNothing) {
  OperatorHarness<std::string, std::string> harness(
      [](auto in) { return in.filter([](const std::string&) { return false; }); }, options());
  for (int i = 0; i < 9; ++i) harness.push("row");
  EXPECT_THAT(harness.take(), IsEmpty());
}

// Far more rows of one than a batch holds: the operator stops and goes on where it was.
TEST_P(StatelessOperator, FlatMapMakesAnyNumberOfRowsWithTheTimeOfTheirs) {
  OperatorHarness<std::int64_t, std::int64_t> harness(
      [](auto in) {
        return in.template flat_map<std::int64_t>([](std::int64_t x, auto& out) {
          for (std::int64_t i = 0; i < x; ++i) out.emit(x * 100 + i);
        });
      },
      options());
  push_numbers(harness, 50);
  std::vector<Timed<std::int64_t>> expected;
  for (std::int64_t x = 0; x < 50; ++x) {
    for (std::int64_t i = 0; i < x; ++i) expected.push_back({x * 100 + i, at(x)});
  }
  EXPECT_EQ(harness.take_timed(), expected);
}

TEST_P(StatelessOperator, FlatMapEmitsToSideOutputsAndCountsWhatNobodyReads) {
  OperatorHarness<std::int64_t, std::int64_t> harness(
      [](auto in) {
        return in.template flat_map<std::int64_t>([](std::int64_t x, auto& out) {
          if (x % 2 == 0) return out.emit(x);
          out.emit(kOdd, std::to_string(x));
          out.emit(kUnread, x);
        });
      },
      options(), kOdd);
  push_numbers(harness, 6);
  EXPECT_THAT(harness.take(), ElementsAre(0, 2, 4));
  EXPECT_THAT(harness.take(kOdd), ElementsAre("1", "3", "5"));
  EXPECT_EQ(harness.status().side_output_unread, 3u);
}

TEST_P(StatelessOperator, ForEachSeesEveryRowInOrder) {
  std::vector<std::int64_t> seen;
  OperatorHarness<std::int64_t> harness(
      [&](auto in) { return in.for_each([&](std::int64_t x) { seen.push_back(x); }); }, options());
  push_numbers(harness, 7);
  harness.end_of_input();
  EXPECT_THAT(seen, ElementsAre(0, 1, 2, 3, 4, 5, 6));
}

TEST_P(StatelessOperator, HasNoStateSoASnapshotIsEmptyAndRestoresAtAnyParallelism) {
  OperatorHarness<std::int64_t, std::int64_t> harness(
      [](auto in) { return in.map([](std::int64_t x) { return -x; }); }, options());
  push_numbers(harness, 3);
  const auto snapshot = harness.snapshot();
  EXPECT_EQ(snapshot.entries(), 0u);
  EXPECT_THAT(harness.take(), ElementsAre(0, -1, -2));
  harness.restore(snapshot, 3);
  push_numbers(harness, 3);
  EXPECT_THAT(harness.take(), ::testing::UnorderedElementsAre(0, -1, -2));
}

INSTANTIATE_TEST_SUITE_P(BatchRows, StatelessOperator, ::testing::Values(1, 4, 1024));

}  // namespace
}  // namespace levada
