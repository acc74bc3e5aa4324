// A job that is restarted a thousand times in its process leaves nothing behind.
#include <gmock/gmock.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <numeric>
#include <sstream>
#include <thread>

#include "levada/levada.h"
#include "support/gated_source.h"
#include "support/job_progress.h"
#include "support/memory_target.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

namespace fs = std::filesystem;
using testing::Gate;
using testing::gated_source;
using testing::memory_sink;
using testing::MemoryTable;
using testing::rows_of;
using testing::TempDir;
using testing::wait_for_status;
using testing::wait_until;

std::size_t entries_of(const std::string& directory) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(directory)) {
    static_cast<void>(entry);
    ++count;
  }
  return count;
}

std::size_t files_below(const std::string& directory) {
  std::size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) count += entry.is_regular_file();
  return count;
}

// A thread that has ended may still be seen for a while.
std::size_t threads_once_at_most(std::size_t most) {
  std::size_t count = entries_of("/proc/self/task");
  for (int i = 0; i < 10'000 && count > most; ++i) {
    std::this_thread::sleep_for(1ms);
    count = entries_of("/proc/self/task");
  }
  return count;
}

struct Resources {
  std::size_t threads = entries_of("/proc/self/task");
  std::size_t descriptors = entries_of("/proc/self/fd");
  std::size_t heap = mallinfo2().uordblks;  // 0 under a sanitizer, which has a heap of its own
};

TEST(Restarts, LeaveNoThreadDescriptorFileOrMemoryBehind) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int kRestarts = 200;
#else
  constexpr int kRestarts = 1'000;
#endif
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  const auto gate = std::make_shared<Gate>();
  const Resources before;
  Resources early, late;
  std::size_t files = 0;
  std::uint64_t rows = 0;
  std::atomic<int> failures{kRestarts};
  {
    StreamEnvironment env({.parallelism = 2,
                           .checkpoint = {.interval = 1ms, .directory = dir.path()},
                           .restart = exponential({.initial_backoff = 1us, .max_backoff = 1us})});
    const auto same = [](std::uint64_t i) { return static_cast<std::int64_t>(i); };
    auto numbers = env.from_source(gated_source<std::int64_t>(gate, same, {.rate = 20'000, .splits = 2}))
                       .uid("numbers")
                       .map([&](std::int64_t x) {
                         if (failures < kRestarts) {
                           const int failure = ++failures;
                           if (failure == kRestarts / 10) early = Resources();
                           if (failure == kRestarts) {
                             late = Resources();
                             late.threads = threads_once_at_most(early.threads + 1);
                             files = files_below(dir.path());
                           }
                           throw std::runtime_error("again");
                         }
                         return x;
                       });
    numbers.key_by([](std::int64_t x) { return x % 100; })
        .reduce([](std::int64_t, std::int64_t b) { return b; })
        .uid("latest")
        .sink_to(memory_sink<std::int64_t>(table))
        .uid("out");
    Job job = env.execute_async("again");
    // What fails before the job has run is not tried again.
    wait_for_status(job, [](const JobStatus& status) { return status.state == JobState::kRunning; });
    failures = 0;
    wait_until([&] { return failures >= kRestarts; });
    const std::size_t published = table->rows().size();
    wait_until([&] { return table->rows().size() > published; });
    rows = gate->end_after(1'000);
    job.wait();
    EXPECT_GE(job.status().restarts, kRestarts / 2) << "two subtasks may fail in one attempt";
    std::istringstream shares(job.explain());
    for (std::string line; std::getline(shares, line);) {
      if (line.find(", used ") == std::string::npos) continue;
      EXPECT_NE(line.find(", used 0, "), std::string::npos) << line;
    }
  }
  Resources after;
  after.threads = threads_once_at_most(before.threads);
  std::vector<std::int64_t> written = rows_of<std::int64_t>(*table), expected(rows);
  std::sort(written.begin(), written.end());
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(written, expected);
  EXPECT_LE(late.threads, early.threads + 1) << "the attempt may not have had all its threads";
  EXPECT_LE(late.descriptors, early.descriptors + 4);
  EXPECT_LE(late.heap, early.heap + 512 * 1024);
  EXPECT_LE(files, 40u);
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_EQ(after.descriptors, before.descriptors);
}

}  // namespace
}  // namespace levada
