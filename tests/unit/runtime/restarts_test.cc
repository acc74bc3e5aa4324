// A job that is restarted a thousand times in its process leaves nothing behind.
#include <gmock/gmock.h>
#include <malloc.h>

#include <atomic>
#include <filesystem>
#include <sstream>
#include <thread>

#include "levada/levada.h"
#include "support/memory_target.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

namespace fs = std::filesystem;
using testing::memory_sink;
using testing::MemoryTable;
using testing::rows_of;
using testing::TempDir;

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
  constexpr std::int64_t kRows = 4 * kRestarts;
  const TempDir dir;
  const auto table = std::make_shared<MemoryTable>();
  const Resources before;
  Resources early, late;
  std::size_t files = 0;
  std::atomic<int> failures{kRestarts};
  {
    StreamEnvironment env({.parallelism = 2,
                           .checkpoint = {.interval = 1ms, .directory = dir.path()},
                           .restart = exponential({.initial_backoff = 1us, .max_backoff = 1us})});
    auto numbers = env.generate<std::int64_t>([](std::uint64_t i) { return static_cast<std::int64_t>(i); },
                                              {.rows = kRows, .rate = 20'000, .splits = 2})
                       .uid("numbers")
                       .map([&](std::int64_t x) {
                         if (failures < kRestarts) {
                           const int failure = ++failures;
                           if (failure == kRestarts / 10) early = Resources();
                           if (failure == kRestarts) {
                             late = Resources();
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
    while (job.status().state != JobState::kRunning) std::this_thread::yield();
    failures = 0;
    job.wait();
    EXPECT_GE(job.status().restarts, kRestarts / 2) << "two subtasks may fail in one attempt";
    std::istringstream shares(job.explain());
    for (std::string line; std::getline(shares, line);) {
      if (line.find(", used ") == std::string::npos) continue;
      EXPECT_NE(line.find(", used 0, "), std::string::npos) << line;
    }
  }
  const Resources after;
  EXPECT_EQ(rows_of<std::int64_t>(*table).size(), static_cast<std::size_t>(kRows));
  EXPECT_LE(late.threads, early.threads + 1) << "a thread that is just ending may still be seen";
  EXPECT_LE(late.descriptors, early.descriptors + 4);
  EXPECT_LE(late.heap, early.heap + 512 * 1024);
  EXPECT_LE(files, 40u);
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_EQ(after.descriptors, before.descriptors);
}

}  // namespace
}  // namespace levada
