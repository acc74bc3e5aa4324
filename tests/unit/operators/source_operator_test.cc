// The engine's half of a source: event time per split, idleness, and both across a checkpoint.
#include "operators/source_operator.h"

#include <gmock/gmock.h>

#include <deque>
#include <map>
#include <optional>

#include "base/manual_clock.h"

namespace levada {
namespace {

using ::testing::ElementsAre;

Timestamp at(std::int64_t us) { return Timestamp{Duration{us}}; }

/// What the test lets its splits give: rows whose values are their times.
struct Script {
  std::deque<std::pair<std::size_t, std::vector<std::int64_t>>> polls;
  std::map<std::size_t, bool> caught_up, finished;
  std::vector<std::vector<std::string>> committed;
  std::map<std::size_t, std::int64_t> read;
  bool all_finished = false;
};

class ScriptedReader final : public SourceReader {
 public:
  explicit ScriptedReader(Script& script) : script_(script) {}
  void open(OperatorContext&, std::vector<Split>) override {}
  PollResult poll(Batch& batch, std::vector<SplitRun>& runs) override {
    if (script_.polls.empty()) {
      return script_.all_finished ? PollResult::kFinished : PollResult::kLater;
    }
    const auto [split, times] = script_.polls.front();
    script_.polls.pop_front();
    for (const std::int64_t time : times) {
      batch.rows<std::int64_t>()[batch.size()] = time;
      batch.times()[batch.size()] = at(time);
      batch.set_size(batch.size() + 1);
    }
    script_.read[split] += static_cast<std::int64_t>(times.size());
    runs.push_back({split, 0, times.size()});
    return PollResult::kMore;
  }
  bool caught_up(std::size_t split) const override { return script_.caught_up[split]; }
  bool finished(std::size_t split) const override { return script_.finished[split]; }
  std::string position(std::size_t split) const override {
    return std::to_string(script_.read[split]);
  }
  void committed(std::span<const std::string> positions) override {
    script_.committed.emplace_back(positions.begin(), positions.end());
  }

 private:
  Script& script_;
};

/// Takes the one operator state that a source writes.
class StateSink final : public SnapshotContext {
 public:
  explicit StateSink(CheckpointId checkpoint) : checkpoint_(checkpoint) {}
  CheckpointId checkpoint() const override { return checkpoint_; }
  void put_operator_state(std::string_view name, std::string_view bytes) override {
    EXPECT_EQ(name, SourceOperator::kStateName);
    decode_splits(View(bytes), splits);
  }
  void put_table(StateTable&) override { ADD_FAILURE() << "a source has no table"; }

  std::vector<SplitState> splits;

 private:
  CheckpointId checkpoint_;
};

class SourceOperatorTest : public ::testing::Test {
 protected:
  void start(std::vector<SplitState> splits, EventTimeOptions options = {}) {
    context_.clock = &clock_;
    source_ = std::make_unique<SourceOperator>(
        std::make_unique<ScriptedReader>(script_),
        detail::WatermarkStrategy{.assign_times = nullptr, .options = options, .given = true},
        std::move(splits));
    source_->open(context_);
  }
  void start(int splits, EventTimeOptions options = {}) {
    std::vector<SplitState> fresh;
    for (int i = 0; i < splits; ++i) {
      fresh.push_back({.split = {std::to_string(i), "0"}, .newest_time = kMinWatermark});
    }
    start(std::move(fresh), options);
  }
  PollResult poll() {
    batch_->clear();
    return source_->poll(*batch_);
  }
  void read(std::size_t split, std::vector<std::int64_t> times) {
    script_.polls.emplace_back(split, std::move(times));
    poll();
  }
  InputTime time() const { return source_->time(); }
  std::vector<SplitState> snapshot(CheckpointId checkpoint) {
    StateSink sink(checkpoint);
    source_->snapshot(sink);
    return sink.splits;
  }

  Script script_;
  ManualClock clock_;
  OperatorContext context_;
  BatchPtr batch_ = Batch::make(batch_type<std::int64_t>(), 16);
  std::unique_ptr<SourceOperator> source_;
};

TEST_F(SourceOperatorTest, TheWatermarkStaysBehindTheNewestRowByTheBoundAndAMicrosecond) {
  start(1, {.bounded_out_of_orderness = 10us});
  EXPECT_EQ(time().watermark, kMinWatermark);
  read(0, {100, 90});
  EXPECT_EQ(time(), (InputTime{at(89), false}));
  read(0, {50});
  EXPECT_EQ(time().watermark, at(89)) << "it never goes back";
  read(0, {101});
  EXPECT_EQ(time().watermark, at(90));
}

TEST_F(SourceOperatorTest, TheSlowestSplitHoldsTheWatermark) {
  start(2);
  read(0, {100});
  EXPECT_EQ(time().watermark, kMinWatermark) << "nothing is known of split 1";
  read(1, {40});
  EXPECT_EQ(time().watermark, at(39));
  read(1, {200});
  EXPECT_EQ(time().watermark, at(99));
}

TEST_F(SourceOperatorTest, AFinishedSplitHoldsNobody) {
  start(2);
  read(0, {100});
  read(1, {40});
  script_.finished[1] = true;
  poll();
  EXPECT_EQ(time(), (InputTime{at(99), false}));
}

TEST_F(SourceOperatorTest, AfterTheLastRowNothingMoreWillCome) {
  start(1);
  read(0, {100});
  script_.all_finished = true;
  EXPECT_EQ(poll(), PollResult::kFinished);
  EXPECT_EQ(time(), (InputTime{kMaxWatermark, false}));
}

TEST_F(SourceOperatorTest, WithoutSplitsItIsFinishedAtOnce) {
  start(0);
  EXPECT_EQ(poll(), PollResult::kFinished);
}

TEST_F(SourceOperatorTest, ASplitIsIdleWhenItIsCaughtUpAndNothingCameForSoLong) {
  start(2, {.idle_after = 5s});
  read(0, {100});
  script_.caught_up[0] = script_.caught_up[1] = true;
  poll();
  clock_.advance(4s);
  read(0, {200});
  EXPECT_EQ(time().watermark, kMinWatermark) << "split 1 is quiet for 4 s only";
  clock_.advance(1s);
  poll();
  EXPECT_EQ(time(), (InputTime{at(199), false}));
  clock_.advance(5s);
  poll();
  EXPECT_TRUE(time().idle) << "all splits are idle";
  read(1, {300});
  EXPECT_EQ(time(), (InputTime{at(299), false})) << "a row ends idleness; split 0 is still idle";
}

TEST_F(SourceOperatorTest, ASplitThatIsNotCaughtUpIsNeverIdle) {
  start(2, {.idle_after = 5s});
  script_.caught_up[0] = true;
  read(0, {100});
  for (int i = 0; i < 10; ++i) {
    clock_.advance(10s);
    poll();
  }
  EXPECT_EQ(time().watermark, kMinWatermark);
  EXPECT_FALSE(time().idle);
}

TEST_F(SourceOperatorTest, TimeInWhichItWasNotPolledDoesNotCount) {
  start(2, {.idle_after = 5s});
  script_.caught_up[0] = script_.caught_up[1] = true;
  read(0, {100});
  for (int i = 0; i < 10; ++i) {
    source_->skipped();  // back-pressure
    clock_.advance(10s);
    poll();
  }
  EXPECT_FALSE(time().idle);
  EXPECT_EQ(time().watermark, kMinWatermark);
}

TEST_F(SourceOperatorTest, AsksToBePolledWhenASplitMayGrowIdle) {
  start(1, {.idle_after = 5s});
  script_.caught_up[0] = true;
  EXPECT_EQ(source_->next_time(), kNever);
  poll();
  EXPECT_EQ(source_->next_time(), clock_.steady_now() + Duration{5s});
  clock_.advance(2s);
  poll();
  EXPECT_EQ(source_->next_time(), clock_.steady_now() + Duration{3s});
  clock_.advance(3s);
  poll();
  EXPECT_TRUE(time().idle);
  EXPECT_EQ(source_->next_time(), kNever);
}

TEST_F(SourceOperatorTest, WatermarksArePartOfTheCheckpointPerSplit) {
  start(2, {.bounded_out_of_orderness = 10us});
  read(0, {100, 110});
  read(1, {70});
  const std::vector<SplitState> splits = snapshot(1);
  ASSERT_EQ(splits.size(), 2u);
  EXPECT_EQ(splits[0].split.position, "2");
  EXPECT_EQ(splits[1].newest_time, at(70));

  // Another subtask gets split 0 alone: its time goes on where it was.
  start({splits[0]}, {.bounded_out_of_orderness = 10us});
  EXPECT_EQ(time().watermark, at(99));
  read(0, {50});
  EXPECT_EQ(time().watermark, at(99)) << "late before the checkpoint, late after it";
}

TEST_F(SourceOperatorTest, TellsTheReaderThePositionsOfTheCheckpointThatIsComplete) {
  start(1);
  read(0, {1, 2});
  snapshot(1);
  read(0, {3});
  snapshot(2);
  read(0, {4});
  snapshot(3);
  source_->committed(2);
  EXPECT_THAT(script_.committed, ElementsAre(ElementsAre("3")));
  source_->committed(1);
  EXPECT_EQ(script_.committed.size(), 1u) << "an older one says nothing new";
  source_->committed(3);
  EXPECT_THAT(script_.committed.back(), ElementsAre("4"));
}

TEST(SplitStates, AreReadAsWrittenAndDamageIsRefused) {
  const std::vector<SplitState> splits{{{"orders-0", "1:17"}, at(5)}, {{"orders-1", ""}, kMinWatermark}};
  const Bytes bytes = encode_splits(splits);
  std::vector<SplitState> read;
  decode_splits(View(bytes), read);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].split.id, "orders-0");
  EXPECT_EQ(read[0].split.position, "1:17");
  EXPECT_EQ(read[0].newest_time, at(5));
  EXPECT_EQ(read[1].newest_time, kMinWatermark);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    std::vector<SplitState> some;
    EXPECT_THROW(decode_splits(View(std::string_view(bytes).substr(0, size)), some), StateError);
  }
}

}  // namespace
}  // namespace levada
