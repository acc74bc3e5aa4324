// Tumbling and sliding windows alone: what fires when, what is late, what state is left, and all of it
// across a restore at another parallelism.
#include <gmock/gmock.h>

#include <map>

#include "levada/levada.h"
#include "levada/testing/harness.h"
#include "support/snapshot_entries.h"

namespace levada {
namespace {

using levada::testing::HarnessOptions;
using levada::testing::OperatorHarness;
using levada::testing::Timed;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Click {
  std::int64_t user = 0;
  std::int64_t weight = 0;
  bool operator==(const Click&) const = default;
};
LEVADA_RECORD(Click, user, weight)

struct Total {
  std::int64_t user = 0;
  Timestamp start, end;
  std::int64_t clicks = 0, weight = 0;
  bool operator==(const Total&) const = default;
};
LEVADA_RECORD(Total, user, start, end, clicks, weight)

constexpr OutputTag<Click> kLate{"late"};

Timestamp at(std::int64_t us) { return Timestamp{Duration{us}}; }
Total total(std::int64_t user, std::int64_t start, std::int64_t end, std::int64_t clicks,
            std::int64_t weight) {
  return {user, at(start), at(end), clicks, weight};
}

template <class W>
DataStream<Total> totals_of(const W& windowed) {
  return windowed.aggregate(key().as(&Total::user), window_start().as(&Total::start),
                            window_end().as(&Total::end), count().as(&Total::clicks),
                            sum(&Click::weight).as(&Total::weight));
}
auto tumbling_totals(Duration lateness = {}) {
  return [lateness](DataStream<Click> clicks) {
    return totals_of(clicks.key_by(&Click::user).window(tumbling(10us)).allowed_lateness(lateness))
        .uid("totals");
  };
}
auto late_totals(Duration lateness = {}) {
  return [lateness](DataStream<Click> clicks) {
    return totals_of(clicks.key_by(&Click::user)
                         .window(tumbling(10us))
                         .allowed_lateness(lateness)
                         .side_output_late(kLate));
  };
}
auto sliding_totals() {
  return [](DataStream<Click> clicks) {
    return totals_of(clicks.key_by(&Click::user).window(sliding({.size = 10us, .slide = 4us})));
  };
}

class SliceWindowOperator : public ::testing::TestWithParam<int> {
 protected:
  HarnessOptions options(int parallelism = 1) const {
    return {.parallelism = parallelism, .batch_rows = GetParam()};
  }
};

TEST_P(SliceWindowOperator, FiresWhenTheWatermarkReachesTheLastMicrosecond) {
  OperatorHarness<Click, Total> harness(tumbling_totals(), options());
  harness.push({1, 5}, at(0));
  harness.push({1, 6}, at(9));
  harness.push({1, 7}, at(10));
  harness.watermark(at(8));
  EXPECT_THAT(harness.take(), IsEmpty());
  harness.watermark(at(9));
  EXPECT_THAT(harness.take_timed(), ElementsAre(Timed<Total>{total(1, 0, 10, 2, 11), at(9)}))
      << "with the time of its last microsecond";
  harness.watermark(at(18));
  EXPECT_THAT(harness.take(), IsEmpty());
  harness.watermark(kMaxWatermark);
  EXPECT_THAT(harness.take(), ElementsAre(total(1, 10, 20, 1, 7)));
}

TEST_P(SliceWindowOperator, PutsTimesBefore1970IntoTheirWindows) {
  OperatorHarness<Click, Total> harness(tumbling_totals(), options());
  harness.push({1, 1}, at(-1));
  harness.push({1, 2}, at(-10));
  harness.push({1, 4}, at(-11));
  harness.watermark(at(100));
  EXPECT_THAT(harness.take(), ElementsAre(total(1, -20, -10, 1, 4), total(1, -10, 0, 2, 3)));
}

TEST_P(SliceWindowOperator, WindowsBeginAtTheOffset) {
  OperatorHarness<Click, Total> harness(
      [](DataStream<Click> clicks) {
        return totals_of(clicks.key_by(&Click::user).window(tumbling(10us, {.offset = 3us})));
      },
      options());
  harness.push({1, 1}, at(2));
  harness.push({1, 1}, at(3));
  harness.watermark(at(100));
  EXPECT_THAT(harness.take(), ElementsAre(total(1, -7, 3, 1, 1), total(1, 3, 13, 1, 1)));
}

TEST_P(SliceWindowOperator, ARowBelongsToEverySlidingWindowThatCoversIt) {
  OperatorHarness<Click, Total> harness(sliding_totals(), options());
  harness.push({1, 1}, at(9));
  harness.watermark(kMaxWatermark);
  EXPECT_THAT(harness.take(), ElementsAre(total(1, 0, 10, 1, 1), total(1, 4, 14, 1, 1),
                                          total(1, 8, 18, 1, 1)));
}

TEST_P(SliceWindowOperator, ALateRowWithinTheLatenessFiresItsOwnKeyAgain) {
  OperatorHarness<Click, Total> harness(tumbling_totals(5us), options());
  harness.push({1, 5}, at(1));
  harness.push({2, 6}, at(1));
  harness.watermark(at(9));
  EXPECT_THAT(harness.take(), UnorderedElementsAre(total(1, 0, 10, 1, 5), total(2, 0, 10, 1, 6)));
  harness.push({1, 7}, at(2));
  EXPECT_THAT(harness.take(), ElementsAre(total(1, 0, 10, 2, 12)));
  harness.watermark(at(13));
  harness.push({3, 1}, at(3));
  EXPECT_THAT(harness.take(), ElementsAre(total(3, 0, 10, 1, 1))) << "a key that had none";
  harness.watermark(at(14));
  harness.push({1, 9}, at(2));
  EXPECT_THAT(harness.take(), IsEmpty());
  EXPECT_EQ(harness.status().late_rows, 1u);
}

TEST_P(SliceWindowOperator, RowsTooLateGoToTheSideOutputAndAreNotCounted) {
  OperatorHarness<Click, Total> harness(late_totals(), options(), kLate);
  harness.push({1, 5}, at(1));
  harness.watermark(at(9));
  harness.push({1, 6}, at(1));
  harness.push({1, 7}, at(10));
  harness.push({2, 8}, at(-50));
  EXPECT_THAT(harness.take(kLate), ElementsAre(Click{1, 6}, Click{2, 8}));
  EXPECT_EQ(harness.status().late_rows, 0u);
}

TEST_P(SliceWindowOperator, KeepsNoStateOfWindowsThatAreOver) {
  OperatorHarness<Click, Total> harness(tumbling_totals(5us), options());
  for (std::int64_t user = 0; user < 10; ++user) harness.push({user, 1}, at(1));
  testing::expect_entries(harness.snapshot(), 10);
  harness.watermark(at(13));
  testing::expect_entries(harness.snapshot(), 10);  // fired, and kept for the lateness
  harness.watermark(at(14));
  testing::expect_entries(harness.snapshot(), 0);
  EXPECT_EQ(harness.take().size(), 10u);
}

// One firing has far more results than a batch: it stops when the output is full and goes on.
TEST_P(SliceWindowOperator, AFiringOfManyKeysIsResumed) {
  OperatorHarness<Click, Total> harness(sliding_totals(), options(2));
  for (std::int64_t user = 0; user < 5'000; ++user) harness.push({user, user}, at(user % 8));
  harness.watermark(kMaxWatermark);
  std::map<std::int64_t, std::int64_t> windows_of;
  for (const Total& row : harness.take()) {
    EXPECT_EQ(row.clicks, 1);
    EXPECT_EQ(row.weight, row.user);
    ++windows_of[row.user];
  }
  EXPECT_EQ(windows_of.size(), 5'000u);
  // A click at 0 or 1 lies in the windows from -8, -4 and 0; one at 2 or 3 no more in that from -8.
  for (const auto& [user, windows] : windows_of) {
    EXPECT_EQ(windows, user % 8 % 4 < 2 ? 3 : 2) << "user " << user;
  }
}

TEST_P(SliceWindowOperator, OpenWindowsAndLatenessMoveToAnotherParallelism) {
  OperatorHarness<Click, Total> harness(late_totals(5us), options(2), kLate);
  for (std::int64_t user = 0; user < 100; ++user) {
    harness.push({user, 1}, at(1));   // fires below, and stays for the lateness
    harness.push({user, 2}, at(11));  // stays open
  }
  harness.watermark(at(12));
  EXPECT_EQ(harness.take().size(), 100u);
  for (const int parallelism : {3, 1, 4}) {
    const auto snapshot = harness.snapshot();
    testing::expect_entries(snapshot, 200);
    harness.restore(snapshot, parallelism);
    harness.push({7, 1}, at(-10));
    EXPECT_THAT(harness.take(kLate), ElementsAre(Click{7, 1}))
        << "what was late before the checkpoint is late after it";
    harness.push({7, 0}, at(3));
    EXPECT_THAT(harness.take(), ElementsAre(total(7, 0, 10, 2 + (parallelism != 3) + (parallelism == 4), 1)))
        << "and a window that has fired fires again at once";
  }
  harness.watermark(at(12));
  EXPECT_THAT(harness.take(), IsEmpty()) << "nothing fires twice";
  harness.watermark(at(19));
  const std::vector<Total> rows = harness.take();
  EXPECT_EQ(rows.size(), 100u);
  for (const Total& row : rows) EXPECT_EQ(row, total(row.user, 10, 20, 1, 2));
}

TEST_P(SliceWindowOperator, RowsThatComeWhileTheSnapshotIsCapturedAreNotInIt) {
  OperatorHarness<Click, Total> harness(sliding_totals(), options(2));
  for (std::int64_t user = 0; user < 300; ++user) harness.push({user, 1}, at(user % 10));
  harness.begin_snapshot();
  for (std::int64_t user = 0; user < 600; ++user) harness.push({user, 50}, at(user % 20));
  harness.watermark(at(13));  // windows fire and slices are dropped while they are being captured
  const auto snapshot = harness.finish_snapshot();
  testing::expect_entries(snapshot, 300);
  harness.restore(snapshot, 3);
  harness.watermark(kMaxWatermark);
  std::int64_t weight = 0, clicks = 0;
  for (const Total& row : harness.take()) {
    EXPECT_LT(row.user, 300);
    weight += row.weight;
    clicks += row.clicks;
  }
  EXPECT_EQ(weight, clicks) << "no click of weight 50";
  // In ten moments from 0: three windows at 0, 1, 4, 5, 8 and 9, two at 2, 3, 6 and 7.
  EXPECT_EQ(clicks, 30 * (6 * 3 + 4 * 2));
}

TEST_P(SliceWindowOperator, ReduceCombinesTheRowsOfAKeyAndWindow) {
  OperatorHarness<Click, Click> harness(
      [](DataStream<Click> clicks) {
        return clicks.key_by(&Click::user)
            .window(sliding({.size = 10us, .slide = 5us}))
            .reduce([](Click a, const Click& b) { return Click{a.user, a.weight * b.weight}; });
      },
      options());
  for (const std::int64_t weight : {2, 3, 5}) harness.push({1, weight}, at(weight));
  harness.watermark(kMaxWatermark);
  EXPECT_THAT(harness.take(), ElementsAre(Click{1, 6}, Click{1, 30}, Click{1, 5}));
}

/// The two weights that came last: an aggregate of the user's that merges.
struct Heaviest {
  using Accumulator = std::vector<std::int64_t>;
  void add(Accumulator& best, const Click& click) const { merge(best, {click.weight}); }
  void merge(Accumulator& best, const Accumulator& other) const {
    best.insert(best.end(), other.begin(), other.end());
    std::sort(best.rbegin(), best.rend());
    if (best.size() > 2) best.resize(2);
  }
  std::int64_t result(const Accumulator& best) const { return best.size() > 1 ? best[1] : -1; }
};

TEST_P(SliceWindowOperator, AnAggregatorOfTheUsersIsMergedOverSlicesAndRestored) {
  OperatorHarness<Click, Aggregated<std::int64_t, std::int64_t>> harness(
      [](DataStream<Click> clicks) {
        return clicks.key_by(&Click::user)
            .window(sliding({.size = 10us, .slide = 5us}))
            .aggregate(aggregator(Heaviest{}));
      },
      options());
  harness.push({1, 4}, at(1));
  harness.push({1, 9}, at(2));
  harness.push({1, 6}, at(6));
  harness.restore(harness.snapshot(), 2);
  harness.push({1, 7}, at(7));
  harness.watermark(at(9));
  std::vector<std::int64_t> second;
  for (const auto& [key, window, value] : harness.take()) second.push_back(value);
  EXPECT_THAT(second, ElementsAre(4, 7)) << "of 9, 4 and of 9, 7, 6, 4";
}

TEST_P(SliceWindowOperator, ARowWithoutATimeIsAnErrorThatSaysWhatToDo) {
  OperatorHarness<Click, Total> harness(tumbling_totals(), options());
  try {
    harness.push({1, 1});
    harness.watermark(at(1));
    FAIL() << "the row was taken";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("event_time"));
  }
}

INSTANTIATE_TEST_SUITE_P(BatchRows, SliceWindowOperator, ::testing::Values(1, 3, 1024));

TEST(SliceWindowOperatorMemory, IsGivenBackWhenWindowsAreOver) {
  OperatorHarness<Click, Total> harness(tumbling_totals(), {.batch_rows = 64});
  const MemoryShare& share = *harness.memory().shares()[1];
  std::size_t after_first = 0;
  for (std::int64_t window = 0; window < 50; ++window) {
    for (std::int64_t user = 0; user < 500; ++user) harness.push({user, 1}, at(window * 10));
    harness.watermark(at(window * 10 + 9));
    if (window == 2) after_first = share.used_bytes();
  }
  EXPECT_EQ(harness.take().size(), 25'000u);
  EXPECT_GT(after_first, 0u);
  EXPECT_LE(share.used_bytes(), after_first) << "tables are cleared and used again";
}

}  // namespace
}  // namespace levada
