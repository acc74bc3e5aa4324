// Whole jobs of which one allocation fails, another one each time: the job goes on after a restart or ends with
// an error, the process lives, and what it wrote, with what a further start adds, is right to the last row.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <new>
#include <random>
#include <set>
#include <string>

#include "levada/connectors/files.h"
#include "levada/levada.h"
#include "support/rows.h"
#include "support/seed.h"
#include "support/temp_dir.h"

namespace {

// Allocations until the one that fails; only those of the job's threads count.
std::atomic<std::int64_t> allocations{0};
std::atomic<std::int64_t> fails_at{0};  // 0: none
std::atomic<bool> counting{false};
thread_local bool spared = false;

void* allocate(std::size_t bytes, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed) && !spared) {
    if (allocations.fetch_add(1, std::memory_order_relaxed) + 1 == fails_at.load(std::memory_order_relaxed)) {
      throw std::bad_alloc();
    }
  }
  void* const made = alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__
                         ? std::malloc(bytes == 0 ? 1 : bytes)
                         : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (made == nullptr) throw std::bad_alloc();
  return made;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
// Not inlined: where only one of the two is, g++ takes them for a pair that does not match.
[[gnu::noinline]] void operator delete(void* made) noexcept { std::free(made); }
[[gnu::noinline]] void operator delete(void* made, std::size_t) noexcept { std::free(made); }
[[gnu::noinline]] void operator delete(void* made, std::align_val_t) noexcept { std::free(made); }
[[gnu::noinline]] void operator delete(void* made, std::size_t, std::align_val_t) noexcept { std::free(made); }

namespace levada {
namespace {

using testing::Row;

struct Total {
  std::int64_t key = 0, count = 0, total = 0;
};
LEVADA_RECORD(Total, key, count, total)

constexpr std::int64_t kRows = 3'000, kKeys = 40;

Row make_row(std::uint64_t i) { return testing::row_of(i, kKeys, 5'000); }

auto rows_of(StreamEnvironment& env) {
  return env
      .generate<Row>(make_row, {.rows = kRows, .splits = 2},
                     event_time(&Row::at, {.bounded_out_of_orderness = 10ms}))
      .uid("rows")
      .key_by(&Row::key);
}

/// Counts and sums by key, and says so each second of event time.
struct Counter {
  ValueState<Total> seen{"seen", {.ttl = 24h}};
  ListState<std::int64_t> values{"values"};

  void process(const Row& row, KeyedContext<std::int64_t, Total>& ctx) {
    ++seen.get().count;
    values.add(row.value);
    ctx.set_timer(Timestamp{Duration{(row.at.time_since_epoch().count() / 1'000'000 + 1) * 1'000'000}});
  }
  void on_timer(Timestamp, KeyedContext<std::int64_t, Total>& ctx) {
    std::int64_t sum = 0;
    for (const std::int64_t value : values.get()) sum += value;
    ctx.emit({ctx.key(), seen.get().count, sum});
    seen.clear();
    values.clear();
  }
};

struct Scenario {
  const char* name;
  std::function<DataStream<Total>(StreamEnvironment&)> build;
  bool running;  // every row out is of a key's sum so far
};

const Scenario kScenarios[] = {
    {"rolling",
     [](StreamEnvironment& env) {
       return rows_of(env)
           .aggregate(key().as(&Total::key), count().as(&Total::count), sum(&Row::value).as(&Total::total))
           .uid("step");
     },
     true},
    {"windows",
     [](StreamEnvironment& env) {
       return rows_of(env)
           .window(sliding({.size = 1s, .slide = 1s}))
           .aggregate(key().as(&Total::key), count().as(&Total::count), sum(&Row::value).as(&Total::total))
           .uid("step");
     },
     false},
    {"functions",
     [](StreamEnvironment& env) { return rows_of(env).process<Total>(Counter{}).uid("step"); }, false},
};

// The error that the job ended with; empty: it came to its end.
std::string run_job(const Scenario& scenario, const testing::TempDir& directory, std::int64_t fails) {
  spared = true;
  fails_at = fails;
  allocations = 0;
  StreamEnvironment env({.parallelism = 2,
                         .checkpoint = {.interval = 2ms, .directory = directory / "checkpoints"},
                         .restart = fixed_delay({.attempts = 3, .delay = 1ms}),
                         .batch_rows = 64});
  scenario.build(env)
      .sink_to(files::sink<Total>({.directory = directory / "out", .roll_interval = 1ms}))
      .uid("out");
  counting = true;
  std::string error;
  try {
    env.execute("job");
  } catch (const JobError& failure) {
    error = failure.what();
  }
  counting = false;
  return error;
}

// By key: the number of lines, the count and the sum that they say.
struct Written {
  std::int64_t lines = 0, count = 0, total = 0;
};

std::map<std::int64_t, Written> written_to(const testing::TempDir& directory, bool running) {
  std::map<std::int64_t, Written> keys;
  for (const auto& file : std::filesystem::directory_iterator(directory / "out")) {
    if (file.path().extension() != ".jsonl") continue;
    std::ifstream in(file.path());
    for (std::string line; std::getline(in, line);) {
      long long key = 0, count = 0, total = 0;
      EXPECT_EQ(std::sscanf(line.c_str(), R"({"key":%lld,"count":%lld,"total":%lld})", &key, &count, &total), 3)
          << line;
      Written& written = keys[key];
      ++written.lines;
      written.count = running ? std::max<std::int64_t>(written.count, count) : written.count + count;
      written.total = running ? std::max<std::int64_t>(written.total, total) : written.total + total;
    }
  }
  return keys;
}

void expect_right(const std::map<std::int64_t, Written>& keys, bool running, const std::string& what) {
  std::map<std::int64_t, Written> expected;
  for (std::int64_t i = 0; i < kRows; ++i) {
    const Row row = make_row(static_cast<std::uint64_t>(i));
    ++expected[row.key].count;
    expected[row.key].total += row.value;
  }
  ASSERT_EQ(keys.size(), expected.size()) << what;
  for (const auto& [key, written] : keys) {
    ASSERT_EQ(written.count, expected[key].count) << what << ", key " << key;
    ASSERT_EQ(written.total, expected[key].total) << what << ", key " << key;
    if (running) {
      ASSERT_EQ(written.lines, written.count) << what << ", key " << key;
    }
  }
}

class OutOfMemory : public ::testing::TestWithParam<Scenario> {};

TEST_P(OutOfMemory, AnAllocationThatFailsCostsARestartOrTheJobAndNoRow) {
  const Scenario& scenario = GetParam();
  std::int64_t all = 0;
  {
    const testing::TempDir directory;
    ASSERT_EQ(run_job(scenario, directory, 0), "");
    expect_right(written_to(directory, scenario.running), scenario.running, "without a failure");
    all = allocations;
  }
  std::mt19937_64 random(testing::first_seed());
  int ended = 0, hit = 0;
  const std::uint64_t runs = testing::seed_count(60);
  for (std::uint64_t i = 0; i < runs; ++i) {
    const testing::TempDir directory;
    const std::int64_t at = 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(all));
    const std::string what = std::string(scenario.name) + ", allocation " + std::to_string(at);
    SCOPED_TRACE(what);
    const std::string error = run_job(scenario, directory, at);
    const bool was_hit = allocations >= at;
    hit += was_hit;
    if (!was_hit) all = allocations;  // there may be fewer than in the first run, with fewer checkpoints
    if (!error.empty()) {
      ++ended;
      ASSERT_EQ(run_job(scenario, directory, 0), "") << "the next start, after: " << error;
    }
    expect_right(written_to(directory, scenario.running), scenario.running, what);
    if (HasFatalFailure()) return;
  }
  std::printf("%s: %lld allocations, %d of %llu runs hit, %d ended the job\n", scenario.name,
              static_cast<long long>(all), hit, static_cast<unsigned long long>(runs), ended);
  EXPECT_GT(hit, static_cast<int>(runs / 2));
}

INSTANTIATE_TEST_SUITE_P(Jobs, OutOfMemory, ::testing::ValuesIn(kScenarios),
                         [](const auto& scenario) { return std::string(scenario.param.name); });

}  // namespace
}  // namespace levada
