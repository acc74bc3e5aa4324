// Checkpoints of whole jobs on real threads: on demand, their pauses, compression, limits, and what is told
// of them.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <numeric>
#include <thread>

#include "levada/levada.h"
#include "support/gated_source.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Gate;
using testing::gated_source;
using testing::TempDir;

std::int64_t same(std::uint64_t i) { return static_cast<std::int64_t>(i); }

// An endless job that counts its keys.
Job start_counting(const CheckpointOptions& checkpoint, std::int64_t keys = 100, int parallelism = 2,
                   double rate = 50'000) {
  StreamEnvironment env({.parallelism = parallelism, .checkpoint = checkpoint});
  env.generate<std::int64_t>(same, {.rate = rate, .splits = 2})
      .uid("numbers")
      .key_by([keys](std::int64_t x) { return x % keys; })
      .reduce([](std::int64_t, std::int64_t b) { return b; })
      .uid("latest")
      .discard()
      .uid("out");
  return env.execute_async("counting");
}

std::uint64_t rows_into(const Job& job, const std::string& uid) {
  for (const NodeStatus& node : job.status().nodes) {
    if (node.node == uid) return node.rows_in;
  }
  return 0;
}

template <class F>
std::string state_error_of(F run) {
  try {
    run();
  } catch (const StateError& error) {
    return error.what();
  }
  return {};
}

TEST(JobCheckpoint, ThatDoesNotFitIntoTheMemoryOfSnapshotsIsWrittenAsItGoes) {
  const TempDir dir;
  constexpr std::int64_t kKeys = 20'000;
  Collected<std::int64_t> greatest;
  const auto build = [&](StreamEnvironment& env, std::uint64_t rows) {
    env.generate<std::int64_t>(same, {.rows = rows})
        .uid("numbers")
        .key_by([](std::int64_t x) { return x % kKeys; })
        .reduce([](std::int64_t a, std::int64_t b) { return std::max(a, b); })
        .uid("greatest")
        .collect_into(greatest)
        .uid("out");
  };
  EnvironmentOptions options{.parallelism = 2, .checkpoint = {.directory = dir.path()}, .memory = 4_MiB};
  {
    StreamEnvironment env(options);
    build(env, kKeys);
    env.execute("small");  // its last checkpoint has more than the share that snapshots have of the budget
  }
  StreamEnvironment env(options);
  build(env, 2 * kKeys);
  Job job = env.execute_async("small");
  job.wait();
  EXPECT_TRUE(job.status().restored_from.has_value());
  EXPECT_EQ(greatest.rows().size(), static_cast<std::size_t>(2 * kKeys));
}

TEST(JobCheckpoint, IsTakenOnDemandAndOnlyThenWithoutAnInterval) {
  const TempDir dir;
  Job job = start_counting({.directory = dir.path()});
  const CheckpointStatus first = job.checkpoint();
  const CheckpointStatus second = job.checkpoint();
  EXPECT_TRUE(first.completed);
  EXPECT_FALSE(first.savepoint);
  EXPECT_LT(first.id, second.id);
  EXPECT_TRUE(std::filesystem::exists(second.path)) << second.path;
  const JobStatus status = job.status();
  EXPECT_EQ(status.checkpoints_completed, 2u);
  ASSERT_EQ(status.checkpoints.size(), 2u);
  EXPECT_EQ(status.checkpoints[0].id, second.id) << "the newest first";
  EXPECT_EQ(status.checkpoints[1].id, first.id);
  EXPECT_EQ(status.last_checkpoint->id, second.id);
  job.request_stop();
  job.wait();
  EXPECT_EQ(job.status().checkpoints_completed, 3u) << "and the final one";
}

TEST(JobCheckpoint, OfEachOfSeveralThreadsIsOneThatBeganAfterItWasAskedFor) {
  const TempDir dir;
  Job job = start_counting({.interval = 5ms, .directory = dir.path()});
  job.checkpoint();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&job] {
      for (int n = 0; n < 10; ++n) {
        const JobStatus before = job.status();
        const CheckpointStatus mine = job.checkpoint();
        EXPECT_TRUE(mine.completed);
        EXPECT_GT(mine.id, before.last_checkpoint->id);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(JobCheckpoint, OfAJobWithoutADirectoryIsRefused) {
  StreamEnvironment env;
  env.generate<std::int64_t>(same, {.rate = 100}).discard();
  Job job = env.execute_async("without");
  EXPECT_THAT(state_error_of([&] { job.checkpoint(); }), HasSubstr("no checkpoint.directory"));
  EXPECT_THAT(state_error_of([&] { job.savepoint("/tmp/never"); }), HasSubstr("no checkpoint.directory"));
}

TEST(JobCheckpoint, OfAJobThatHasEndedIsAJobError) {
  const TempDir dir;
  Job job = start_counting({.directory = dir.path()});
  job.checkpoint();
  job.request_stop();
  job.wait();
  try {
    job.checkpoint();
    FAIL();
  } catch (const JobError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'counting' has ended"));
  }
}

// A sink that takes no rows holds the barrier up.
TEST(JobCheckpoint, ThatWaitsWhenTheJobIsCancelledIsAJobError) {
  const TempDir dir;
  StreamEnvironment env({.checkpoint = {.directory = dir.path()}});
  std::atomic<bool> go_on{false};
  env.generate<std::int64_t>(same, {.rows = 10})
      .uid("numbers")
      .map([&](std::int64_t x) {
        while (!go_on) std::this_thread::yield();
        return x;
      })
      .discard()
      .uid("out");
  Job job = env.execute_async("held");
  std::atomic<bool> refused{false};
  std::thread asking([&] {
    try {
      job.checkpoint();
    } catch (const JobError& error) {
      refused = error.code() == JobErrorCode::kCancelled;
    }
  });
  job.cancel();
  go_on = true;
  asking.join();
  EXPECT_TRUE(refused || job.status().checkpoints_completed > 0);
}

TEST(JobCheckpoint, ThatFailsSaysWhyAndTheJobGoesOn) {
  const TempDir dir;
  Job job = start_counting({.directory = dir.path()});
  job.checkpoint();
  std::filesystem::rename(dir / "counting", dir / "away");
  EXPECT_THAT(state_error_of([&] { job.checkpoint(); }), HasSubstr(dir.path()));
  const JobStatus status = job.status();
  EXPECT_EQ(status.state, JobState::kRunning);
  EXPECT_FALSE(status.checkpoints.at(0).completed);
  EXPECT_THAT(status.checkpoints[0].error, HasSubstr(dir.path()));
  std::filesystem::rename(dir / "away", dir / "counting");
  EXPECT_TRUE(job.checkpoint().completed);
}

TEST(JobCheckpoint, ThatAHangingFunctionHoldsUpIsGivenUpAndNamesItsSubtask) {
  const TempDir dir;
  std::atomic<bool> hangs{true};
  std::atomic<bool> stands{false};
  Collected<std::int64_t> collected;
  StreamEnvironment env({.parallelism = 2, .checkpoint = {.directory = dir.path(), .timeout = 300ms}});
  env.generate<std::int64_t>(same, {.rows = 1'000})
      .uid("numbers")
      .rebalance()
      .map([&](std::int64_t x) {
        stands = stands || x == 500;
        while (x == 500 && hangs) std::this_thread::sleep_for(1ms);
        return x;
      })
      .name("stands still")
      .rebalance()
      .collect_into(collected)
      .uid("out");
  Job job = env.execute_async("hanging");
  while (!stands) std::this_thread::yield();
  const std::string error = state_error_of([&] { job.checkpoint(); });
  EXPECT_THAT(error, AllOf(HasSubstr("longer than its timeout"), HasSubstr("subtasks have not answered: "),
                           HasSubstr("within one call since it began: 'stands still' subtask ")));
  EXPECT_EQ(job.status().state, JobState::kRunning);
  hangs = false;
  job.wait();
  EXPECT_EQ(collected.rows().size(), 1'000u);
  EXPECT_EQ(job.status().restarts, 0);
}

TEST(JobCheckpoint, StaysWhenTheJobIsCancelled) {
  const TempDir dir;
  CheckpointId id = 0;
  {
    Job job = start_counting({.directory = dir.path()});
    id = job.checkpoint().id;
    job.cancel();
    EXPECT_THROW(job.wait(), JobError);
  }
  Job job = start_counting({.directory = dir.path()});
  job.checkpoint();
  EXPECT_EQ(job.status().restored_from, id);
}

TEST(JobCheckpoint, OfTheIntervalKeepsItsPause) {
  const TempDir dir;
  Job job = start_counting({.interval = 1ms, .directory = dir.path(), .min_pause = 400ms});
  while (job.status().checkpoints_completed < 4) std::this_thread::sleep_for(1ms);
  const CheckpointId asked_for = job.checkpoint().id;  // does not wait for the pause
  const JobStatus status = job.status();
  ASSERT_GE(status.checkpoints.size(), 5u);
  for (std::size_t i = 1; i < status.checkpoints.size(); ++i) {
    const CheckpointStatus& newer = status.checkpoints[i - 1];
    const CheckpointStatus& older = status.checkpoints[i];
    if (newer.id == asked_for) continue;
    // `triggered` is read a little after the duration has begun.
    EXPECT_GE(newer.triggered - (older.triggered + older.duration), Duration{380ms});
  }
}

TEST(JobCheckpoint, TellsWhatItCost) {
  const TempDir dir;
  Job job = start_counting({.directory = dir.path(), .retained = 2}, 20'000, 2, 2'000'000);
  while (job.status().nodes.empty() || job.status().nodes[0].rows_out < 60'000) std::this_thread::yield();
  const Timestamp before = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  for (std::uint32_t n = 1; n <= 3; ++n) {
    const CheckpointStatus status = job.checkpoint();
    EXPECT_GE(status.triggered, before - 1s);
    EXPECT_GT(status.duration, Duration{0});
    EXPECT_LE(status.aligned, status.duration);
    EXPECT_GT(status.synchronous, Duration{0});
    EXPECT_LE(status.synchronous, status.duration);
    EXPECT_GT(status.bytes, 20'000u * 8);
    EXPECT_GE(status.full_bytes, status.bytes);
    EXPECT_EQ(status.retained, std::min(n, 2u));
    EXPECT_EQ(status.older_files, 0u) << "a rolling reduce changes all";
  }
}

// What one input has passed on already waits for the barrier of the slow one.
TEST(JobCheckpoint, TellsHowLongInputsWereHeldBack) {
  const TempDir dir;
  StreamEnvironment env({.checkpoint = {.directory = dir.path()}, .batch_rows = 1, .threads = {.count = 2}});
  std::atomic<int> slow_rows{0};
  auto slow = env.generate<std::int64_t>(same)
                  .uid("slow source")
                  .rebalance()
                  .map([&](std::int64_t x) {
                    ++slow_rows;
                    std::this_thread::sleep_for(2ms);
                    return x;
                  })
                  .start_new_chain();
  env.generate<std::int64_t>(same, {.rate = 1'000})
      .uid("quick source")
      .union_with(slow)
      .rebalance()
      .map([](std::int64_t x) { return x; })
      .start_new_chain()
      .discard()
      .uid("out");
  Job job = env.execute_async("aligns");
  while (slow_rows < 5) std::this_thread::yield();
  const CheckpointStatus status = job.checkpoint();
  EXPECT_GT(status.aligned, Duration{0});
  EXPECT_LE(status.aligned, status.duration);
}

class CompressedCheckpoint : public ::testing::TestWithParam<Compression> {};

TEST_P(CompressedCheckpoint, RestoresAtAnotherParallelismAndIsSmaller) {
  const TempDir dir;
  Collected<std::int64_t> collected;
  const auto gate = std::make_shared<Gate>();
  gate->end_at(40'000);
  gate->open(20'000);
  for (const int parallelism : {2, 3}) {
    StreamEnvironment env({.parallelism = parallelism,
                           .checkpoint = {.directory = dir.path(), .compression = GetParam()}});
    env.from_source(gated_source<std::int64_t>(gate, same, {.splits = 3}))
        .uid("numbers")
        .map([](std::int64_t x) { return x % 10'000; })
        .key_by([](std::int64_t x) { return x % 10'000; })
        .reduce([](std::int64_t a, std::int64_t) { return a + 10'000; })
        .uid("sums")
        .filter([](std::int64_t sum) { return sum >= 30'000; })
        .collect_into(collected)
        .uid("rows");
    Job job = env.execute_async("compressed");
    if (parallelism == 2) {
      while (rows_into(job, "sums") < 20'000) std::this_thread::yield();
      const CheckpointStatus status = job.checkpoint();
      if (GetParam() == Compression::kNone) {
        EXPECT_GT(status.bytes, 160'000u);
      } else {
        EXPECT_LT(status.bytes, 120'000u);
      }
      job.request_stop();
    }
    job.wait();
    gate->open(40'000);
  }
  std::vector<std::int64_t> rows = collected.rows();
  std::sort(rows.begin(), rows.end());
  std::vector<std::int64_t> expected(10'000);
  std::iota(expected.begin(), expected.end(), 30'000);
  EXPECT_EQ(rows, expected) << "each key has its fourth row once";
}

INSTANTIATE_TEST_SUITE_P(All, CompressedCheckpoint,
                         ::testing::Values(Compression::kNone, Compression::kLz4, Compression::kZstd),
                         [](const auto& of) {
                           return of.param == Compression::kNone   ? "None"
                                  : of.param == Compression::kLz4 ? "Lz4"
                                                                  : "Zstd";
                         });

TEST(JobCheckpoint, IsWrittenNoFasterThanTheLimit) {
  const TempDir dir;
  Job job = start_counting({.directory = dir.path(), .bytes_per_second = 1'000'000}, 20'000, 1, 2'000'000);
  while (job.status().nodes.empty() || job.status().nodes[0].rows_out < 60'000) std::this_thread::yield();
  const CheckpointStatus status = job.checkpoint();
  EXPECT_GT(status.bytes, 300'000u);
  const auto least = std::chrono::microseconds{status.bytes} - 150ms;  // what may come at once
  EXPECT_GT(status.duration, least);
  job.cancel();  // waits for no limit
}

}  // namespace
}  // namespace levada
