// Whole jobs with exactly-once sinks, on real threads and real files, into a table in memory.
#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <numeric>
#include <set>
#include <thread>

#include <time.h>

#include "levada/levada.h"
#include "support/gated_source.h"
#include "support/job_progress.h"
#include "support/memory_target.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::Gate;
using testing::gated_source;
using testing::memory_sink;
using testing::MemoryTable;
using testing::PlannedFailures;
using testing::rows_of;
using testing::TargetStep;
using testing::TempDir;
using testing::wait_for_checkpoints;
using testing::wait_for_status;
using testing::wait_until;

std::int64_t same(std::uint64_t i) { return static_cast<std::int64_t>(i); }

std::vector<std::int64_t> numbers(std::int64_t count) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::vector<std::int64_t> sorted_rows(const MemoryTable& table) {
  std::vector<std::int64_t> rows = rows_of<std::int64_t>(table);
  std::sort(rows.begin(), rows.end());
  return rows;
}

EnvironmentOptions options_in(const TempDir& dir, int parallelism = 1) {
  return {.parallelism = parallelism,
          .checkpoint = {.interval = 10ms, .directory = dir.path()},
          .restart = fixed_delay({.attempts = 20, .delay = 1ms})};
}

JobError job_error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const JobError& error) {
    return error;
  }
  ADD_FAILURE() << "no JobError was thrown";
  return JobError(JobErrorCode::kUserCode, "", -1, "");
}

// numbers 0 … rows − 1 into `table`.
void run_numbers(const EnvironmentOptions& options, std::shared_ptr<MemoryTable> table,
                 std::int64_t rows, int shards = 1, const ExecuteOptions& execute = {}) {
  StreamEnvironment env(options);
  env.generate<std::int64_t>(same, {.rows = static_cast<std::uint64_t>(rows), .rate = 100'000})
      .uid("numbers")
      .rebalance()
      .sink_to(memory_sink<std::int64_t>(std::move(table), shards))
      .uid("out");
  env.execute("job", execute);
}

// No transaction begins as long as `away` is true.
std::function<void(TargetStep)> unavailable_while(const std::atomic<bool>& away) {
  return [&away](TargetStep at) {
    if (away && at == TargetStep::kBegin) throw TargetError(TargetStatus::kUnavailable, "away");
  };
}

// Numbers as they are; f(), if there is one, is called once, at the first one that any attempt sees.
auto with_first_row(std::function<void()> f) {
  return [f = std::move(f), begun = std::make_shared<std::atomic<bool>>()](std::int64_t x) {
    if (f && !begun->exchange(true)) f();
    return x;
  };
}

TEST(ExactlyOnce, WritesEveryRowOnceThroughRestartsWithinTheProcess) {
  for (const int parallelism : {1, 2}) {
    for (const int shards : {1, 2}) {
      const TempDir dir;
      const auto table = std::make_shared<MemoryTable>();
      PlannedFailures failures;
      const auto gate = std::make_shared<Gate>();
      StreamEnvironment env(options_in(dir, parallelism));
      env.from_source(gated_source<std::int64_t>(gate, same, {.rate = 100'000}))
          .uid("numbers")
          .map([&failures](std::int64_t x) {
            failures.throw_if_due();
            return x;
          })
          .rebalance()
          .sink_to(memory_sink<std::int64_t>(table, shards))
          .uid("out");
      Job job = env.execute_async("job");
      for (const int checkpoints : {2, 0, 4, 4}) {
        wait_for_checkpoints(job, checkpoints);
        failures.cause(job);
      }
      const int commits = table->commits();
      wait_until([&] { return table->commits() > commits; });
      const std::uint64_t rows = gate->end_after(2'000);
      job.wait();
      EXPECT_EQ(job.status().restarts, 4);
      EXPECT_EQ(sorted_rows(*table), numbers(static_cast<std::int64_t>(rows))) << parallelism << " " << shards;
      EXPECT_GT(table->commits(), shards + 2);
    }
  }
}

TEST(ExactlyOnce, GoesOnWhereAStoppedJobEnded) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  const auto run = [&](int parallelism, bool stop, std::uint64_t rows) {
    StreamEnvironment env(options_in(dir, parallelism));
    env.generate<std::int64_t>(same, {.rows = rows, .rate = stop ? 50'000.0 : 0})
        .uid("numbers")
        .sink_to(memory_sink<std::int64_t>(table))
        .uid("out");
    Job job = env.execute_async("job");
    if (stop) {
      wait_until([&] { return !table->rows().empty(); });
      job.request_stop();
    }
    job.wait();
    EXPECT_EQ(job.status().sinks.at(0).waiting_epochs, 0u);
  };
  run(2, true, 0);  // without end
  const std::size_t before = table->rows().size();
  EXPECT_EQ(sorted_rows(*table), numbers(static_cast<std::int64_t>(before)));
  run(3, false, before + 5'000);
  EXPECT_EQ(sorted_rows(*table), numbers(static_cast<std::int64_t>(before + 5'000)));
}

TEST(ExactlyOnce, HoldsForEachOfSeveralSinks) {
  const TempDir dir;
  const auto all = std::make_shared<MemoryTable>();
  const auto even = std::make_shared<MemoryTable>();
  PlannedFailures failures;
  const auto gate = std::make_shared<Gate>();
  StreamEnvironment env(options_in(dir, 2));
  auto rows = env.from_source(gated_source<std::int64_t>(gate, same, {.rate = 100'000}))
                  .uid("numbers")
                  .map([&failures](std::int64_t x) {
                    failures.throw_if_due();
                    return x;
                  });
  rows.sink_to(memory_sink<std::int64_t>(all)).uid("all");
  rows.filter([](std::int64_t x) { return x % 2 == 0; })
      .sink_to(memory_sink<std::int64_t>(even))
      .uid("even");
  Job job = env.execute_async("job");
  wait_for_checkpoints(job, 5);
  failures.cause(job);
  const std::uint64_t count = gate->end_after(9'000);
  job.wait();
  const std::vector<std::int64_t> expected = numbers(static_cast<std::int64_t>(count));
  EXPECT_EQ(sorted_rows(*all), expected);
  const std::vector<std::int64_t> evens = sorted_rows(*even);
  EXPECT_EQ(evens.size(), (count + 1) / 2);
  EXPECT_EQ(std::set<std::int64_t>(evens.begin(), evens.end()).size(), evens.size());
}

TEST(ExactlyOnce, AsksTheMarkerAfterEveryUnknownCommit) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  std::atomic<int> step{0};
  table->fault = [&step](TargetStep at) {
    const bool commit = at == TargetStep::kCommit || at == TargetStep::kCommitted;
    if (commit && step.fetch_add(1) % 5 == 1) {
      throw TargetError(TargetStatus::kUnavailable, "connection lost");
    }
  };
  run_numbers(options_in(dir), table, 5'000);
  EXPECT_EQ(sorted_rows(*table), numbers(5'000));
}

TEST(ExactlyOnce, RefusesAMarkerAheadOfTheNewestCheckpointUntilANewGeneration) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  run_numbers(options_in(dir), table, 1'000);
  std::filesystem::remove_all(dir / "job");
  const JobError error =
      job_error_of([&] { run_numbers(options_in(dir), table, 1'000); });
  EXPECT_EQ(error.code(), JobErrorCode::kSinkAhead);
  EXPECT_EQ(error.node(), "out");
  EXPECT_EQ(table->rows().size(), 1'000u);
  run_numbers(options_in(dir), table, 1'000, 1, {.new_sink_generation = true});
  EXPECT_EQ(table->rows().size(), 2'000u);
}

TEST(ExactlyOnce, RefusesACheckpointFromBeforeANewGeneration) {
  for (const int shards : {1, 2}) {
    const TempDir dir;
    const auto table = std::make_shared<MemoryTable>();
    run_numbers(options_in(dir), table, 1'000, shards);
    std::filesystem::copy(dir / "job", dir / "kept", std::filesystem::copy_options::recursive);
    run_numbers(options_in(dir), table, 2'000, shards, {.new_sink_generation = true});
    EXPECT_EQ(sorted_rows(*table), numbers(2'000));  // all was published, so nothing came twice
    std::filesystem::remove_all(dir / "job");
    std::filesystem::copy(dir / "kept", dir / "job", std::filesystem::copy_options::recursive);
    const JobError error = job_error_of([&] { run_numbers(options_in(dir), table, 2'000, shards); });
    EXPECT_THAT(error.code(), AnyOf(JobErrorCode::kSinkAhead, JobErrorCode::kFenced)) << error.what();
    EXPECT_EQ(table->rows().size(), 2'000u);
    // A generation after that knows of the one before, whatever its directory says.
    run_numbers(options_in(dir), table, 3'000, shards, {.new_sink_generation = true});
    EXPECT_EQ(table->rows().size(), 4'000u);
  }
}

// Although that start begins with an older checkpoint, from elsewhere, which knows nothing of it.
TEST(ExactlyOnce, RefusesTheGenerationBeforeTheNewest) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  const auto copy = [&](const char* from, const char* to) {
    std::filesystem::remove_all(dir / to);
    std::filesystem::copy(dir / from, dir / to, std::filesystem::copy_options::recursive);
  };
  run_numbers(options_in(dir), table, 1'000);
  copy("job", "first");
  run_numbers(options_in(dir), table, 2'000, 1, {.new_sink_generation = true});
  copy("job", "second");
  std::filesystem::path newest;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "first")) {
    if (entry.path().filename().string().starts_with("manifest-")) newest = std::max(newest, entry.path());
  }
  run_numbers(options_in(dir), table, 3'000, 1, {.restore = newest.string(), .new_sink_generation = true});
  EXPECT_EQ(table->rows().size(), 4'000u);
  copy("second", "job");
  const JobError error = job_error_of([&] { run_numbers(options_in(dir), table, 3'000); });
  EXPECT_THAT(error.code(), AnyOf(JobErrorCode::kSinkAhead, JobErrorCode::kFenced)) << error.what();
  EXPECT_EQ(table->rows().size(), 4'000u);
}

// It may know of a generation that a later start could go back to.
TEST(ExactlyOnce, BeginsNoGenerationOverACheckpointThatCannotBeRead) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  run_numbers(options_in(dir), table, 1'000);
  run_numbers(options_in(dir), table, 2'000);
  std::vector<std::string> manifests;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "job")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("manifest-")) manifests.push_back(entry.path().string());
  }
  ASSERT_EQ(manifests.size(), 2u);
  const std::string older = *std::min_element(manifests.begin(), manifests.end());
  std::filesystem::resize_file(older, std::filesystem::file_size(older) / 2);
  const auto markers = table->markers();
  const JobError error =
      job_error_of([&] { run_numbers(options_in(dir), table, 3'000, 1, {.new_sink_generation = true}); });
  EXPECT_EQ(error.code(), JobErrorCode::kState);
  EXPECT_THAT(error.what(), AllOf(HasSubstr(older), HasSubstr("take it away")));
  EXPECT_EQ(table->markers(), markers);
  std::filesystem::remove(older);
  run_numbers(options_in(dir), table, 3'000, 1, {.new_sink_generation = true});
  EXPECT_EQ(sorted_rows(*table), numbers(3'000));
}

// It could not be read when the process started, and is of a start with fewer sinks.
TEST(ExactlyOnce, RefusesACheckpointOfOtherSinksThatCanBeReadAgain) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  const auto more = std::make_shared<MemoryTable>();
  std::atomic<bool> away{false};
  table->fault = unavailable_while(away);
  const auto start = [&](bool two, std::function<void()> at_the_first_row) {
    StreamEnvironment env(options_in(dir));
    auto rows = env.generate<std::int64_t>(same, {.rate = 10'000})
                    .uid("numbers")
                    .map(with_first_row(std::move(at_the_first_row)));
    rows.sink_to(memory_sink<std::int64_t>(table)).uid("out");
    if (two) rows.sink_to(memory_sink<std::int64_t>(more)).uid("more");
    return env.execute_async("job");
  };
  {
    Job job = start(false, {});
    while (job.status().checkpoints_completed < 2) std::this_thread::yield();
    away = true;
    const std::uint64_t enough = job.status().checkpoints_completed + 3;
    while (job.status().checkpoints_completed < enough) std::this_thread::yield();
    job.cancel();
    EXPECT_THROW(job.wait(), JobError);
  }
  away = false;
  std::filesystem::path newest;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "job")) {
    if (entry.path().filename().string().starts_with("manifest-")) newest = std::max(newest, entry.path());
  }
  const std::filesystem::path kept = dir / "kept";
  std::filesystem::copy_file(newest, kept);
  std::filesystem::resize_file(newest, std::filesystem::file_size(newest) / 2);
  Job job = start(true, [&] {
    std::filesystem::copy_file(kept, newest, std::filesystem::copy_options::overwrite_existing);
    throw std::runtime_error("planned");
  });
  const JobError error = job_error_of([&] { job.wait(); });
  EXPECT_EQ(error.code(), JobErrorCode::kSinkAhead);
  EXPECT_EQ(error.node(), "more");
}

// The newest of those names only what was not published when it was taken.
TEST(ExactlyOnce, PublishesWhatCheckpointsNameThatCanBeReadAgainAlthoughTheTargetWentBack) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  const auto start = [&](std::uint64_t rows, double rate, std::function<void()> at_the_first_row) {
    EnvironmentOptions options = options_in(dir);
    options.checkpoint.interval = Duration{0};
    options.checkpoint.retained = 3;
    StreamEnvironment env(options);
    env.generate<std::int64_t>(same, {.rows = rows, .rate = rate})
        .uid("numbers")
        .map(with_first_row(std::move(at_the_first_row)))
        .sink_to(memory_sink<std::int64_t>(table))
        .uid("out");
    return env.execute_async("job");
  };
  std::vector<std::string> manifests;
  std::uint64_t rows = 0;
  {
    Job job = start(0, 2'000, {});  // without end
    const auto rows_in = [&] {
      const std::vector<NodeStatus> nodes = job.status().nodes;
      return nodes.empty() ? 0 : nodes.back().rows_in;
    };
    while (manifests.size() < 3) {
      const std::uint64_t before = rows_in();
      wait_until([&] { return rows_in() > before; });
      const std::size_t published = table->rows().size();
      manifests.push_back(job.checkpoint().path);
      wait_until([&] { return table->rows().size() > published; });
    }
    job.cancel();
    EXPECT_THROW(job.wait(), JobError);
    rows = rows_in() + 10'000;
  }
  table->lose_all_rows();
  for (const std::string& path : {manifests[1], manifests[2]}) {
    std::filesystem::copy_file(path, path + ".kept");
    std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  }
  Job job = start(rows, 0, [&] {
    for (const std::string& path : {manifests[1], manifests[2]}) {
      std::filesystem::copy_file(path + ".kept", path, std::filesystem::copy_options::overwrite_existing);
    }
    throw std::runtime_error("planned");
  });
  job.wait();
  EXPECT_EQ(job.status().restarts, 1);
  EXPECT_EQ(sorted_rows(*table), numbers(static_cast<std::int64_t>(rows)));
}

// Once the first checkpoint of a start has taken the place of one before, nothing of that is left.
TEST(ExactlyOnce, SaysThatTheTargetWentBackBehindWhatCheckpointsHave) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  std::atomic<bool> away{false};
  table->fault = unavailable_while(away);
  const auto start = [&] {
    EnvironmentOptions options = options_in(dir);
    options.checkpoint.interval = Duration{0};
    StreamEnvironment env(options);
    env.generate<std::int64_t>(same, {.rate = 2'000})
        .uid("numbers")
        .sink_to(memory_sink<std::int64_t>(table))
        .uid("out");
    return env.execute_async("job");
  };
  const MemoryTable::Key key{"job", "out", 0};
  const auto wait_for_rows = [](const Job& job) {
    const auto rows_in = [](const JobStatus& status) {
      return status.nodes.empty() ? 0 : status.nodes.back().rows_in;
    };
    const std::uint64_t before = rows_in(job.status());
    wait_for_status(job, [&](const JobStatus& status) { return rows_in(status) > before; });
  };
  std::string older;
  std::vector<CheckpointId> published;
  {
    Job job = start();
    for (int i = 0; i < 3; ++i) {
      wait_for_rows(job);
      const std::size_t rows = table->rows().size();
      const std::string path = job.checkpoint().path;
      if (i == 1) older = path;
      wait_until([&] { return table->rows().size() > rows; });
      published.push_back(table->markers().at(key).epoch);
    }
    job.cancel();
    EXPECT_THROW(job.wait(), JobError);
  }
  Job job = start();
  wait_for_rows(job);
  away = true;
  job.checkpoint();
  wait_until([&] { return !std::filesystem::exists(older); });
  EpochMarker marker = table->markers().at(key);
  ASSERT_EQ(marker.epoch, published[2]);
  marker.epoch = published[0];
  table->set_marker(key, marker);
  away = false;
  const JobError error = job_error_of([&] { job.wait(); });
  EXPECT_EQ(error.code(), JobErrorCode::kEpochLogLost);
  EXPECT_THAT(error.what(), HasSubstr("went back to epoch " + std::to_string(published[0])));
}

// The path is that of the job's own directory, where another checkpoint of an earlier start turns up.
TEST(ExactlyOnce, RestoresTheSameCheckpointOfAPathWithEveryAttempt) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  std::atomic<bool> away{false};
  table->fault = unavailable_while(away);
  const auto start = [&](const std::string& restore, std::function<void()> at_the_first_row) {
    EnvironmentOptions options = options_in(dir);
    options.checkpoint.interval = Duration{0};
    StreamEnvironment env(options);
    env.generate<std::int64_t>(same, {.rate = 2'000})
        .uid("numbers")
        .map(with_first_row(std::move(at_the_first_row)))
        .sink_to(memory_sink<std::int64_t>(table))
        .uid("out");
    return env.execute_async("job", {.restore = restore});
  };
  CheckpointId id = 0;
  std::string newer;
  {
    Job job = start({}, {});
    wait_for_status(job, [](const JobStatus& status) {
      return !status.nodes.empty() && status.nodes.back().rows_in > 0;
    });
    id = job.checkpoint().id;
    wait_until([&] { return !table->rows().empty(); });
    away = true;
    newer = job.checkpoint().path;
    job.cancel();
    EXPECT_THROW(job.wait(), JobError);
  }
  away = false;
  std::filesystem::rename(newer, newer + ".kept");
  Job job = start(dir / "job", [&] {
    std::filesystem::rename(newer + ".kept", newer);
    throw std::runtime_error("planned");
  });
  const JobStatus status = wait_for_status(job, [](const JobStatus& now) {
    return now.restarts == 1 && now.state == JobState::kRunning && now.restored_from;
  });
  EXPECT_EQ(status.restored_from, id);
  job.cancel();
  EXPECT_THROW(job.wait(), JobError);
}

TEST(ExactlyOnce, RefusesToGoOnWithoutAMarkerUnlessTheJobHadEndedWell) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  run_numbers(options_in(dir), table, 1'000);
  table->remove_markers();
  run_numbers(options_in(dir), table, 2'000);  // everything was published: the marker is made again
  std::vector<std::int64_t> expected = numbers(2'000);
  EXPECT_EQ(sorted_rows(*table), expected);
}

// The checkpoint before the newest does not know yet that anything was published.
TEST(ExactlyOnce, MakesNoMarkerWhereACheckpointThatCannotBeReadMayKnowOfOutput) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  EnvironmentOptions options = options_in(dir);
  options.checkpoint.interval = Duration{0};
  const auto start = [&] {
    StreamEnvironment env(options);
    env.generate<std::int64_t>(same, {.rate = 2'000})
        .uid("numbers")
        .sink_to(memory_sink<std::int64_t>(table))
        .uid("out");
    return env.execute_async("job");
  };
  std::string newest;
  {
    Job job = start();
    while (table->rows().empty()) job.checkpoint();
    newest = job.checkpoint().path;
    job.cancel();
    EXPECT_THROW(job.wait(), JobError);
  }
  table->remove_markers();
  std::filesystem::resize_file(newest, std::filesystem::file_size(newest) / 2);
  const std::size_t rows = table->rows().size();
  const JobError error = job_error_of([&] { start().wait(); });
  EXPECT_EQ(error.code(), JobErrorCode::kMarkerLost);
  EXPECT_EQ(table->rows().size(), rows);
}

TEST(ExactlyOnce, EndsAFencedJob) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  StreamEnvironment env(options_in(dir));
  env.generate<std::int64_t>(same, {.rate = 10'000})
      .uid("numbers")
      .sink_to(memory_sink<std::int64_t>(table))
      .uid("out");
  Job job = env.execute_async("job");
  while (table->rows().empty()) std::this_thread::yield();
  // Again and again: a transaction under way may put its own marker over it.
  const JobError error = job_error_of([&] {
    do {
      table->set_marker({"job", "out", 0}, {1, {.incarnation = 99, .owner = 1}});
    } while (!job.wait_for(10ms));
  });
  EXPECT_EQ(error.code(), JobErrorCode::kFenced);
  EXPECT_EQ(job.status().restarts, 0);
}

TEST(ExactlyOnce, TakesNoMoreRowsWhileTooMuchWaitsAndGoesOnAfterwards) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  std::atomic<bool> away{false};
  table->fault = [&away](TargetStep at) {
    if (away && at == TargetStep::kBegin) {
      throw TargetError(TargetStatus::kUnavailable, "the server is away");
    }
  };
  EnvironmentOptions options = options_in(dir);
  options.epoch_log.bytes = 64 * 1024;
  StreamEnvironment env(options);
  const auto gate = std::make_shared<Gate>();
  env.from_source(gated_source<std::int64_t>(gate, same, {.rate = 100'000}))
      .uid("numbers")
      .map([&away](std::int64_t x) {
        if (x == 1'000) away = true;
        return x;
      })
      .sink_to(memory_sink<std::int64_t>(table))
      .uid("out");
  Job job = env.execute_async("job");
  wait_for_status(job, [](const JobStatus& status) {
    std::string waiting;
    for (const NodeStatus& node : status.nodes) {
      for (const std::string& text : node.waiting_for) waiting += text;
    }
    return waiting.find("room in the epoch log") != std::string::npos &&
           waiting.find("the server is away") != std::string::npos;
  });
  EXPECT_LT(job.status().sinks.at(0).waiting_bytes, 256u * 1024);
  away = false;
  const std::uint64_t rows = gate->end_after(20'000);
  job.wait();
  EXPECT_EQ(sorted_rows(*table), numbers(static_cast<std::int64_t>(rows)));
}

struct AskedForTime {
  void process(std::int64_t x, KeyedContext<std::int64_t, std::int64_t>& ctx) {
    ctx.set_processing_timer(ctx.now() + 1ms);
    ctx.emit(x);
  }
  void on_timer(Timestamp, KeyedContext<std::int64_t, std::int64_t>&) {}
};

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Timers that are due cannot be served while the output has no room.
TEST(ExactlyOnce, WaitsForRoomWithoutWorkAlsoWhileTimersAreDue) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  std::atomic<bool> away{true};
  table->fault = [&away](TargetStep at) {
    if (away && at == TargetStep::kWrite) throw TargetError(TargetStatus::kUnavailable, "the server is away");
  };
  EnvironmentOptions options = options_in(dir);
  options.checkpoint.interval = 1h;
  options.epoch_log.bytes = 64 * 1024;
  StreamEnvironment env(options);
  env.generate<std::int64_t>(same, {.rate = 1'000'000})
      .uid("numbers")
      .key_by([](std::int64_t x) { return x % 100; })
      .process<std::int64_t>(AskedForTime{})
      .uid("timers")
      .rebalance()
      .sink_to(memory_sink<std::int64_t>(table))
      .uid("out");
  Job job = env.execute_async("job");
  std::uint64_t before = 0;
  wait_for_status(job, [&before](const JobStatus& status) {
    const std::uint64_t rows = status.nodes.empty() ? 0 : status.nodes.front().rows_out;
    std::this_thread::sleep_for(200ms);
    return rows > 0 && std::exchange(before, rows) == rows;
  });
  const double begun = cpu_seconds();
  std::this_thread::sleep_for(1s);
  EXPECT_LT(cpu_seconds() - begun, 0.25);
  job.cancel();
  EXPECT_THROW(job.wait(), JobError);
}

TEST(ExactlyOnce, NeedsCheckpoints) {
  StreamEnvironment env;
  env.from_values<std::int64_t>({1}).sink_to(memory_sink<std::int64_t>(std::make_shared<MemoryTable>()));
  try {
    env.execute("job");
    FAIL() << "no GraphError was thrown";
  } catch (const GraphError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("kExactlyOnce"), HasSubstr("checkpoint.interval")));
  }
}

TEST(ExactlyOnce, KeepsNoFilesOfWhatIsPublishedAndRecorded) {
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  run_numbers(options_in(dir), table, 20'000);
  run_numbers(options_in(dir), table, 20'001);
  int segments = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir / "job/log")) {
    segments += entry.is_regular_file() ? 1 : 0;
  }
  // The manifest before the last names the last epoch still.
  EXPECT_LE(segments, 1);
  EXPECT_EQ(sorted_rows(*table), numbers(20'001));
}

}  // namespace
}  // namespace levada
