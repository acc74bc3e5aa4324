// Whole jobs on threads with state in RocksDB, on a budget that holds a part of it, stopped and started again
// at another parallelism from files of the machine.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <string>

#include "levada/levada.h"
#include "levada/rocksdb.h"
#include "support/rows.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using testing::Row;

struct Sum {
  std::int64_t key = 0, count = 0, total = 0;
};
LEVADA_RECORD(Sum, key, count, total)

struct Total {
  std::int64_t key = 0;
  Timestamp start;
  std::int64_t count = 0, total = 0;
};
LEVADA_RECORD(Total, key, start, count, total)

constexpr std::int64_t kRows = 150'000;
constexpr std::int64_t kKeys = 60'000;
constexpr std::int64_t kSize = 60'000'000;

Row make_row(std::uint64_t i) { return testing::row_of(i, kKeys, 0); }

EnvironmentOptions options_in(const testing::TempDir& directory, int parallelism) {
  return {.parallelism = parallelism,
          .checkpoint = {.interval = 20ms, .directory = directory / "checkpoints"},
          .state = rocksdb::state({.directory = directory / "cold"}),
          .memory = 4_MiB,
          .log = [](LogLevel level, std::string_view message) {
            EXPECT_LT(level, LogLevel::kWarning) << message;
          }};
}

auto rows_of(StreamEnvironment& env) {
  return env
      .generate<Row>(make_row, {.rows = kRows, .rate = 250'000, .splits = 2},
                     event_time(&Row::at, {.bounded_out_of_orderness = 1ms}))
      .uid("rows")
      .key_by(&Row::key);
}

// Starts the job again and again, each time at another parallelism, and stops it in between.
template <class Build>
void run_in_parts(const testing::TempDir& directory, Build build) {
  std::uint64_t restores = 0;
  for (const int parallelism : {2, 2, 3, 1, 2}) {
    StreamEnvironment env(options_in(directory, parallelism));
    build(env);
    Job job = env.execute_async("cold");
    if (parallelism == 2 && restores == 3) {
      job.wait();
      EXPECT_TRUE(job.status().restored_from.has_value());
      return;
    }
    while (job.status().checkpoints_completed < 4 && !job.wait_for(1ms)) {
    }
    job.request_stop();
    job.wait();
    restores += job.status().restored_from.has_value();
  }
  FAIL() << "the job did not go on from its checkpoints";
}

TEST(RocksDbJob, CountsEveryRowOnceThroughStopsAndRescales) {
  const testing::TempDir directory;
  Collected<Sum> collected;
  run_in_parts(directory, [&](StreamEnvironment& env) {
    rows_of(env)
        .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
        .uid("sums")
        .collect_into(collected)
        .uid("out");
  });
  ASSERT_EQ(collected.rows().size(), static_cast<std::size_t>(kRows));
  std::map<std::int64_t, Sum> last, expected;
  for (const Sum& row : collected.rows()) {
    Sum& known = last[row.key];
    ASSERT_EQ(row.count, known.count + 1) << row.key;
    known = row;
  }
  for (std::int64_t i = 0; i < kRows; ++i) {
    const Row row = make_row(static_cast<std::uint64_t>(i));
    ++expected[row.key].count;
    expected[row.key].total += row.value;
  }
  ASSERT_EQ(last.size(), expected.size());
  for (const auto& [key, sum] : expected) {
    ASSERT_EQ(last[key].count, sum.count);
    ASSERT_EQ(last[key].total, sum.total);
  }
  // It is a cache: nothing of it is left.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory / "cold")) {
    EXPECT_FALSE(entry.path().extension() == ".sst") << entry.path();
  }
}

TEST(RocksDbJob, FiresWindowsWithAllTheirRowsThroughStopsAndRescales) {
  const testing::TempDir directory;
  Collected<Total> collected;
  run_in_parts(directory, [&](StreamEnvironment& env) {
    rows_of(env)
        .window(tumbling(Duration{kSize}))
        .aggregate(key().as(&Total::key), window_start().as(&Total::start), count().as(&Total::count),
                   sum(&Row::value).as(&Total::total))
        .uid("totals")
        .collect_into(collected)
        .uid("out");
  });
  std::map<std::pair<std::int64_t, std::int64_t>, std::array<std::int64_t, 2>> totals, expected;
  for (const Total& row : collected.rows()) {
    ASSERT_TRUE(totals
                    .emplace(std::pair{row.key, row.start.time_since_epoch().count()},
                             std::array<std::int64_t, 2>{row.count, row.total})
                    .second);
  }
  for (std::int64_t i = 0; i < kRows; ++i) {
    const Row row = make_row(static_cast<std::uint64_t>(i));
    const std::int64_t time = row.at.time_since_epoch().count();
    auto& [count, total] = expected[{row.key, time - time % kSize}];
    ++count;
    total += row.value;
  }
  ASSERT_EQ(totals, expected);
}

TEST(RocksDbJob, SaysThatStateInMemoryCannotReadItsCheckpoint) {
  const testing::TempDir directory;
  Collected<Sum> collected;
  const auto build = [&](StreamEnvironment& env) {
    rows_of(env)
        .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
        .uid("sums")
        .collect_into(collected)
        .uid("out");
  };
  {
    StreamEnvironment env(options_in(directory, 1));
    build(env);
    Job job = env.execute_async("cold");
    while (job.status().checkpoints_completed < 3 && !job.wait_for(1ms)) {
    }
    job.request_stop();
    job.wait();
  }
  EnvironmentOptions options = options_in(directory, 1);
  options.state = memory_state();
  options.memory = 64_MiB;
  options.restart = no_restart();
  options.log = {};
  StreamEnvironment env(options);
  build(env);
  try {
    env.execute("cold");
    FAIL() << "state was lost silently";
  } catch (const JobError& error) {
    EXPECT_NE(std::string(error.what()).find("cold tier"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace levada
