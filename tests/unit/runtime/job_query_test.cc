// Live queries: host threads ask a running job for the state of single keys.
#include <atomic>
#include <map>
#include <thread>

#include <gmock/gmock.h>

#include "levada/levada.h"
#include "support/job_progress.h"
#include "support/temp_dir.h"

namespace job_query_test {

// A row whose parts belong together: torn reads would show.
struct Count {
  std::string key;
  std::int64_t count = 0;
  std::int64_t doubled = 0;
  std::vector<std::int64_t> copies;  // `count`, three times
};
LEVADA_RECORD(Count, key, count, doubled, copies)

}  // namespace job_query_test

namespace levada {
namespace {

using job_query_test::Count;
using ::testing::HasSubstr;
using levada::testing::TempDir;
using levada::testing::wait_until;

constexpr std::int64_t kKeys = 20;

std::string key_of(std::int64_t i) { return "a key too long to be short: " + std::to_string(i % kKeys); }

Count row_of(std::uint64_t i) { return {key_of(static_cast<std::int64_t>(i)), 1, 2, {1, 1, 1}}; }

Count add(Count sum, const Count& row) {
  sum.count += row.count;
  sum.doubled += row.doubled;
  for (std::int64_t& copy : sum.copies) copy += row.count;
  return sum;
}

DataStream<Count> counts(StreamEnvironment& env, std::uint64_t rows) {
  return env.generate<Count>(row_of, {.rows = rows, .splits = 2}).uid("rows").key_by(&Count::key).reduce(add).uid("counts");
}

void expect_whole(const Count& count) {
  EXPECT_EQ(count.doubled, 2 * count.count);
  EXPECT_THAT(count.copies, ::testing::Each(count.count));
}

TEST(JobQuery, AnswersOtherThreadsWhileTheStateChanges) {
  StreamEnvironment env({.parallelism = 3});
  counts(env, 0).discard().uid("out");
  Job job = env.execute_async("queried");
  const auto query = job.query<std::string, std::optional<Count>>("counts", "rolling");
  wait_until([&] { return query.get(key_of(0)).has_value(); });
  std::atomic<std::int64_t> answers{0};
  const auto ask = [&] {
    std::map<std::string, std::int64_t> last;
    for (int round = 0; round < 100; ++round) {
      for (std::int64_t i = 0; i < kKeys; ++i) {
        const auto found = query.get(key_of(i));
        if (!found) continue;
        ASSERT_TRUE(found->has_value());
        expect_whole(**found);
        EXPECT_EQ((*found)->key, key_of(i));
        EXPECT_GE((*found)->count, last[key_of(i)]) << "it never goes back";
        last[key_of(i)] = (*found)->count;
        ++answers;
      }
      EXPECT_FALSE(query.get("nobody"));
    }
  };
  std::thread other(ask);
  ask();
  other.join();
  EXPECT_GT(answers, 0);
  job.cancel();
  EXPECT_THROW(job.wait(), JobError);
}

TEST(JobQuery, IsRefusedWhenTheJobHasEnded) {
  StreamEnvironment env({.parallelism = 2});
  counts(env, 1000).discard().uid("out");
  Job job = env.execute_async("short");
  const auto query = job.query<std::string, std::optional<Count>>("counts", "rolling");
  job.wait();
  EXPECT_THROW(query.get(key_of(0)), JobError);
}

TEST(JobQuery, SaysWhatIsWrongWithUidStateAndTypes) {
  StreamEnvironment env;
  counts(env, 0).discard().uid("out");
  Job job = env.execute_async("wrong");
  const auto error = [&](auto ask) -> std::string {
    try {
      ask();
    } catch (const StateError& failure) {
      return failure.what();
    }
    return "no error";
  };
  using Stored = std::optional<Count>;
  EXPECT_THAT(error([&] { job.query<std::string, Stored>("count", "rolling"); }),
              HasSubstr("no step with uid 'count'"));
  EXPECT_THAT(error([&] { job.query<std::string, Stored>("counts", "roling"); }),
              HasSubstr("no keyed state 'roling'; it has 'rolling'"));
  EXPECT_THAT(error([&] { job.query<std::string, Stored>("rows", "splits"); }), HasSubstr("it has none"));
  EXPECT_THAT(error([&] { job.query<std::string, std::int64_t>("counts", "rolling"); }),
              HasSubstr("but it is asked for as string -> int64"));
  EXPECT_THAT(error([&] { job.query<std::int64_t, Stored>("counts", "rolling"); }), HasSubstr("int64 -> {key:"));
}

TEST(JobQuery, GoesOnAfterARestartAndEndsWithTheJob) {
  const TempDir dir;
  StreamEnvironment env({.parallelism = 2,
                         .checkpoint = {.interval = 5ms, .directory = dir.path()},
                         .restart = fixed_delay({.attempts = 1000, .delay = 1ms})});
  std::atomic<int> failures{0};
  std::atomic<bool> fail{false};
  counts(env, 0)
      .map([&](Count count) {
        if (fail.exchange(false)) {
          ++failures;
          throw std::runtime_error("on purpose");
        }
        return count;
      })
      .discard()
      .uid("out");
  auto job = std::make_unique<Job>(env.execute_async("restarted"));
  const auto query = job->query<std::string, std::optional<Count>>("counts", "rolling");
  // What fails before it has run for the first time is not tried again.
  while (job->status().state != JobState::kRunning) std::this_thread::yield();
  for (int round = 0; round < 20; ++round) {
    fail = true;
    for (std::int64_t i = 0; i < kKeys; ++i) {
      if (const auto found = query.get(key_of(i))) expect_whole(**found);
    }
  }
  while (failures < 3) {
    fail = true;
    query.get(key_of(0));
  }
  job.reset();
  try {
    query.get(key_of(0));
    FAIL();
  } catch (const JobError& error) {
    EXPECT_EQ(error.code(), JobErrorCode::kCancelled);
    EXPECT_THAT(error.what(), HasSubstr("'restarted' has ended"));
  }
}

TEST(JobQuery, SeesTheSlicesOfWindows) {
  StreamEnvironment env({.parallelism = 2});
  // Time stands still at second 5 after the first rows, so the first window stays open.
  env.generate<std::int64_t>([](std::uint64_t i) { return static_cast<std::int64_t>(std::min<std::uint64_t>(i, 5)); },
                             {.rows = 0, .splits = 1},
                             event_time<std::int64_t>([](std::int64_t second) { return Timestamp{1s * second}; }))
      .uid("seconds")
      .key_by([](std::int64_t second) { return second; })
      .window(tumbling(10s))
      .reduce([](std::int64_t sum, std::int64_t second) { return sum + second; })
      .uid("windows")
      .discard()
      .uid("out");
  Job job = env.execute_async("windows");
  const auto query = job.query<std::int64_t, std::optional<std::int64_t>>("windows", "windows");
  std::optional<std::optional<std::int64_t>> found;
  while (!found || **found < 10) found = query.get(5, 10'000'000);
  EXPECT_EQ(query.get(4, 10'000'000), std::optional<std::int64_t>(4));
  EXPECT_FALSE(query.get(5));
  EXPECT_FALSE(query.get(5, 20'000'000));
}

}  // namespace
}  // namespace levada
