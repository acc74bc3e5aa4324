// The operator around a sink's writer, and collect: what a barrier, a slow server and a restore make of
// rows.
#include "levada/sink.h"

#include <gmock/gmock.h>

#include "levada/levada.h"
#include "levada/testing/harness.h"

namespace levada {
namespace {

using levada::testing::OperatorHarness;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

/// A server that takes rows when it is up, and the steps a writer went through.
struct Server {
  bool up = true;
  std::vector<std::int64_t> durable;
  int opened = 0, closed = 0, timely_flushes = 0;
};

/// Buffers three rows; flushes what is buffered when asked to, and every 10 ms.
class Writer final : public SinkWriter {
 public:
  explicit Writer(Server& server) : server_(server) {}
  void open(OperatorContext& context) override {
    ++server_.opened;
    clock_ = context.clock;
  }
  std::size_t write(const Batch& batch, std::size_t row) override {
    for (; row < batch.size(); ++row) {
      if (buffer_.size() == 3 && !flush()) return row;
      if (buffer_.empty()) flush_at_ = clock_->steady_now() + Duration{10ms};
      buffer_.push_back(batch.rows<std::int64_t>()[row]);
    }
    return row;
  }
  bool flush() override {
    if (!server_.up) return false;
    server_.durable.insert(server_.durable.end(), buffer_.begin(), buffer_.end());
    buffer_.clear();
    flush_at_ = kNever;
    return true;
  }
  SteadyTime next_time() const override { return flush_at_; }
  void on_time(SteadyTime now) override {
    EXPECT_LE(flush_at_, now);
    if (flush()) ++server_.timely_flushes;
  }
  std::string waiting_for() const override { return server_.up ? "" : "the server: it is down"; }
  void close() override { ++server_.closed; }

 private:
  Server& server_;
  const Clock* clock_ = nullptr;
  std::vector<std::int64_t> buffer_;
  SteadyTime flush_at_ = kNever;
};

class Factory final : public SinkFactory {
 public:
  explicit Factory(Server& server) : server_(server) {}
  std::unique_ptr<SinkWriter> make_writer() override { return std::make_unique<Writer>(server_); }

 private:
  Server& server_;
};

class SinkOperator : public ::testing::Test {
 protected:
  OperatorHarness<std::int64_t> make(testing::HarnessOptions options = {}) {
    return OperatorHarness<std::int64_t>(
        [this](DataStream<std::int64_t> in) {
          return in.sink_to({std::make_shared<Factory>(server), "server"});
        },
        options);
  }
  Server server;
};

TEST_F(SinkOperator, EverythingIsDurableBeforeABarrierPasses) {
  auto harness = make({.batch_rows = 2});
  for (const std::int64_t row : {1, 2}) harness.push(row);
  EXPECT_THAT(server.durable, IsEmpty());
  harness.snapshot();
  EXPECT_THAT(server.durable, ElementsAre(1, 2));
}

TEST_F(SinkOperator, EverythingIsDurableAtTheEndOfInput) {
  auto harness = make();
  for (const std::int64_t row : {1, 2, 3, 4}) harness.push(row);
  EXPECT_THAT(server.durable, ElementsAre(1, 2, 3));
  harness.end_of_input();
  EXPECT_THAT(server.durable, ElementsAre(1, 2, 3, 4));
}

TEST_F(SinkOperator, BufferedRowsAreFlushedWhenTheirTimeHasCome) {
  auto harness = make();
  harness.push(1);
  harness.advance_clock(9ms);
  EXPECT_EQ(server.timely_flushes, 0);
  harness.advance_clock(1ms);
  EXPECT_EQ(server.timely_flushes, 1);
  EXPECT_THAT(server.durable, ElementsAre(1));
}

TEST_F(SinkOperator, RowsWaitWhileTheServerIsGoneAndNoneIsLostOrDoubled) {
  auto harness = make({.batch_rows = 2});
  server.up = false;
  for (std::int64_t row = 0; row < 10; ++row) harness.push(row);
  EXPECT_TRUE(harness.waiting());
  EXPECT_THAT(harness.status().waiting_for, ElementsAre(HasSubstr("it is down")));
  server.up = true;
  harness.advance_clock(1s);
  EXPECT_FALSE(harness.waiting());
  harness.end_of_input();
  EXPECT_THAT(server.durable, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST_F(SinkOperator, ABarrierDoesNotPassWhileTheServerIsGone) {
  auto harness = make();
  harness.push(1);
  server.up = false;
  harness.begin_snapshot();
  try {
    harness.finish_snapshot();
    FAIL() << "the barrier passed";
  } catch (const std::logic_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("it is down"));
  }
  server.up = true;
  harness.advance_clock(1s);
  const auto snapshot = harness.finish_snapshot();
  EXPECT_THAT(server.durable, ElementsAre(1));
  harness.restore(snapshot, 2);
}

TEST_F(SinkOperator, OpensAndClosesAWriterForEachSubtaskAlsoWhenItIsRestored) {
  {
    auto harness = make({.parallelism = 2});
    EXPECT_EQ(server.opened, 2);
    harness.restore(harness.snapshot(), 3);
    EXPECT_EQ(server.closed, 2);
    EXPECT_EQ(server.opened, 5);
  }
  EXPECT_EQ(server.closed, 5);
}

// ---- collect

class CollectOperator : public ::testing::Test {
 protected:
  OperatorHarness<std::int64_t> make(int parallelism) {
    return OperatorHarness<std::int64_t>(
        [this](DataStream<std::int64_t> in) { return in.collect_into(rows); },
        {.parallelism = parallelism, .batch_rows = 2});
  }
  Collected<std::int64_t> rows;
};

TEST_F(CollectOperator, PublishesTheRowsOfACheckpointWhenItIsComplete) {
  auto harness = make(2);
  for (const std::int64_t row : {1, 2, 3}) harness.push(row);
  const auto snapshot = harness.snapshot();
  harness.push(4);
  EXPECT_THAT(rows.rows(), IsEmpty());
  harness.committed(snapshot);
  EXPECT_THAT(rows.rows(), UnorderedElementsAre(1, 2, 3));
}

TEST_F(CollectOperator, ARestorePublishesItsCheckpointAndDropsWhatCameLater) {
  auto harness = make(2);
  for (const std::int64_t row : {1, 2, 3}) harness.push(row);
  const auto snapshot = harness.snapshot();  // complete, but the crash comes before it is told
  for (const std::int64_t row : {4, 5}) harness.push(row);
  harness.snapshot();  // never complete
  harness.restore(snapshot, 3);
  EXPECT_THAT(rows.rows(), UnorderedElementsAre(1, 2, 3));
  for (const std::int64_t row : {4, 5}) harness.push(row);
  harness.committed(harness.snapshot());
  EXPECT_THAT(rows.rows(), UnorderedElementsAre(1, 2, 3, 4, 5));
}

}  // namespace
}  // namespace levada
