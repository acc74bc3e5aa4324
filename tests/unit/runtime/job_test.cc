// Whole jobs on real threads: ends, failures, restarts, stops, the lock.
#include "levada/job.h"

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "base/fail_point.h"
#include "levada/levada.h"
#include "support/gated_source.h"
#include "support/job_progress.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using levada::testing::Gate;
using levada::testing::gated_source;
using levada::testing::PlannedFailures;
using levada::testing::TempDir;
using levada::testing::wait_for_checkpoints;
using levada::testing::wait_for_status;
using levada::testing::wait_until;

constexpr OutputTag<std::int64_t> kOdd{"odd"};
constexpr OutputTag<std::int64_t> kUnread{"unread"};

std::int64_t same(std::uint64_t i) { return static_cast<std::int64_t>(i); }

EnvironmentOptions with_checkpoints(const TempDir& dir, int parallelism = 1) {
  return {.parallelism = parallelism, .checkpoint = {.interval = 10ms, .directory = dir.path()}};
}

template <class T>
std::vector<T> sorted(std::vector<T> rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<std::int64_t> numbers(std::int64_t count) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

template <class F>
JobError job_error_of(F run) {
  try {
    run();
  } catch (const JobError& error) {
    return error;
  }
  ADD_FAILURE() << "no JobError was thrown";
  return JobError(JobErrorCode::kUserCode, "", -1, "");
}

TEST(Job, ProcessesEveryRowOnceAtAnyParallelism) {
  for (const int parallelism : {1, 2, 3}) {
    StreamEnvironment env({.parallelism = parallelism});
    auto rows = env.generate<std::int64_t>(same, {.rows = 10'000, .splits = 4})
                    .rebalance()
                    .filter([](std::int64_t x) { return x % 2 == 0; })
                    .flat_map<std::int64_t>([](std::int64_t x, auto& out) {
                      out.emit(x);
                      out.emit(x + 1);
                    })
                    .collect();
    env.execute("numbers");
    EXPECT_EQ(sorted(rows.rows()), numbers(10'000));
  }
}

TEST(Job, UnionHasTheRowsOfAllStreams) {
  StreamEnvironment env;
  auto low = env.from_values<std::int64_t>({0, 1, 2});
  auto high = env.from_values<std::int64_t>({3, 4});
  auto rows = low.union_with(high, env.from_values<std::int64_t>({5})).collect();
  env.execute("union");
  EXPECT_EQ(sorted(rows.rows()), numbers(6));
}

TEST(Job, AnEmptySourceEndsTheJob) {
  StreamEnvironment env;
  auto rows = env.from_values<std::int64_t>({}).collect();
  env.execute("empty");
  EXPECT_TRUE(rows.rows().empty());
}

TEST(Job, TwoReadersOfAStreamBothSeeEveryRow) {
  StreamEnvironment env;
  auto all = env.generate<std::int64_t>(same, {.rows = 5'000});
  auto left = all.collect();
  auto right = all.map([](std::int64_t x) { return x; }).collect();
  env.execute("fan-out");
  EXPECT_EQ(sorted(left.rows()), numbers(5'000));
  EXPECT_EQ(sorted(right.rows()), numbers(5'000));
}

TEST(Job, RowsEmittedToASideOutputReachItsReadersAndUnreadOnesAreCounted) {
  StreamEnvironment env;
  auto even = env.generate<std::int64_t>(same, {.rows = 100})
                  .flat_map<std::int64_t>([](std::int64_t x, auto& out) {
                    if (x % 2 == 0) return out.emit(x);
                    out.emit(kOdd, x);
                    out.emit(kUnread, x);
                  })
                  .name("split");
  auto odd = even.side_output(kOdd).collect();
  auto rows = even.collect();
  Job job = env.execute_async("sides");
  job.wait();
  EXPECT_EQ(rows.rows().size(), 50u);
  EXPECT_EQ(odd.rows().size(), 50u);
  for (const NodeStatus& node : job.status().nodes) {
    if (node.node != "split") continue;
    EXPECT_EQ(node.side_output_unread, 50u);
  }
}

TEST(Job, ALambdaThatThrowsFailsTheJobWithTheNodesUid) {
  StreamEnvironment env;
  env.generate<std::int64_t>(same, {.rows = 100})
      .map([](std::int64_t x) {
        if (x == 42) throw std::runtime_error("no forty-two here");
        return x;
      })
      .uid("picky")
      .discard();
  const JobError error = job_error_of([&] { env.execute("fails"); });
  EXPECT_EQ(error.code(), JobErrorCode::kUserCode);
  EXPECT_EQ(error.node(), "picky");
  EXPECT_EQ(error.subtask(), 0);
  EXPECT_THAT(error.what(), HasSubstr("no forty-two here"));
  ASSERT_TRUE(error.cause());
  EXPECT_THROW(std::rethrow_exception(error.cause()), std::runtime_error);
}

TEST(Job, RestartsFromTheCheckpointAndLosesAndDoublesNothing) {
  TempDir dir;
  PlannedFailures failures;
  EnvironmentOptions options = with_checkpoints(dir, 2);
  options.restart = fixed_delay({.attempts = 3, .delay = 1ms});
  StreamEnvironment env(options);
  const auto gate = std::make_shared<Gate>();
  auto rows = env.from_source(gated_source<std::int64_t>(gate, same, {.rate = 10'000, .splits = 2}))
                  .uid("numbers")
                  .rebalance()
                  .map([&failures](std::int64_t x) {
                    failures.throw_if_due();
                    return x;
                  })
                  .collect("rows");
  Job job = env.execute_async("restarts");
  for (int failure = 0; failure < 3; ++failure) {
    wait_for_checkpoints(job, 3);
    failures.cause(job);
  }
  const std::uint64_t all = gate->end_after(500);
  job.wait();
  EXPECT_EQ(job.status().restarts, 3);
  EXPECT_EQ(sorted(rows.rows()), numbers(static_cast<std::int64_t>(all)));
}

struct Tick {
  std::int64_t key = 0, value = 0;
  Timestamp at;
};
LEVADA_RECORD(Tick, key, value, at)
struct TickTotal {
  std::int64_t key = 0;
  Timestamp start;
  std::int64_t count = 0, sum = 0;
  auto operator<=>(const TickTotal&) const = default;
};
LEVADA_RECORD(TickTotal, key, start, count, sum)

// Many threads, exchanges, keyed state, checkpoints under way all the time, and restarts in between: what
// a race detector should see.
TEST(Job, WindowsOnThreeSubtasksSurviveThreeRestartsBetweenQuickCheckpoints) {
  constexpr std::int64_t kKeys = 50, kWindow = 10'000;
  const auto make = [](std::uint64_t i) {
    const auto n = static_cast<std::int64_t>(i);
    return Tick{n * 7 % kKeys, n % 100, Timestamp{Duration{n * 10 + n * 31 % 50}}};
  };
  TempDir dir;
  EnvironmentOptions options = with_checkpoints(dir, 3);
  options.restart = fixed_delay({.attempts = 3, .delay = 1ms});
  PlannedFailures failures;
  StreamEnvironment env(options);
  const auto gate = std::make_shared<Gate>();
  auto ticks = env.from_source(gated_source<Tick>(gate, make, {.rate = 12'000, .splits = 4}),
                               event_time(&Tick::at, {.bounded_out_of_orderness = 100us}))
                   .uid("ticks")
                   .rebalance()
                   .map([&](const Tick& tick) {
                     failures.throw_if_due();
                     return tick;
                   });
  auto totals = ticks.key_by(&Tick::key)
                    .window(tumbling(Duration{kWindow}))
                    .aggregate(key().as(&TickTotal::key), window_start().as(&TickTotal::start),
                               count().as(&TickTotal::count), sum(&Tick::value).as(&TickTotal::sum))
                    .uid("totals")
                    .collect("rows");
  auto counts = ticks.key_by(&Tick::key).aggregate(count()).uid("counts").collect("counted");
  Job job = env.execute_async("races");
  for (int failure = 0; failure < 3; ++failure) {
    for (int checkpoint = 0; checkpoint < 6; ++checkpoint) {
      wait_for_checkpoints(job, 1);
      static_cast<void>(job.explain());
    }
    failures.cause(job);
  }
  const auto rows = static_cast<std::int64_t>(gate->end_after(3'000));
  while (!job.wait_for(2ms)) static_cast<void>(job.explain());
  EXPECT_EQ(job.status().restarts, 3);

  std::map<std::pair<std::int64_t, std::int64_t>, TickTotal> expected;
  for (std::int64_t i = 0; i < rows; ++i) {
    const Tick tick = make(static_cast<std::uint64_t>(i));
    const std::int64_t at = tick.at.time_since_epoch().count(), start = at - at % kWindow;
    TickTotal& total = expected[{tick.key, start}];
    total = {tick.key, Timestamp{Duration{start}}, total.count + 1, total.sum + tick.value};
  }
  std::vector<TickTotal> wanted;
  for (const auto& [at, total] : expected) wanted.push_back(total);
  EXPECT_EQ(sorted(totals.rows()), sorted(wanted));
  std::set<std::pair<std::int64_t, std::int64_t>> seen;
  for (const auto& [key, window, count] : counts.rows()) {
    EXPECT_TRUE(seen.emplace(key, count).second) << "count " << count << " of key " << key << " twice";
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(rows));
}

// A source like a client library's: a thread of its own wakes the task until the source is closed.
class WakingReader final : public SourceReader {
 public:
  void open(OperatorContext& context, std::vector<Split>) override {
    thread_ = std::jthread([&context](const std::stop_token& stop) {
      while (!stop.stop_requested()) context.wake();
    });
  }
  PollResult poll(Batch& batch, std::vector<SplitRun>& runs) override {
    batch.rows<std::int64_t>()[0] = 1;
    batch.set_size(1);
    runs.push_back({.split = 0, .first = 0, .count = 1});
    return PollResult::kMore;
  }
  bool caught_up(std::size_t) const override { return false; }
  bool finished(std::size_t) const override { return false; }
  std::string position(std::size_t) const override { return "0"; }
  void close() override {
    std::this_thread::sleep_for(1ms);  // until then it goes on
    thread_ = {};
  }

 private:
  std::jthread thread_;
};

class WakingSource final : public SourceFactory {
 public:
  std::vector<Split> discover(const std::vector<Split>&, const Clock&,
                              const std::function<void(LogLevel, std::string_view)>&) override {
    return {{.id = "0", .position = "0"}};
  }
  std::unique_ptr<SourceReader> make_reader() override { return std::make_unique<WakingReader>(); }
};

TEST(Job, MayBeWokenByASourceUntilThatIsClosed) {
  TempDir dir;
  EnvironmentOptions options = with_checkpoints(dir);
  options.restart = fixed_delay({.attempts = 20, .delay = 1ms});
  StreamEnvironment env(options);
  env.from_source(Source<std::int64_t>{std::make_shared<WakingSource>(), "waking"})
      .uid("in")
      .map([](std::int64_t) -> std::int64_t { throw std::runtime_error("never"); })
      .discard()
      .uid("out");
  EXPECT_THAT(job_error_of([&] { env.execute("woken"); }).what(), HasSubstr("never"));
}

// Waits for `count` more checkpoints and returns the most that one seen on the way had written.
std::uint64_t most_written(const Job& job, std::uint64_t count) {
  const std::uint64_t until = job.status().checkpoints_completed + count;
  std::uint64_t most = 0;
  for (bool first = true;; first = false) {
    const JobStatus status = job.status();
    if (!first && status.last_checkpoint) most = std::max(most, status.last_checkpoint->bytes);
    if (status.checkpoints_completed >= until) return most;
    std::this_thread::sleep_for(1ms);
  }
}

TEST(Job, ACheckpointWritesOnlyTheSlicesThatHaveChanged) {
  constexpr std::int64_t kKeys = 3'000, kSlices = 20, kRows = kKeys * kSlices, kTouched = 30;
  constexpr std::int64_t kSlide = 1'000'000, kSize = kSlices * kSlide;
  constexpr std::int64_t kAll = kRows + 2 * kTouched;
  const auto make = [](std::uint64_t row) {  // slice by slice; then some more in the last slice, and in the next
    const std::int64_t i = same(row);
    const std::int64_t slice = i < kRows ? i / kKeys : i < kRows + kTouched ? kSlices - 1 : kSlices;
    return Tick{i % kKeys, i, Timestamp{Duration{slice * kSlide + kSlide / 2}}};
  };
  const auto gate = std::make_shared<Gate>();
  gate->end_at(kAll);
  gate->open(0);
  TempDir dir;
  Collected<TickTotal> totals;
  for (const int parallelism : {2, 3}) {
    StreamEnvironment env(with_checkpoints(dir, parallelism));
    env.from_source(gated_source<Tick>(gate, make), event_time(&Tick::at, {}))
        .uid("ticks")
        .key_by(&Tick::key)
        .window(sliding({.size = Duration{kSize}, .slide = Duration{kSlide}}))
        .aggregate(key().as(&TickTotal::key), window_start().as(&TickTotal::start),
                   count().as(&TickTotal::count), sum(&Tick::value).as(&TickTotal::sum))
        .uid("totals")
        .collect_into(totals)
        .uid("rows");
    if (parallelism == 3) gate->open(kAll);
    Job job = env.execute_async("slices");
    if (parallelism == 2) {
      const auto pass = [&](std::uint64_t rows) {
        gate->open(rows);
        const auto passed = [&] {
          for (const SplitStatus& split : job.status().splits) {
            if (split.position == std::to_string(rows)) return true;
          }
          return false;
        };
        while (!passed()) std::this_thread::sleep_for(1ms);
      };
      pass(kRows);
      most_written(job, 5);  // until nothing of before is under way
      const std::uint64_t all = std::uint64_t{kRows} * 16;  // at least: a key and a sum
      EXPECT_LT(most_written(job, 3), 10'000u) << "nothing has changed";
      pass(kRows + kTouched);
      EXPECT_LT(most_written(job, 5), all / 5) << "one slice of twenty has changed";
      job.request_stop();
    }
    job.wait();
    EXPECT_EQ(job.status().restored_from.has_value(), parallelism == 3);
  }
  std::map<std::pair<std::int64_t, std::int64_t>, TickTotal> expected;
  for (std::int64_t i = 0; i < kAll; ++i) {
    const Tick tick = make(static_cast<std::uint64_t>(i));
    const std::int64_t at = tick.at.time_since_epoch().count();
    for (std::int64_t start = at - at % kSlide; start > at - kSize; start -= kSlide) {
      TickTotal& total = expected[{tick.key, start}];
      total = {tick.key, Timestamp{Duration{start}}, total.count + 1, total.sum + tick.value};
    }
  }
  std::vector<TickTotal> wanted;
  for (const auto& [at, total] : expected) wanted.push_back(total);
  const std::vector<TickTotal> found = sorted(totals.rows());
  ASSERT_EQ(found.size(), wanted.size());
  EXPECT_TRUE(found == sorted(wanted));
}

#ifdef LEVADA_FAILPOINTS
// Whether there were more rows nearly each time that somebody looked while a checkpoint waited at a point.
bool rows_go_on_while_the_disk_is_slow(const std::string& point, std::chrono::milliseconds pause) {
  TempDir dir;
  std::atomic<std::int64_t> rows{0};
  arm_fail_points(point + ":1:sleep=" + std::to_string(pause.count()));
  int looks = 0, grown = 0;
  {
    StreamEnvironment env({.checkpoint = {.directory = dir.path()}});
    // More state than fits into a manifest.
    env.generate<std::int64_t>(same, {.rate = 100'000})
        .uid("numbers")
        .key_by([](std::int64_t x) { return x % 50'000; })
        .reduce([](std::int64_t a, std::int64_t b) { return a + b; })
        .uid("sums")
        .for_each([&rows](std::int64_t) { ++rows; })
        .uid("out");
    Job job = env.execute_async("slow disk");
    wait_until([&] { return rows >= 10'000; });
    auto taken = std::async(std::launch::async, [&job] { return job.checkpoint(); });
    for (std::int64_t before = rows; taken.wait_for(20ms) != std::future_status::ready; ++looks) {
      const std::int64_t now = rows;
      grown += now > before;
      before = now;
    }
    EXPECT_GE(taken.get().duration, pause);
    EXPECT_EQ(job.status().checkpoints_failed, 0u);
  }
  reset_fail_points();
  return looks >= 10 && grown >= looks * 2 / 3;
}

TEST(Job, GoesOnProcessingWhileTheDiskIsSlow) {
  for (const std::string point : {"checkpoint.state.written", "checkpoint.manifest.written"}) {
    // A disk that is slower still gives rows more time when they are slow themselves.
    bool most = false;
    for (auto pause = 700ms; !most && pause < 60s; pause *= 6) {
      most = rows_go_on_while_the_disk_is_slow(point, pause);
    }
    EXPECT_TRUE(most) << point;
  }
}
#endif

TEST(Job, GivesUpAfterTheAllowedRestarts) {
  TempDir dir;
  EnvironmentOptions options = with_checkpoints(dir);
  options.restart = fixed_delay({.attempts = 2, .delay = 1ms});
  std::atomic<int> calls{0};
  StreamEnvironment env(options);
  env.from_values<std::int64_t>({1}).uid("in").map([&calls](std::int64_t) -> std::int64_t {
       ++calls;
       throw std::runtime_error("never");
     }).discard().uid("out");
  EXPECT_THAT(job_error_of([&] { env.execute("gives-up"); }).what(), HasSubstr("never"));
  EXPECT_EQ(calls.load(), 3);
}

TEST(Job, DoesNotRestartWithoutCheckpoints) {
  std::atomic<int> calls{0};
  StreamEnvironment env;
  env.from_values<std::int64_t>({1}).for_each([&calls](std::int64_t) {
    ++calls;
    throw 7;
  });
  EXPECT_EQ(job_error_of([&] { env.execute("once"); }).code(), JobErrorCode::kUserCode);
  EXPECT_EQ(calls.load(), 1);
}

TEST(Job, ExecuteResumesWhereAStopLeftOffAtAnotherParallelism) {
  TempDir dir;
  Collected<std::int64_t> collected;
  const auto gate = std::make_shared<Gate>();
  std::uint64_t rows_before_stop = 0, all = 0;
  for (const int parallelism : {2, 3}) {
    StreamEnvironment env(with_checkpoints(dir, parallelism));
    env.from_source(gated_source<std::int64_t>(gate, same, {.rate = 10'000, .splits = 3}))
        .uid("numbers")
        .rebalance()
        .map([](std::int64_t x) { return x; })
        .collect_into(collected)
        .uid("rows");
    if (parallelism == 3) all = gate->end_after(1'000);
    Job job = env.execute_async("resumes");
    if (parallelism == 2) {
      wait_until([&] { return !collected.rows().empty(); });
      job.request_stop();
    }
    job.wait();
    EXPECT_EQ(job.status().state, JobState::kFinished);
    if (parallelism == 2) rows_before_stop = collected.rows().size();
    EXPECT_EQ(job.status().restored_from.has_value(), parallelism == 3);
  }
  EXPECT_GT(rows_before_stop, 0u);
  EXPECT_LT(rows_before_stop, all);
  EXPECT_EQ(sorted(collected.rows()), numbers(static_cast<std::int64_t>(all)));
}

TEST(Job, AStopWithoutCheckpointsEndsTheSourcesWhereTheyAre) {
  StreamEnvironment env({.parallelism = 2});
  auto rows = env.generate<std::int64_t>(same, {.rate = 10'000, .splits = 2}).rebalance().collect();
  Job job = env.execute_async("endless");
  wait_for_status(job, [](const JobStatus& status) { return !status.nodes.empty() && status.nodes[0].rows_out > 0; });
  job.request_stop();
  job.wait();
  const std::vector<std::int64_t> got = sorted(rows.rows());
  EXPECT_GT(got.size(), 0u);
  EXPECT_EQ(std::set<std::int64_t>(got.begin(), got.end()).size(), got.size());
}

TEST(Job, CancelEndsAnEndlessJobAtOnceAndWaitSaysSo) {
  StreamEnvironment env;
  env.generate<std::int64_t>(same).discard();
  Job job = env.execute_async("endless");
  EXPECT_FALSE(job.wait_for(20ms));
  job.cancel();
  EXPECT_EQ(job_error_of([&] { job.wait(); }).code(), JobErrorCode::kCancelled);
  EXPECT_EQ(job.status().state, JobState::kCancelled);
}

TEST(Job, TheDestructorCancelsAndJoins) {
  std::atomic<bool> running{false};
  {
    StreamEnvironment env;
    env.generate<std::int64_t>(same).for_each([&running](std::int64_t) { running = true; });
    const Job job = env.execute_async("endless");
    while (!running) std::this_thread::yield();
  }
  running = false;
  std::this_thread::sleep_for(5ms);
  EXPECT_FALSE(running) << "something still runs";
}

TEST(Job, ASecondInstanceOnTheSameDirectoryIsRefused) {
  TempDir dir;
  StreamEnvironment env(with_checkpoints(dir));
  env.generate<std::int64_t>(same).uid("in").discard().uid("out");
  Job first = env.execute_async("only-once");
  while (first.status().state != JobState::kRunning) std::this_thread::sleep_for(1ms);
  const JobError error = job_error_of([&] { env.execute("only-once"); });
  EXPECT_EQ(error.code(), JobErrorCode::kAlreadyRunning);
  EXPECT_THAT(error.what(), HasSubstr(dir.path()));
  EXPECT_EQ(first.status().state, JobState::kRunning);
}

TEST(Job, StateOfAStepThatIsGoneIsRefused) {
  TempDir dir;
  for (const char* uid : {"before", "after"}) {
    StreamEnvironment env(with_checkpoints(dir));
    env.from_values<std::int64_t>({1, 2}).uid(uid).discard().uid("out");
    if (std::string_view(uid) == "before") {
      env.execute("renamed");
    } else {
      EXPECT_THAT(job_error_of([&] { env.execute("renamed"); }).what(), HasSubstr("'before'"));
    }
  }
}

TEST(Job, AnotherMaxParallelismThanTheCheckpointsIsRefused) {
  TempDir dir;
  for (const int groups : {128, 64}) {
    EnvironmentOptions options = with_checkpoints(dir);
    options.max_parallelism = groups;
    StreamEnvironment env(options);
    env.from_values<std::int64_t>({1, 2}).uid("in").discard().uid("out");
    if (groups == 128) {
      env.execute("groups");
    } else {
      EXPECT_THAT(job_error_of([&] { env.execute("groups"); }).what(),
                  AllOf(HasSubstr("128"), HasSubstr("64")));
    }
  }
}

TEST(Job, AnUnwritableCheckpointDirectoryFailsAtTheStart) {
  StreamEnvironment env({.checkpoint = {.interval = 1s, .directory = "/proc/levada"}});
  env.from_values<std::int64_t>({1}).uid("in").discard().uid("out");
  const JobError error = job_error_of([&] { env.execute("nowhere"); });
  EXPECT_EQ(error.code(), JobErrorCode::kState);
  EXPECT_THAT(error.what(), HasSubstr("/proc/levada"));
}

// Checkpoints cannot be written while the job's directory has another name.
class FailingCheckpoints : public ::testing::Test {
 protected:
  Job start(Duration tolerable_failure) {
    EnvironmentOptions options = with_checkpoints(dir);
    options.checkpoint.tolerable_failure = tolerable_failure;
    StreamEnvironment env(options);
    env.generate<std::int64_t>(same, {.rate = 1'000}).uid("in").discard().uid("out");
    return env.execute_async("fails");
  }
  void move_away() { std::filesystem::rename(dir.path() + "/fails", dir.path() + "/away"); }
  void move_back() { std::filesystem::rename(dir.path() + "/away", dir.path() + "/fails"); }
  static void wait_for_checkpoints(const Job& job, std::uint64_t count) {
    while (job.status().checkpoints_completed < count) std::this_thread::sleep_for(1ms);
  }

  TempDir dir;
};

TEST_F(FailingCheckpoints, AreToleratedForAWhileAndTheJobGoesOn) {
  Job job = start(1min);
  wait_for_checkpoints(job, 1);
  move_away();
  while (job.status().checkpoints_failed < 3) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(job.status().state, JobState::kRunning);
  EXPECT_THAT(job.status().last_error, HasSubstr(dir.path()));
  move_back();
  wait_for_checkpoints(job, job.status().checkpoints_completed + 2);
  EXPECT_EQ(job.status().restarts, 0);
  job.request_stop();
  job.wait();
}

TEST_F(FailingCheckpoints, EndTheJobWithTheLastErrorWhenTheyDoNotStopFailing) {
  Job job = start(50ms);
  wait_for_checkpoints(job, 1);
  move_away();
  const JobError error = job_error_of([&] { job.wait(); });
  EXPECT_EQ(error.code(), JobErrorCode::kCheckpoint);
  EXPECT_THAT(error.what(), HasSubstr(dir.path()));
}

TEST(Job, StateThatOutgrowsTheBudgetFailsTheJobAndNamesStateAndBudget) {
  StreamEnvironment env({.restart = no_restart(), .memory = 4_MiB, .batch_rows = 16});
  env.generate<std::int64_t>(same)
      .key_by([](std::int64_t x) { return x; })
      .reduce([](std::int64_t, std::int64_t b) { return b; })
      .uid("latest")
      .discard();
  const JobError error = job_error_of([&] { env.execute("outgrows"); });
  EXPECT_EQ(error.code(), JobErrorCode::kState);
  EXPECT_EQ(error.node(), "latest");
  EXPECT_THAT(error.what(), AllOf(HasSubstr("latest"), HasSubstr("bytes are used")));
}

TEST(Job, ThreadHooksRunOnEveryThreadOfTheJob) {
  std::atomic<int> started{0}, stopped{0};
  EnvironmentOptions options{.parallelism = 2};
  options.threads = {.count = 2,
                     .name_prefix = "mine",
                     .on_start = [&] { ++started; },
                     .on_stop = [&] { ++stopped; }};
  {
    StreamEnvironment env(options);
    env.from_values<std::int64_t>({1}).discard();
    env.execute("hooks");
  }
  EXPECT_GE(started.load(), 3);
  EXPECT_EQ(started.load(), stopped.load());
}

TEST(Job, ExplainShowsThePlanAndTheBudget) {
  StreamEnvironment env({.memory = 64_MiB});
  env.from_values<std::int64_t>({1}).discard();
  Job job = env.execute_async("explained");
  job.wait();
  EXPECT_THAT(job.explain(), AllOf(HasSubstr("values -> for_each"), HasSubstr("67108864"),
                                   HasSubstr("channels"), HasSubstr("state")));
}

TEST(Job, SeveralJobsLiveSideBySide) {
  std::vector<Job> jobs;
  std::vector<Collected<std::int64_t>> collected;
  for (int i = 0; i < 4; ++i) {
    StreamEnvironment env({.parallelism = 2});
    collected.push_back(env.generate<std::int64_t>(same, {.rows = 1'000}).rebalance().collect());
    jobs.push_back(env.execute_async("job" + std::to_string(i)));
  }
  for (Job& job : jobs) job.wait();
  for (const auto& rows : collected) EXPECT_EQ(sorted(rows.rows()), numbers(1'000));
}

}  // namespace
}  // namespace levada
