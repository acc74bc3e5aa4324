// The checker checked: a job that did everything right is believed, and each planted fault is
// reported as what it is. Needs no server; the tables are vectors.

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <vector>

#include <gtest/gtest.h>

#include "compare.h"
#include "generator.h"

namespace orders {
namespace {

constexpr std::int64_t kRowCount = 40'000;

// A topic of one partition and the tables of a job that did everything right: there, which rows are
// late is determined.
class CheckerTest : public testing::Test {
 protected:
  CheckerTest() : generator_({.row_count = kRowCount, .partition_count = 1, .user_count = 200}) {
    topic_.resize(1);
    for (std::int64_t i = 0; i < kRowCount; ++i) append_order(generator_.row(i), topic_[0]);
    for (std::size_t offset = 0; offset < topic_[0].size(); ++offset) {
      const ReadOrder& row = topic_[0][offset];
      if (row.order.cancelled() || !rules_.may_be_late(row.order.ts_ms, row.greatest_before_ms)) {
        continue;
      }
      tables_.late.push_back(late_row(static_cast<std::int64_t>(offset)));
    }
    for (const auto& [key, totals] : count_windows(topic_, late_set(tables_), rules_)) {
      tables_.totals.push_back({key.first, key.second * 1000, totals});
    }
    tables_.log = tables_.totals;
  }

  LateRow late_row(std::int64_t offset) const {
    const Order& order = topic_[0][static_cast<std::size_t>(offset)].order;
    return {order, order.ts_ms * 1000, 0, offset};
  }

  std::int64_t first_offset(bool (*wanted)(const Order&)) const {
    const auto found = std::find_if(topic_[0].begin(), topic_[0].end(),
                                    [&](const ReadOrder& row) { return wanted(row.order); });
    return found - topic_[0].begin();
  }

  Check totals() const { return check_totals(topic_, tables_, rules_); }
  Check accounts() const { return check_accounts(topic_, tables_); }
  Check late() const { return check_late_rows(topic_, tables_, rules_); }
  Check late_determined() const { return check_late_rows_determined(topic_, tables_, rules_); }
  Check log() const { return check_log(topic_, tables_, rules_); }

  void expect_counts(const Check& check, std::int64_t lost, std::int64_t duplicated,
                     std::int64_t wrong) const {
    EXPECT_EQ(check.lost, lost);
    EXPECT_EQ(check.duplicated, duplicated);
    EXPECT_EQ(check.wrong, wrong);
    EXPECT_FALSE(check.holds());
    EXPECT_FALSE(check.examples.empty());
  }

  WindowRules rules_;
  Generator generator_;
  Topic topic_;
  Tables tables_;
};

TEST_F(CheckerTest, BelievesTablesWithoutFault) {
  for (const Check& check : {totals(), accounts(), late(), late_determined(), log()}) {
    EXPECT_TRUE(check.holds()) << check.claim;
    EXPECT_TRUE(check.examples.empty());
  }
}

TEST_F(CheckerTest, HasLateAndCancelledRowsToCheck) {
  EXPECT_GT(tables_.late.size(), kRowCount / 200);
  EXPECT_LT(tables_.late.size(), kRowCount / 50);
  const auto cancelled = std::count_if(topic_[0].begin(), topic_[0].end(),
                                       [](const ReadOrder& row) { return row.order.cancelled(); });
  EXPECT_GT(cancelled, 0);
}

TEST_F(CheckerTest, ReportsADroppedRow) {
  const std::int64_t amount = tables_.totals[7].totals.smallest;
  --tables_.totals[7].totals.orders;
  tables_.totals[7].totals.total -= amount;
  expect_counts(totals(), 1, 0, 0);
  expect_counts(accounts(), 1, 0, 0);
}

TEST_F(CheckerTest, ReportsADoubledRow) {
  const std::int64_t amount = tables_.totals[7].totals.largest;
  ++tables_.totals[7].totals.orders;
  tables_.totals[7].totals.total += amount;
  expect_counts(totals(), 0, 1, 0);
  expect_counts(accounts(), 0, 1, 0);
}

TEST_F(CheckerTest, ReportsASumWrongInTheLastDigit) {
  ++tables_.totals.back().totals.total;
  expect_counts(totals(), 0, 0, 1);
}

TEST_F(CheckerTest, ReportsAWrongSmallest) {
  ++tables_.totals[3].totals.smallest;
  expect_counts(totals(), 0, 0, 1);
}

TEST_F(CheckerTest, ReportsAWrongLargest) {
  --tables_.totals[3].totals.largest;
  expect_counts(totals(), 0, 0, 1);
}

TEST_F(CheckerTest, ReportsAMissingWindow) {
  const std::int64_t orders = tables_.totals[11].totals.orders;
  tables_.totals.erase(tables_.totals.begin() + 11);
  expect_counts(totals(), orders, 0, 0);
  expect_counts(accounts(), orders, 0, 0);
}

TEST_F(CheckerTest, ReportsAnExtraWindow) {
  TotalsRow extra = tables_.totals[0];
  extra.user = generator_.options().user_count;
  tables_.totals.push_back(extra);
  expect_counts(totals(), 0, 0, 1);
  expect_counts(accounts(), 0, extra.totals.orders, 0);
}

TEST_F(CheckerTest, ReportsAWindowTwiceInTheTable) {
  tables_.totals.push_back(tables_.totals[5]);
  expect_counts(totals(), 0, tables_.totals[5].totals.orders, 0);
}

TEST_F(CheckerTest, ReportsAWindowThatStartsAMicrosecondLate) {
  ++tables_.totals[5].window_start_us;
  expect_counts(totals(), tables_.totals[5].totals.orders, 0, 1);
}

// The sums over the whole table stay right, so only the comparison window by window can see it.
TEST_F(CheckerTest, ReportsCountsSwappedBetweenUsers) {
  auto& rows = tables_.totals;
  const auto other = std::find_if(rows.begin() + 1, rows.end(), [&](const TotalsRow& row) {
    return row.totals.orders > rows[0].totals.orders;
  });
  ASSERT_NE(other, rows.end());
  const std::int64_t difference = other->totals.orders - rows[0].totals.orders;
  std::swap(rows[0].totals.orders, other->totals.orders);
  expect_counts(totals(), difference, difference, 0);
}

TEST_F(CheckerTest, ReportsARowMovedToAnotherUser) {
  auto& rows = tables_.totals;
  for (const auto& [index, sign] : {std::pair{0, -1}, std::pair{1, 1}}) {
    rows[static_cast<std::size_t>(index)].totals.orders += sign;
  }
  expect_counts(totals(), 1, 1, 0);
}

TEST_F(CheckerTest, ReportsALateRowThatCouldNotBeLate) {
  // In time, and put away as late; the job did leave it out of its window.
  const std::int64_t offset = first_offset([](const Order& order) { return !order.cancelled(); });
  tables_.late.push_back(late_row(offset));
  expect_counts(late(), 0, 0, 1);
  expect_counts(late_determined(), 0, 0, 1);
}

TEST_F(CheckerTest, ReportsALateRowThatIsAlsoInAWindow) {
  const std::int64_t offset = first_offset([](const Order& order) { return !order.cancelled(); });
  tables_.late.push_back(late_row(offset));
  expect_counts(totals(), 0, 1, 0);
  expect_counts(accounts(), 0, 1, 0);
}

TEST_F(CheckerTest, ReportsAMissingLateRow) {
  tables_.late.pop_back();
  expect_counts(late_determined(), 1, 0, 0);
  expect_counts(accounts(), 1, 0, 0);
  EXPECT_EQ(totals().lost, 1);
}

TEST_F(CheckerTest, ReportsALateRowWithAnotherAmount) {
  ++tables_.late.front().order.amount;
  expect_counts(late(), 0, 0, 1);
}

TEST_F(CheckerTest, ReportsALateRowWithAnotherTime) {
  ++tables_.late.front().ts_us;
  expect_counts(late(), 0, 0, 1);
}

TEST_F(CheckerTest, ReportsALateRowOfAnOffsetThatDoesNotExist) {
  tables_.late.front().offset = kRowCount;
  expect_counts(late(), 0, 0, 1);
  expect_counts(late_determined(), 1, 0, 1);
}

TEST_F(CheckerTest, ReportsACancelledRowInTheLateTable) {
  const std::int64_t offset = first_offset([](const Order& order) { return order.cancelled(); });
  tables_.late.push_back(late_row(offset));
  expect_counts(late(), 0, 0, 1);
  expect_counts(accounts(), 0, 1, 0);
}

TEST_F(CheckerTest, ReportsALateRowTwice) {
  tables_.late.push_back(tables_.late.front());
  expect_counts(late(), 0, 1, 0);
}

TEST_F(CheckerTest, ReportsAFiringTwice) {
  tables_.log.push_back(tables_.log.front());
  expect_counts(log(), 0, 1, 0);
}

TEST_F(CheckerTest, ReportsAMissingFiring) {
  tables_.log.erase(tables_.log.begin() + 2);
  expect_counts(log(), 1, 0, 0);
}

TEST_F(CheckerTest, ReportsAFiringOfAWindowThatDoesNotExist) {
  tables_.log.push_back(tables_.log.front());
  tables_.log.back().user = generator_.options().user_count;
  expect_counts(log(), 0, 0, 1);
}

TEST_F(CheckerTest, ReportsAFiringWithASumWrongInTheLastDigit) {
  ++tables_.log[4].totals.total;
  expect_counts(log(), 1, 0, 1);
}

// A window that fired twice, for an order that came after the first time.
class CheckerOfFiringsTest : public CheckerTest {
 protected:
  CheckerOfFiringsTest() {
    second_ = std::find_if(tables_.log.begin(), tables_.log.end(), [](const TotalsRow& row) {
      return row.totals.orders >= 2 && row.totals.smallest < row.totals.largest;
    });
    TotalsRow first = *second_;
    --first.totals.orders;
    first.totals.total -= first.totals.smallest;
    second_ = tables_.log.insert(second_, first) + 1;
  }
  std::vector<TotalsRow>::iterator second_;
};

TEST_F(CheckerOfFiringsTest, BelievesThatItFiredAgain) { EXPECT_TRUE(log().holds()); }

TEST_F(CheckerOfFiringsTest, ReportsTwoFiringsSwapped) {
  std::iter_swap(second_, second_ - 1);
  expect_counts(log(), 0, 0, 1);
}

TEST_F(CheckerOfFiringsTest, ReportsTheEarlierFiringDoneAgain) {
  tables_.log.push_back(*(second_ - 1));
  expect_counts(log(), 0, 1, 0);
}

TEST_F(CheckerOfFiringsTest, ReportsAnOlderFiringThatOverwroteTheNewerOne) {
  const TotalsRow older = *(second_ - 1);
  for (TotalsRow& row : tables_.totals) {
    if (row.user == older.user && row.window_start_us == older.window_start_us) row = older;
  }
  expect_counts(totals(), 1, 0, 0);
}

// The rows of one epoch are the firings of one window of event time.
TEST_F(CheckerTest, ReportsAnEpochOfWhichHalfIsThere) {
  const std::int64_t start_us = tables_.log.front().window_start_us;
  std::int64_t removed = 0, kept = 0, orders = 0;
  const auto is_removed = [&](const TotalsRow& row) {
    if (row.window_start_us != start_us || kept++ % 2 == 0) return false;
    ++removed;
    orders += row.totals.orders;
    return true;
  };
  std::erase_if(tables_.log, is_removed);
  EXPECT_GT(removed, 10);
  expect_counts(log(), removed, 0, 0);
  orders = kept = 0;
  std::erase_if(tables_.totals, is_removed);
  expect_counts(totals(), orders, 0, 0);
}

TEST_F(CheckerTest, ReportsAnEpochThatIsThereTwice) {
  const std::int64_t start_us = tables_.log.front().window_start_us;
  std::vector<TotalsRow> epoch;
  std::copy_if(tables_.log.begin(), tables_.log.end(), std::back_inserter(epoch),
               [&](const TotalsRow& row) { return row.window_start_us == start_us; });
  tables_.log.insert(tables_.log.end(), epoch.begin(), epoch.end());
  expect_counts(log(), 0, static_cast<std::int64_t>(epoch.size()), 0);
}

// Within one user: both windows are there, each with the other's numbers.
TEST_F(CheckerTest, ReportsRowsSwappedWithinAKey) {
  TotalsRow& first = tables_.totals[0];
  const auto other =
      std::find_if(tables_.totals.begin() + 1, tables_.totals.end(), [&](const TotalsRow& row) {
        return row.user == first.user && row.totals.orders != first.totals.orders;
      });
  ASSERT_NE(other, tables_.totals.end());
  const std::int64_t difference = std::abs(other->totals.orders - first.totals.orders);
  std::swap(first.totals, other->totals);
  expect_counts(totals(), difference, difference, 0);
}

// A border case each way: at equality the row is late, one millisecond before it is not.
TEST(WindowRulesTest, LatenessEndsWhereTheWatermarkReachesIt) {
  const WindowRules rules{.window_ms = 10'000, .lateness_ms = 5'000, .disorder_ms = 2'000};
  EXPECT_TRUE(rules.may_be_late(9'999, 17'000));
  EXPECT_FALSE(rules.may_be_late(9'999, 16'999));
  EXPECT_FALSE(rules.may_be_late(10'000, 17'000));
  EXPECT_FALSE(rules.may_be_late(0, kNoTime));
}

TEST(GeneratorTest, KeepsOrdinaryRowsWithinTheDisorder) {
  const Generator generator(
      {.row_count = 8'000, .partition_count = 4, .span_ms = 60'000, .late_per_mille = 0});
  Topic topic(4);
  for (std::int64_t i = 0; i < 8'000; ++i) {
    const Order order = generator.row(i);
    auto& partition = topic[static_cast<std::size_t>(generator.partition(i))];
    append_order(order, partition);
    if (partition.back().greatest_before_ms == kNoTime) continue;
    EXPECT_GE(order.ts_ms, partition.back().greatest_before_ms - 2'000);
  }
}

TEST(OrderTest, IsReadAsWrittenAndNothingElse) {
  const Order order{1234, 56, 789, 1'700'000'000'000};
  std::string json;
  write_json(order, json);
  EXPECT_EQ(json, R"({"user":1234,"item":56,"amount":789,"ts":1700000000000})");
  Order read;
  EXPECT_TRUE(parse_json(json, read));
  EXPECT_EQ(read, order);
  EXPECT_FALSE(parse_json(json + " ", read));
  EXPECT_FALSE(parse_json(json.substr(1), read));
  EXPECT_FALSE(parse_json("", read));
}

}  // namespace
}  // namespace orders
