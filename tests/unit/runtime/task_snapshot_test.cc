// TaskSnapshot: the background gives way to rows that wait, and comes to its end all the same.
#include "runtime/task_snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "testing/simulated_file_system.h"

namespace levada {
namespace {

// Has so many slots to scan.
class Table final : public StateTable {
 public:
  explicit Table(std::size_t slots) : slots_(slots) {}

  std::string_view name() const override { return "counts"; }
  std::string schema() const override { return "int64 -> int64"; }
  std::size_t entries() const override { return 0; }
  std::size_t memory_bytes() const override { return 0; }
  void begin_snapshot(CheckpointId, BlockSink&) override {}
  bool scan(std::size_t max_entries) override {
    most_ = std::max(most_, max_entries);
    scanned_ += max_entries;
    return scanned_ >= slots_;
  }
  void end_snapshot() override { ++ended_; }
  void abort_snapshot() override { ++aborted_; }
  void restore(const RestoredBlock&) override {}

  std::size_t slots_, scanned_ = 0, most_ = 0;
  int ended_ = 0, aborted_ = 0;
};

// Runs its jobs when it is told to.
class Queue final : public BackgroundQueue {
 public:
  void submit(std::function<void()>) override { ADD_FAILURE(); }
  void submit_limited(std::function<std::size_t()> job) override { jobs_.push_back(std::move(job)); }
  void rest() override { ++rests; }
  bool run_one() {
    if (jobs_.empty()) return false;
    const auto job = std::move(jobs_.front());
    jobs_.pop_front();
    job();
    ++runs;
    return true;
  }

  int rests = 0, runs = 0;

 private:
  std::deque<std::function<std::size_t()>> jobs_;
};

class TaskSnapshotTest : public ::testing::Test {
 protected:
  TaskSnapshotTest() { files_.create_directories("/state"); }

  std::unique_ptr<TaskSnapshot> begin(Table& table) {
    auto writer = std::make_unique<StateFileWriter>(files_, "/state", "tmp-1", [](const std::string&) { return true; });
    auto snapshot = std::make_unique<TaskSnapshot>(1, nullptr, std::move(writer), queue_, memory_, spares_,
                                                   [this](SnapshotResult result) { result_ = std::move(result); });
    snapshot->context("totals").put_table(table);
    return snapshot;
  }

  testing::SimulatedFileSystem files_;
  MemoryShare memory_{"snapshots", std::size_t{1} << 20};
  std::shared_ptr<SpareBuffers> spares_ = std::make_shared<SpareBuffers>(memory_);
  Queue queue_;
  std::optional<SnapshotResult> result_;
};

constexpr std::size_t kSlots = std::size_t{20} << 20;

TEST_F(TaskSnapshotTest, DoesNotRestWhileNoRowsWait) {
  Table table(kSlots);
  const auto snapshot = begin(table);
  snapshot->start();
  while (queue_.run_one()) {
  }
  EXPECT_EQ(queue_.rests, 0);
  ASSERT_TRUE(result_.has_value());
  EXPECT_EQ(result_->error, "");
  ASSERT_TRUE(snapshot->captured());
  snapshot->end();
  EXPECT_EQ(table.ended_, 1);
}

TEST_F(TaskSnapshotTest, RestsAfterEachShortSpanWhileRowsWait) {
  Table table(kSlots);
  const auto snapshot = begin(table);
  snapshot->start();
  snapshot->give_way(true);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(queue_.run_one());
  EXPECT_EQ(queue_.rests, 100);
  EXPECT_EQ(table.scanned_, 100 * table.most_) << "a span a step";
  EXPECT_LE(table.most_, 2048u);
  snapshot->give_way(false);
  while (queue_.run_one()) {
  }
  EXPECT_EQ(queue_.rests, 100);
  EXPECT_TRUE(snapshot->captured());
}

TEST_F(TaskSnapshotTest, EndsThoughRowsWaitForEver) {
  Table table(kSlots);
  const auto snapshot = begin(table);
  snapshot->start();
  snapshot->give_way(true);
  while (queue_.run_one()) {
    ASSERT_LT(queue_.runs, 1'000'000) << "it has no end";
  }
  EXPECT_GT(queue_.rests, 100);
  EXPECT_LT(queue_.rests, queue_.runs) << "at last it goes on without";
  ASSERT_TRUE(result_.has_value());
  EXPECT_EQ(result_->error, "");
}

TEST_F(TaskSnapshotTest, StopsAtOnceWhenItIsGivenUp) {
  Table table(kSlots);
  auto snapshot = begin(table);
  snapshot->start();
  snapshot->give_way(true);
  ASSERT_TRUE(queue_.run_one());
  snapshot.reset();
  while (queue_.run_one()) {
  }
  EXPECT_EQ(table.aborted_, 1);
  EXPECT_EQ(table.scanned_, table.most_) << "it is not looked at any more";
  EXPECT_FALSE(result_.has_value());
}

}  // namespace
}  // namespace levada
