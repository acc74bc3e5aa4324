// Savepoints of whole jobs on real threads and real files, and what is restored from them.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "base/file_system.h"
#include "base/random.h"
#include "checkpoint/checkpoint_reader.h"
#include "levada/levada.h"
#include "support/job_progress.h"
#include "support/memory_target.h"
#include "support/seed.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::memory_sink;
using testing::MemoryTable;
using testing::rows_of;
using testing::TargetStep;
using testing::TempDir;
using testing::wait_for_checkpoints;
using testing::wait_for_status;

std::int64_t same(std::uint64_t i) { return static_cast<std::int64_t>(i); }

std::vector<std::int64_t> numbers(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(last - first));
  std::iota(all.begin(), all.end(), first);
  return all;
}

template <class T>
std::vector<T> sorted(std::vector<T> rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

template <class F>
std::string error_of(F run) {
  try {
    run();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

// Waits until the first node has given so many rows in this attempt.
void wait_for_rows(const Job& job, std::uint64_t rows) {
  wait_for_status(job, [rows](const JobStatus& status) {
    return !status.nodes.empty() && status.nodes[0].rows_out >= rows;
  });
}

// As `rows` of another run: all that a run has read, and some more. Its splits need not have come equally far.
std::uint64_t rows_beyond(const Job& job, std::uint64_t splits) {
  return splits * job.status().nodes.at(0).rows_out + 3'000;
}

struct Copying {
  std::string directory;
  std::string name = "job";
  std::uint64_t rows = 0;
  double rate = 20'000;
  int parallelism = 1;
  ExecuteOptions execute{};
  Duration interval = 10ms;
};

// 0, 1, … into `table`, exactly once.
Job start_copying(const Copying& copying, const std::shared_ptr<MemoryTable>& table) {
  StreamEnvironment env({.parallelism = copying.parallelism,
                         .checkpoint = {.interval = copying.interval, .directory = copying.directory}});
  env.generate<std::int64_t>(same, {.rows = copying.rows, .rate = copying.rate})
      .uid("numbers")
      .sink_to(memory_sink<std::int64_t>(table))
      .uid("out");
  return env.execute_async(copying.name, copying.execute);
}

// Copies 1,000 rows or more, and stops with the savepoint "saved". Returns how many were published.
std::int64_t copy_until_saved(const TempDir& dir, const std::shared_ptr<MemoryTable>& table) {
  Job job = start_copying({.directory = dir / "jobs"}, table);
  wait_for_rows(job, 1'000);
  EXPECT_EQ(job.stop_with_savepoint(dir / "saved"), dir / "saved");
  EXPECT_EQ(job.status().state, JobState::kFinished);
  return static_cast<std::int64_t>(table->rows().size());
}

// 0, 1, … counted by key; the counts are collected.
Job start_counting(const Copying& copying, Collected<std::int64_t>& into) {
  StreamEnvironment env({.parallelism = copying.parallelism,
                         .checkpoint = {.interval = copying.interval, .directory = copying.directory}});
  env.generate<std::int64_t>(same, {.rows = copying.rows, .rate = copying.rate, .splits = 3})
      .uid("numbers")
      .map([](std::int64_t x) { return x % 10; })
      .key_by([](std::int64_t x) { return x % 10; })
      .reduce([](std::int64_t a, std::int64_t) { return a + 10; })
      .uid("counts")
      .collect_into(into)
      .uid("rows");
  return env.execute_async(copying.name, copying.execute);
}

TEST(Savepoint, IsTakenWhileTheJobGoesOnAndStartsAnotherJobAtAnotherParallelism) {
  const TempDir dir;
  Collected<std::int64_t> first;
  Job job = start_counting({.directory = dir / "jobs", .rows = 0, .parallelism = 2}, first);
  wait_for_rows(job, 500);
  EXPECT_EQ(job.savepoint(dir / "saved"), dir / "saved");
  wait_for_rows(job, job.status().nodes[0].rows_out + 500);
  job.cancel();
  EXPECT_THROW(job.wait(), JobError);
  const std::uint64_t all = rows_beyond(job, 3) / 10 * 10;
  fs::rename(dir / "saved", dir / "moved");
  fs::remove_all(dir / "jobs");

  Collected<std::int64_t> second;
  Job other = start_counting({.directory = dir / "jobs", .name = "other", .rows = all, .rate = 0,
                              .parallelism = 3, .execute = {.restore = dir / "moved"}},
                             second);
  other.wait();
  EXPECT_TRUE(other.status().restored_from.has_value());
  // Each key's counts go on where they were, up to the end.
  const std::vector<std::int64_t> rows = sorted(second.rows());
  ASSERT_FALSE(rows.empty());
  EXPECT_LT(rows.size(), all);
  std::map<std::int64_t, std::set<std::int64_t>> by_key;
  for (const std::int64_t row : rows) {
    EXPECT_TRUE(by_key[row % 10].insert(row / 10).second) << row << " twice";
  }
  for (const auto& [key, counts] : by_key) {
    EXPECT_EQ(*counts.rbegin(), static_cast<std::int64_t>(all / 10 - 1)) << key;
    EXPECT_EQ(static_cast<std::int64_t>(counts.size()), *counts.rbegin() - *counts.begin() + 1) << key;
  }
}

TEST(Savepoint, IsOneOfACheckpointThatWroteEverything) {
  const TempDir dir;
  Collected<std::int64_t> rows;
  Job job = start_counting({.directory = dir / "jobs", .parallelism = 2, .interval = 0s}, rows);
  job.savepoint(dir / "saved");
  CheckpointReader reader(local_file_system(), dir / "saved");
  reader.verify();
  EXPECT_TRUE(reader.is_savepoint());
  EXPECT_EQ(reader.manifest().job_name, "job");
  for (const SubtaskState& subtask : reader.manifest().subtasks) EXPECT_TRUE(subtask.older.empty());
  const JobStatus status = job.status();
  EXPECT_TRUE(std::any_of(status.checkpoints.begin(), status.checkpoints.end(), [&](const auto& checkpoint) {
    return checkpoint.savepoint && checkpoint.id == reader.manifest().id;
  }));
}

TEST(Savepoint, ThatStopsTheJobHasItsLastStateAndAllItsOutput) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  const std::int64_t published = copy_until_saved(dir, table);
  EXPECT_GE(published, 1'000);
  EXPECT_EQ(sorted(rows_of<std::int64_t>(*table)), numbers(0, published));
  // The same job goes on from it, in a new directory: its marker is the savepoint's.
  fs::remove_all(dir / "jobs");
  start_copying({.directory = dir / "jobs", .rows = static_cast<std::uint64_t>(published) + 5'000, .rate = 0,
                 .execute = {.restore = dir / "saved"}},
                table)
      .wait();
  EXPECT_EQ(sorted(rows_of<std::int64_t>(*table)), numbers(0, published + 5'000));
}

TEST(Savepoint, OfASourceThatIsThenGivenFewerRowsThanItReadHasNoMore) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  const std::int64_t published = copy_until_saved(dir, table);
  Job again = start_copying({.directory = dir / "jobs", .rows = 500, .rate = 0, .execute = {.restore = dir / "saved"}},
                            table);
  again.wait();
  EXPECT_EQ(sorted(rows_of<std::int64_t>(*table)), numbers(0, published));
}

TEST(Savepoint, StartsAJobOfAnotherNameUnderMarkersOfItsOwn) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  const std::int64_t published = copy_until_saved(dir, table);
  start_copying({.directory = dir / "jobs", .name = "other",
                 .rows = static_cast<std::uint64_t>(published) + 5'000, .rate = 0,
                 .execute = {.restore = dir / "saved"}},
                table)
      .wait();
  EXPECT_EQ(sorted(rows_of<std::int64_t>(*table)), numbers(0, published + 5'000));
  EXPECT_EQ(table->markers().size(), 2u);
  // And goes on alone.
  start_copying({.directory = dir / "jobs", .name = "other",
                 .rows = static_cast<std::uint64_t>(published) + 6'000, .rate = 0},
                table)
      .wait();
  EXPECT_EQ(sorted(rows_of<std::int64_t>(*table)), numbers(0, published + 6'000));
}

TEST(Savepoint, WaitsUntilTheOutputBeforeItIsPublished) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  std::atomic<bool> away{false};
  table->fault = [&](TargetStep step) {
    if (away && step == TargetStep::kBegin) throw TargetError(TargetStatus::kUnavailable, "away");
  };
  Job job = start_copying({.directory = dir / "jobs"}, table);
  wait_for_rows(job, 500);
  away = true;
  wait_for_rows(job, job.status().nodes[0].rows_out + 500);
  std::atomic<bool> taken{false};
  std::thread asking([&] {
    job.savepoint(dir / "saved");
    taken = true;
  });
  while (job.status().sinks.at(0).waiting_epochs < 1 || job.status().sinks[0].waiting_for.empty()) {
    std::this_thread::yield();
  }
  EXPECT_FALSE(taken);
  away = false;
  asking.join();
  const CheckpointReader reader(local_file_system(), dir / "saved");
  ASSERT_EQ(reader.manifest().sinks.size(), 1u);
  EXPECT_TRUE(reader.manifest().sinks[0].epochs.empty());
  EXPECT_GT(reader.manifest().sinks[0].published[0], 0u);
}

TEST(Savepoint, WhoseOutputIsNotPublishedInTimeFailsAndTheJobGoesOn) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  std::atomic<bool> away{false};
  table->fault = [&](TargetStep step) {
    if (away && step == TargetStep::kBegin) throw TargetError(TargetStatus::kUnavailable, "away");
  };
  StreamEnvironment env({.checkpoint = {.interval = 10ms, .directory = dir / "jobs", .timeout = 2s}});
  env.generate<std::int64_t>(same, {.rate = 20'000})
      .uid("numbers")
      .sink_to(memory_sink<std::int64_t>(table))
      .uid("out");
  Job job = env.execute_async("job");
  wait_for_rows(job, 500);
  away = true;
  wait_for_rows(job, job.status().nodes[0].rows_out + 500);
  // The time is the checkpoint's, too.
  const auto error = [&] { return error_of([&] { job.savepoint(dir / "saved"); }); };
  std::string refused = error();
  for (int i = 0; i < 20 && refused.find("longer than its timeout") != std::string::npos; ++i) refused = error();
  EXPECT_THAT(refused, HasSubstr("not published yet"));
  away = false;
  wait_for_status(job, [](const JobStatus& status) { return status.sinks.at(0).waiting_epochs == 0; });
  for (int i = 0; i < 20 && !refused.empty(); ++i) refused = error();
  EXPECT_EQ(refused, "");
  EXPECT_EQ(CheckpointReader(local_file_system(), dir / "saved").manifest().job_name, "job");
}

struct Reading {
  std::int64_t key = 0;
  Timestamp at;
};
LEVADA_RECORD(Reading, key, at)
struct Total {
  std::int64_t key = 0;
  Timestamp start;
  std::int64_t count = 0;
  auto operator<=>(const Total&) const = default;
};
LEVADA_RECORD(Total, key, start, count)

// Windows of an hour over `rows` readings of one second, or without end for 0: none ends by itself before the input does.
Job start_windows(const std::string& directory, const std::string& restore, std::uint64_t rows, double rate,
                  Collected<Total>& into) {
  StreamEnvironment env({.parallelism = 2, .checkpoint = {.interval = 10ms, .directory = directory}});
  env.generate<Reading>(
         [](std::uint64_t i) {
           return Reading{same(i) % 7, Timestamp{Duration{same(i)}}};
         },
         {.rows = rows, .rate = rate, .splits = 2}, event_time(&Reading::at))
      .uid("readings")
      .key_by(&Reading::key)
      .window(tumbling(1h))
      .aggregate(key().as(&Total::key), window_start().as(&Total::start), count().as(&Total::count))
      .uid("totals")
      .collect_into(into)
      .uid("rows");
  return env.execute_async("windows", {.restore = restore});
}

// The rows in all windows that have fired.
std::uint64_t counted(const Collected<Total>& windows) {
  std::uint64_t rows = 0;
  for (const Total& total : windows.rows()) rows += static_cast<std::uint64_t>(total.count);
  return rows;
}

TEST(Savepoint, KeepsOpenWindowsWhenTheJobStops) {
  const TempDir dir;
  Collected<Total> rows;
  Job job = start_windows(dir / "first", {}, 0, 2'000, rows);
  wait_for_rows(job, 500);
  job.stop_with_savepoint(dir / "saved");
  EXPECT_TRUE(rows.rows().empty());
  const std::uint64_t all = rows_beyond(job, 2);
  start_windows(dir / "second", dir / "saved", all, 0, rows).wait();
  EXPECT_EQ(rows.rows().size(), 7u);
  EXPECT_EQ(counted(rows), all);
}

TEST(Savepoint, FiresOpenWindowsWhenTheJobStopsAndDrains) {
  const TempDir dir;
  Collected<Total> rows;
  Job job = start_windows(dir / "first", {}, 0, 2'000, rows);
  wait_for_rows(job, 500);
  job.stop_with_savepoint(dir / "saved", {.drain = true});
  EXPECT_EQ(rows.rows().size(), 7u);
  EXPECT_GE(counted(rows), 500u);
  EXPECT_EQ(counted(rows), job.status().nodes[0].rows_out);
  const std::uint64_t all = rows_beyond(job, 2);
  // A job that is resumed all the same finds no windows: they open anew, for the rows that come now.
  start_windows(dir / "second", dir / "saved", all, 0, rows).wait();
  EXPECT_EQ(rows.rows().size(), 14u);
  EXPECT_EQ(counted(rows), all);
}

TEST(Savepoint, ToADirectoryThatCannotBeUsedIsRefusedAtOnce) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  Job job = start_copying({.directory = dir / "jobs"}, table);
  fs::create_directories(dir / "full");
  fs::create_directories(dir / "full/thing");
  EXPECT_THAT(error_of([&] { job.savepoint(dir / "full"); }), HasSubstr("is not empty"));
  EXPECT_THAT(error_of([&] { job.stop_with_savepoint(dir / "full"); }), HasSubstr("is not empty"));
  EXPECT_THAT(error_of([&] { job.savepoint(""); }), HasSubstr("is empty"));
  EXPECT_TRUE(job.checkpoint().completed);
}

TEST(Savepoint, WinsOverNewerCheckpointsOfTheJob) {
  const TempDir dir;
  Collected<std::int64_t> first;
  Job job = start_counting({.directory = dir / "jobs", .rate = 10'000}, first);
  wait_for_rows(job, 500);
  job.savepoint(dir / "saved");
  wait_for_checkpoints(job, 2);
  wait_for_rows(job, job.status().nodes[0].rows_out + 500);
  job.request_stop();
  job.wait();
  const std::uint64_t all = rows_beyond(job, 3);
  const CheckpointReader saved(local_file_system(), dir / "saved");
  const std::uint64_t before = CheckpointReader(local_file_system(), dir / "jobs/job").manifest().id;
  EXPECT_GT(before, saved.manifest().id);

  Collected<std::int64_t> second;
  Job again = start_counting({.directory = dir / "jobs", .rows = all, .rate = 0,
                              .execute = {.restore = dir / "saved"}},
                             second);
  again.wait();
  EXPECT_EQ(again.status().restored_from, saved.manifest().id);
  EXPECT_GT(second.rows().size(), 0u);
  EXPECT_GT(CheckpointReader(local_file_system(), dir / "jobs/job").manifest().id, before);
  // Without the path the newest counts again.
  Collected<std::int64_t> third;
  start_counting({.directory = dir / "jobs", .rows = all, .rate = 0}, third).wait();
  EXPECT_TRUE(third.rows().empty());
}

TEST(Savepoint, OlderThanWhatASinkShowsIsRefusedUntilANewGeneration) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  Job job = start_copying({.directory = dir / "jobs"}, table);
  wait_for_rows(job, 1'000);
  job.savepoint(dir / "saved");
  wait_for_rows(job, job.status().nodes[0].rows_out + 2'000);
  job.request_stop();
  job.wait();
  const std::size_t published = table->rows().size();
  Copying again{.directory = dir / "jobs", .rows = published, .rate = 0,
                .execute = {.restore = dir / "saved"}};
  try {
    start_copying(again, table).wait();
    FAIL();
  } catch (const JobError& error) {
    EXPECT_EQ(error.code(), JobErrorCode::kSinkAhead);
  }
  EXPECT_EQ(table->rows().size(), published);
  again.execute.new_sink_generation = true;
  start_copying(again, table).wait();
  EXPECT_GT(table->rows().size(), published) << "some twice, as was asked for";
}

TEST(Savepoint, WithStateOfStepsThatAreGoneIsRefusedAndEachIsNamed) {
  const TempDir dir;
  Collected<std::int64_t> rows;
  Job job = start_counting({.directory = dir / "jobs"}, rows);
  wait_for_rows(job, 500);
  job.stop_with_savepoint(dir / "saved");
  const auto run = [&](bool allow) {
    StreamEnvironment env({.checkpoint = {.directory = dir / "other"}});
    env.generate<std::int64_t>(same, {.rows = 100}).uid("new numbers").discard().uid("out");
    env.execute("job", {.restore = dir / "saved", .allow_non_restored_state = allow});
  };
  EXPECT_THAT(error_of([&] { run(false); }),
              AllOf(HasSubstr("'numbers': the graph has no step with that uid, which was generate"),
                    HasSubstr("'counts': the graph has no step with that uid, which was reduce"),
                    HasSubstr("allow_non_restored_state")));
  run(true);
  const CheckpointReader after(local_file_system(), dir / "other/job");
  for (const NodeState& node : after.manifest().nodes) EXPECT_EQ(node.uid, "new numbers");
}

TEST(Savepoint, IsNeverReferredToAndStaysUnlessItIsClaimed) {
  const TempDir dir;
  Collected<Total> rows;
  Job job = start_windows(dir / "first", {}, 0, 2'000, rows);
  wait_for_rows(job, 500);
  job.stop_with_savepoint(dir / "saved");
  std::uint64_t all = rows_beyond(job, 2);
  fs::copy(dir / "saved", dir / "claimed", fs::copy_options::recursive);
  {
    Job next = start_windows(dir / "second", dir / "saved", 0, 1'000, rows);
    next.checkpoint();
    EXPECT_TRUE(fs::exists(dir / "saved/state"));
    fs::remove_all(dir / "saved");
    next.cancel();
    EXPECT_THROW(next.wait(), JobError);
    all += rows_beyond(next, 2);
  }
  {
    StreamEnvironment env({.parallelism = 2, .checkpoint = {.interval = 10ms, .directory = dir / "third"}});
    env.generate<std::int64_t>(same, {.rate = 100}).uid("numbers").discard().uid("out");
    Job next = env.execute_async("windows", {.restore = dir / "claimed", .allow_non_restored_state = true,
                                             .claim = true});
    next.checkpoint();
    while (fs::exists(dir / "claimed")) std::this_thread::yield();
  }
  start_windows(dir / "second", {}, all, 0, rows).wait();
  EXPECT_EQ(counted(rows), all);
}

TEST(RetainedCheckpoint, CanBeRestoredByItsPathAndNotBeClaimedByAnother) {
  const TempDir dir;
  Collected<std::int64_t> rows;
  std::string path;
  {
    Job job = start_counting({.directory = dir / "jobs", .interval = 0s}, rows);
    wait_for_rows(job, 500);
    path = job.checkpoint().path;
    job.cancel();
  }
  Collected<std::int64_t> second;
  Copying other{.directory = dir / "jobs", .name = "other", .rows = 3'000, .rate = 0,
                .execute = {.restore = path, .claim = true}};
  EXPECT_THAT(error_of([&] { start_counting(other, second).wait(); }), HasSubstr("can be claimed"));
  other.execute.claim = false;
  Job job = start_counting(other, second);
  job.wait();
  EXPECT_TRUE(job.status().restored_from.has_value());
  EXPECT_TRUE(fs::exists(path));
}

TEST(RetainedCheckpoint, WithOutputThatWaitsIsOnlyRestoredByItsOwnJob) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  std::atomic<bool> away{false};
  table->fault = [&](TargetStep step) {
    if (away && step == TargetStep::kBegin) throw TargetError(TargetStatus::kUnavailable, "away");
  };
  std::string path;
  std::uint64_t all = 0;
  {
    Job job = start_copying({.directory = dir / "jobs", .interval = 0s}, table);
    wait_for_rows(job, 500);
    away = true;
    const std::uint64_t seen = job.status().nodes[0].rows_out;
    wait_for_rows(job, seen + 500);
    path = job.checkpoint().path;
    job.cancel();
    EXPECT_THROW(job.wait(), JobError);
    all = rows_beyond(job, 1);
  }
  away = false;
  Copying other{.directory = dir / "jobs", .name = "other", .rows = all, .rate = 0,
                .execute = {.restore = path}};
  EXPECT_THAT(error_of([&] { start_copying(other, table).wait(); }),
              AllOf(HasSubstr("not published yet"), HasSubstr("savepoint")));
  Copying own{.directory = dir / "jobs", .rows = all, .rate = 0, .execute = {.restore = path}};
  start_copying(own, table).wait();
  EXPECT_EQ(sorted(rows_of<std::int64_t>(*table)), numbers(0, static_cast<std::int64_t>(all)));
}

TEST(Restore, OfAPathThatIsNotThereFailsAtTheStart) {
  const TempDir dir;
  Collected<std::int64_t> rows;
  EXPECT_THAT(error_of([&] {
                start_counting({.directory = dir / "jobs", .execute = {.restore = dir / "nowhere"}}, rows).wait();
              }),
              HasSubstr("there is no checkpoint or savepoint"));
}

TEST(Restore, ByPathWorksWithoutCheckpoints) {
  const TempDir dir;
  Collected<std::int64_t> rows;
  Job job = start_counting({.directory = dir / "jobs"}, rows);
  wait_for_rows(job, 500);
  job.stop_with_savepoint(dir / "saved");
  const std::size_t before = rows.rows().size();
  const std::uint64_t all = rows_beyond(job, 3);
  Collected<std::int64_t> rest;
  StreamEnvironment env;
  env.generate<std::int64_t>(same, {.rows = all, .splits = 3})
      .uid("numbers")
      .map([](std::int64_t x) { return x % 10; })
      .key_by([](std::int64_t x) { return x % 10; })
      .reduce([](std::int64_t a, std::int64_t) { return a + 10; })
      .uid("counts")
      .collect_into(rest)
      .uid("rows");
  env.execute("without", {.restore = dir / "saved"});
  EXPECT_EQ(rest.rows().size() + before, all);
}

// From one random parallelism to another through savepoints, now under the same name, now under a new one:
// windows, sources and sinks have every row once.
TEST(Savepoint, MovesAJobThroughAnyParallelisms) {
  constexpr int kMost = 16;
  constexpr std::int64_t kKeys = 200, kWindow = 5'000;
  std::int64_t rows = 0;  // without end, but for the last run
  Random random(testing::first_seed());
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  Collected<Total> totals;
  std::string restore, name = "first";
  for (int run = 0;; ++run) {
    const bool last = run == 6;
    const int parallelism = 1 + static_cast<int>(random.below(kMost));
    if (last) rows = std::ranges::max(rows_of<std::int64_t>(*table)) + 5'000;
    SCOPED_TRACE("run " + std::to_string(run) + " at " + std::to_string(parallelism));
    StreamEnvironment env({.parallelism = parallelism,
                           .max_parallelism = kMost,
                           .checkpoint = {.interval = 5ms,
                                          .directory = dir / "jobs",
                                          .compression = static_cast<Compression>(random.below(3))},
                           .threads = {.count = 2}});
    auto readings = env.generate<Reading>(
                           [](std::uint64_t i) {
                             return Reading{same(i) * 7 % kKeys, Timestamp{Duration{same(i)}}};
                           },
                           {.rows = static_cast<std::uint64_t>(rows), .rate = last ? 0.0 : 60e3,
                            .splits = 5},
                           event_time(&Reading::at, {.bounded_out_of_orderness = 1s}))
                        .uid("readings");
    auto keyed = readings.key_by(&Reading::key);
    keyed.window(tumbling(Duration{kWindow}))
        .aggregate(key().as(&Total::key), window_start().as(&Total::start), count().as(&Total::count))
        .uid("totals")
        .collect_into(totals)
        .uid("rows");
    readings.map([](const Reading& reading) { return reading.at.time_since_epoch().count(); })
        .rebalance()
        .sink_to(memory_sink<std::int64_t>(table, 3))
        .uid("out");
    if (random.chance(0.5)) name = "run " + std::to_string(run);
    Job job = env.execute_async(name, {.restore = restore});
    if (last) {
      job.wait();
      break;
    }
    wait_for_rows(job, 1 + random.below(3'000));
    restore = job.stop_with_savepoint(dir / ("saved " + std::to_string(run)));
  }
  EXPECT_EQ(sorted(rows_of<std::int64_t>(*table)), numbers(0, rows));
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> expected;
  for (std::int64_t i = 0; i < rows; ++i) ++expected[{i * 7 % kKeys, i - i % kWindow}];
  std::vector<Total> wanted;
  for (const auto& [at, count] : expected) wanted.push_back({at.first, Timestamp{Duration{at.second}}, count});
  EXPECT_EQ(sorted(totals.rows()), sorted(wanted));
}

}  // namespace
}  // namespace levada
