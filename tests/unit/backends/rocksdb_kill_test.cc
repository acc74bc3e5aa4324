// Processes that are killed with state in RocksDB: whoever goes on from the files has every row once. A program of
// its own: the process that forks must not have used RocksDB, whose threads do not come along.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <map>
#include <random>
#include <thread>

#include "levada/levada.h"
#include "levada/rocksdb.h"
#include "support/child_process.h"
#include "support/seed.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

struct Row {
  std::int64_t key = 0, value = 0;
};
LEVADA_RECORD(Row, key, value)

struct Sum {
  std::int64_t key = 0, count = 0, total = 0;
};
LEVADA_RECORD(Sum, key, count, total)

constexpr std::int64_t kKeys = 40'000;
constexpr std::int64_t kRowsPerSecond = 200'000;
// More than come while processes are killed.
constexpr std::int64_t kRandomRows = kRowsPerSecond * 4 * 350 / 1000 + 20'000;

// The last rows have each key once: their results tell the whole state.
Row make_row(std::uint64_t i) {
  const auto row = static_cast<std::int64_t>(i);
  const std::uint64_t h = detail::mix(i);
  return {row < kRandomRows ? static_cast<std::int64_t>(h % kKeys) : row - kRandomRows,
          static_cast<std::int64_t>((h >> 20) % 1000)};
}

// Runs the job to its end; 0: all results are right.
int run_job(const testing::TempDir& directory, int parallelism) {
  Collected<Sum> collected;
  StreamEnvironment env({.parallelism = parallelism,
                         .checkpoint = {.interval = 20ms, .directory = directory / "checkpoints"},
                         .state = rocksdb::state({.directory = directory / "cold"}),
                         .restart = no_restart(),
                         .memory = 2_MiB});
  env.generate<Row>(make_row, {.rows = kRandomRows + kKeys, .rate = kRowsPerSecond, .splits = 1})
      .uid("rows")
      .key_by(&Row::key)
      .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
      .uid("sums")
      .collect_into(collected)
      .uid("out");
  env.execute("killed");
  std::map<std::int64_t, Sum> expected, last;
  for (std::int64_t i = 0; i < kRandomRows + kKeys; ++i) {
    const Row row = make_row(static_cast<std::uint64_t>(i));
    ++expected[row.key].count;
    expected[row.key].total += row.value;
  }
  for (const Sum& row : collected.rows()) last[row.key] = row;
  if (last.size() != expected.size()) return 1;
  for (const auto& [key, sum] : expected) {
    if (last[key].count != sum.count || last[key].total != sum.total) return 2;
  }
  return 0;
}

TEST(RocksDbKill, NoRowIsLostOrCountedTwice) {
  const testing::TempDir directory;
  std::mt19937_64 random(testing::first_seed());
  int kills = 0;
  for (const int parallelism : {1, 2, 3, 2}) {
    const pid_t child = testing::start_child([&] { return run_job(directory, parallelism); });
    // The process dies at any moment: what matters is what it finds at the next start.
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random() % 250));
    ::kill(child, SIGKILL);
    kills += testing::wait_for(child).signal == SIGKILL;
  }
  EXPECT_GT(kills, 0);
  const testing::ChildExit end = testing::run_in_child([&] { return run_job(directory, 2); });
  EXPECT_EQ(end.code, 0) << "1: keys are missing, 2: sums are wrong, 99: it threw; signal " << end.signal;
}

}  // namespace
}  // namespace levada
