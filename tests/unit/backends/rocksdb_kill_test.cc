// Processes that are killed with state in RocksDB: whoever goes on from the files has every row once. A program of
// its own: the process that forks must not have used RocksDB, whose threads do not come along.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <map>
#include <random>
#include <stdexcept>
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
constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();

// How many rows any process has made; one that is killed leaves that.
class Made {
 public:
  Made()
      : count_(static_cast<std::atomic<std::int64_t>*>(::mmap(nullptr, sizeof(std::atomic<std::int64_t>),
                                                              PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                                              -1, 0))) {
    if (count_ == MAP_FAILED) throw std::runtime_error("mmap failed");
  }
  ~Made() { ::munmap(count_, sizeof *count_); }
  Made(const Made&) = delete;
  Made& operator=(const Made&) = delete;

  // The source has one split, read by one thread.
  void add(std::int64_t row) { *count_ = std::max(count_->load(), row + 1); }
  std::int64_t count() const { return *count_; }

 private:
  std::atomic<std::int64_t>* const count_;
};

// After so many random rows each key comes once: those results tell the whole state.
Row make_row(std::int64_t row, std::int64_t random_rows) {
  const std::uint64_t h = detail::mix(static_cast<std::uint64_t>(row));
  return {row < random_rows ? static_cast<std::int64_t>(h % kKeys) : row - random_rows,
          static_cast<std::int64_t>((h >> 20) % 1000)};
}

// Runs the job to its end, if it has one; 0: all results are right.
int run_job(const testing::TempDir& directory, int parallelism, Made& made, std::int64_t random_rows) {
  const std::uint64_t rows = random_rows == kEndless ? 0 : static_cast<std::uint64_t>(random_rows + kKeys);
  Collected<Sum> collected;
  StreamEnvironment env({.parallelism = parallelism,
                         .checkpoint = {.interval = 20ms, .directory = directory / "checkpoints"},
                         .state = rocksdb::state({.directory = directory / "cold"}),
                         .restart = no_restart(),
                         .memory = 2_MiB});
  const auto make = [&made, random_rows](std::uint64_t i) {
    made.add(static_cast<std::int64_t>(i));
    return make_row(static_cast<std::int64_t>(i), random_rows);
  };
  env.generate<Row>(make, {.rows = rows, .rate = 200'000, .splits = 1})
      .uid("rows")
      .key_by(&Row::key)
      .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
      .uid("sums")
      .collect_into(collected)
      .uid("out");
  env.execute("killed");
  std::map<std::int64_t, Sum> expected, last;
  for (std::int64_t i = 0; i < random_rows + kKeys; ++i) {
    const Row row = make_row(i, random_rows);
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
  Made made;
  for (const int parallelism : {1, 2, 3, 2}) {
    const pid_t child = testing::start_child([&] { return run_job(directory, parallelism, made, kEndless); });
    // The process dies at any moment: what matters is what it finds at the next start.
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random() % 250));
    ::kill(child, SIGKILL);
    EXPECT_EQ(testing::wait_for(child).signal, SIGKILL);
  }
  // Some random rows more than all that a checkpoint may have.
  const std::int64_t random_rows = made.count() + 20'000;
  const testing::ChildExit end = testing::run_in_child([&] { return run_job(directory, 2, made, random_rows); });
  EXPECT_EQ(end.code, 0) << "1: keys are missing, 2: sums are wrong, 99: it threw; signal " << end.signal;
}

}  // namespace
}  // namespace levada
