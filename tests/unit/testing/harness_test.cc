// The harness itself: how it hands rows out, and what it says of wrong uses and broken operators.
#include "levada/testing/harness.h"

#include <gmock/gmock.h>

#include "levada/levada.h"

namespace levada {
namespace {

using levada::testing::OperatorHarness;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class F>
std::string logic_error_of(F f) {
  try {
    f();
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return "(none)";
}

auto same() {
  return [](DataStream<std::int64_t> in) { return in.map([](std::int64_t x) { return x; }); };
}

TEST(OperatorHarness, DealsRowsOutInTurnWhenThereIsNoKey) {
  std::vector<std::pair<const void*, std::int64_t>> calls;
  // Each subtask has a copy of its own of the function.
  struct Function {
    std::vector<std::pair<const void*, std::int64_t>>* calls;
    void operator()(std::int64_t x) const { calls->push_back({this, x}); }
  };
  OperatorHarness<std::int64_t> harness(
      [&](DataStream<std::int64_t> in) { return in.for_each(Function{&calls}); }, {.parallelism = 2});
  for (const std::int64_t x : {0, 1, 2, 3}) harness.push(x);
  ASSERT_EQ(calls.size(), 4u);
  EXPECT_EQ(calls[0].first, calls[2].first);
  EXPECT_EQ(calls[1].first, calls[3].first);
  EXPECT_NE(calls[0].first, calls[1].first);
}

TEST(OperatorHarness, RowsOfOneKeyMeetInOneSubtask) {
  OperatorHarness<std::int64_t, Aggregated<std::int64_t, std::int64_t>> harness(
      [](DataStream<std::int64_t> in) {
        return in.key_by([](std::int64_t x) { return x % 7; }).aggregate(count());
      },
      {.parallelism = 5});
  for (std::int64_t x = 0; x < 70; ++x) harness.push(x);
  std::map<std::int64_t, std::int64_t> counts;
  for (const auto& row : harness.take()) {
    counts[row.key] = std::max(counts[row.key], std::get<0>(row.values));
  }
  EXPECT_EQ(counts.size(), 7u);
  for (const auto& [key, count] : counts) EXPECT_EQ(count, 10) << "key " << key;
}

TEST(OperatorHarness, HandsRowsOnWhenTheBatchIsFullOrSomethingElseIsAsked) {
  std::vector<std::int64_t> seen;
  OperatorHarness<std::int64_t> harness(
      [&](DataStream<std::int64_t> in) { return in.for_each([&](std::int64_t x) { seen.push_back(x); }); },
      {.batch_rows = 3});
  for (const std::int64_t x : {1, 2}) harness.push(x);
  EXPECT_THAT(seen, ElementsAre());
  harness.push(3);
  EXPECT_THAT(seen, ElementsAre(1, 2, 3));
  harness.push(4);
  harness.watermark(Timestamp{1s});
  EXPECT_THAT(seen, ElementsAre(1, 2, 3, 4));
}

TEST(OperatorHarness, RunsExactlyOneStep) {
  EXPECT_THAT(logic_error_of([] {
                OperatorHarness<std::int64_t, std::int64_t>(
                    [](DataStream<std::int64_t> in) { return same()(same()(in)); });
              }),
              HasSubstr("exactly one step, this function built 2"));
  EXPECT_THAT(logic_error_of([] {
                OperatorHarness<std::int64_t, std::int64_t>(
                    [](DataStream<std::int64_t> in) { return in; });
              }),
              HasSubstr("built 0"));
}

TEST(OperatorHarness, SaysWhatIsWrongWithTheStep) {
  try {
    OperatorHarness<std::int64_t, Aggregated<std::int64_t, std::int64_t>>(
        [](DataStream<std::int64_t> in) {
          return in.key_by([](std::int64_t x) { return x; }).window(tumbling(0s)).aggregate(count());
        });
    FAIL() << "it was built";
  } catch (const GraphError& error) {
    EXPECT_THAT(error.what(), HasSubstr("window: "));
  }
}

TEST(OperatorHarness, RefusesWrongUses) {
  OperatorHarness<std::int64_t, std::int64_t> harness(same());
  harness.watermark(Timestamp{2s});
  EXPECT_THAT(logic_error_of([&] { harness.watermark(Timestamp{1s}); }), HasSubstr("never goes back"));
  EXPECT_THAT(logic_error_of([&] { harness.finish_snapshot(); }), HasSubstr("no snapshot"));
  harness.begin_snapshot();
  EXPECT_THAT(logic_error_of([&] { harness.begin_snapshot(); }), HasSubstr("under way"));
  const auto snapshot = harness.finish_snapshot();
  EXPECT_THAT(logic_error_of([&] { harness.restore(snapshot, 129); }), HasSubstr("max_parallelism 128"));
  static constexpr OutputTag<std::int64_t> kUnknown{"unknown"};
  EXPECT_THAT(logic_error_of([&] { harness.take(kUnknown); }), HasSubstr("\"unknown\""));
}

TEST(OperatorHarness, WhatTheFunctionThrowsComesOutAndARestoreGoesOn) {
  OperatorHarness<std::int64_t, std::int64_t> harness([](DataStream<std::int64_t> in) {
    return in.map([](std::int64_t x) {
      if (x == 2) throw std::runtime_error("not two");
      return x;
    });
  });
  const auto snapshot = harness.snapshot();
  harness.push(1);
  EXPECT_THROW(harness.push(2), std::runtime_error);
  harness.restore(snapshot, 1);
  harness.push(3);
  EXPECT_THAT(harness.take(), ElementsAre(3));
}

// ---- operators of the test's own

/// Waits for wake(), as an asynchronous operator does, and emits at the due time.
class Late final : public Operator {
 public:
  void open(OperatorContext& context) override { context_ = &context; }
  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first, Output&) override {
    for (std::size_t i = first; i < batch->size(); ++i) held_.push_back(batch->rows<std::int64_t>()[i]);
    due_ = context_->clock->steady_now() + Duration{5ms};
    return batch->size();
  }
  SteadyTime next_time() const override { return due_; }
  bool on_time(SteadyTime, Output&) override {
    due_ = kNever;
    context_->log(LogLevel::kInfo, "due");
    context_->wake();
    return true;
  }
  bool on_completion(Output& out) override {
    while (!held_.empty() && !out.full()) {
      out.next<std::int64_t>(kNoTimestamp) = held_.front();
      held_.erase(held_.begin());
    }
    return held_.empty();
  }

 private:
  OperatorContext* context_ = nullptr;
  std::vector<std::int64_t> held_;
  SteadyTime due_ = kNever;
};

/// Says that it came further than it can have.
class Broken final : public Operator {
 public:
  std::size_t process(std::size_t, BatchPtr& batch, std::size_t, Output&) override {
    return batch->size() + 1;
  }
};

template <class Op>
auto step_of() {
  return [](DataStream<std::int64_t> in) {
    Transformation node;
    node.name = "own";
    node.outputs = {{.tag = {}, .type = &batch_type<std::int64_t>()}};
    node.make_operator = [] { return std::make_unique<Op>(); };
    return DataStream<std::int64_t>(in.graph(), in.add(std::move(node)));
  };
}

TEST(OperatorHarness, CallsWhatIsDueAndWhatWasWokenFor) {
  OperatorHarness<std::int64_t, std::int64_t> harness(step_of<Late>());
  for (const std::int64_t x : {1, 2, 3}) harness.push(x);
  harness.advance_clock(4ms);
  EXPECT_THAT(harness.take(), ElementsAre());
  harness.advance_clock(1ms);
  EXPECT_THAT(harness.take(), ElementsAre(1, 2, 3));
  EXPECT_THAT(harness.logged(), ElementsAre("due"));
}

TEST(OperatorHarness, NamesABrokenContract) {
  OperatorHarness<std::int64_t, std::int64_t> harness(step_of<Broken>());
  EXPECT_THAT(logic_error_of([&] { harness.push(1); }), HasSubstr("process() returned row 2"));
}

}  // namespace
}  // namespace levada
