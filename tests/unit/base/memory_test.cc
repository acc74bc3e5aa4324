#include "levada/memory.h"

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/memory_limit.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

TEST(MemoryShare, GivesWhatFitsAndNotAByteMore) {
  MemoryShare share("state", 100);
  EXPECT_TRUE(share.try_acquire(60));
  EXPECT_FALSE(share.try_acquire(41));
  EXPECT_TRUE(share.try_acquire(40));
  EXPECT_FALSE(share.try_acquire(1));
  EXPECT_TRUE(share.try_acquire(0));
  share.release(70);
  EXPECT_EQ(share.used_bytes(), 30u);
  EXPECT_EQ(share.peak_bytes(), 100u);
  EXPECT_FALSE(share.try_acquire(SIZE_MAX));
}

TEST(MemoryShare, GoesBeyondItsLimitOnlyForWhatMustExist) {
  MemoryShare share("channels", 100);
  share.acquire(150);
  EXPECT_EQ(share.used_bytes(), 150u);
  EXPECT_FALSE(share.try_acquire(1));
  share.release(150);
  EXPECT_TRUE(share.try_acquire(100));
}

TEST(MemoryShareDeathTest, NeverTakesBackMoreThanItGave) {
  MemoryShare share("state", 100);
  share.acquire(10);
  EXPECT_EXIT(share.release(11), ::testing::KilledBySignal(SIGABRT), "");
}

TEST(MemoryShare, CountsRightFromManyThreads) {
  MemoryShare share("state", 1000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 10'000; ++j) {
        if (share.try_acquire(300)) share.release(300);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(share.used_bytes(), 0u);
  EXPECT_LE(share.peak_bytes(), 900u);
}

TEST(MemoryBudget, DividesAllItHasIntoNamedShares) {
  MemoryBudget budget(16_MiB);
  std::size_t sum = 0;
  for (const auto& share : budget.shares()) sum += share->limit_bytes();
  EXPECT_EQ(sum, 16_MiB);
  EXPECT_EQ(budget.state().name(), "state");
  EXPECT_EQ(budget.channels().name(), "channels");
  EXPECT_EQ(budget.snapshots().name(), "snapshots");
  EXPECT_EQ(budget.prefetch().name(), "prefetch");
  EXPECT_EQ(budget.sinks().name(), "sinks");
  EXPECT_EQ(budget.state().limit_bytes(), 8_MiB);
}

TEST(MemoryBudget, IsAQuarterOfWhatThereIsByDefault) {
  EXPECT_GT(default_memory_bytes(), 16_MiB);
  EXPECT_LT(default_memory_bytes(), 1024_GiB);
}

class MemoryLimit : public ::testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  testing::TempDir root_;
};

TEST_F(MemoryLimit, IsTheMachinesWithoutACgroup) {
  EXPECT_EQ(memory_limit_bytes(1000, root_.path()), 1000u);
}

TEST_F(MemoryLimit, IsTheLeastOfAllGroupsAroundTheProcessInVersionTwo) {
  put("proc/self/cgroup", "0::/system.slice/app.service\n");
  put("sys/fs/cgroup/system.slice/app.service/memory.max", "max\n");
  EXPECT_EQ(memory_limit_bytes(1000, root_.path()), 1000u);
  put("sys/fs/cgroup/system.slice/memory.max", "600\n");
  EXPECT_EQ(memory_limit_bytes(1000, root_.path()), 600u);
  put("sys/fs/cgroup/system.slice/app.service/memory.max", "400\n");
  EXPECT_EQ(memory_limit_bytes(1000, root_.path()), 400u);
  EXPECT_EQ(memory_limit_bytes(300, root_.path()), 300u);
}

TEST_F(MemoryLimit, IsFoundAtTheMountInsideAContainer) {
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/memory.max", "500\n");
  EXPECT_EQ(memory_limit_bytes(1000, root_.path()), 500u);
  put("proc/self/cgroup", "0::/docker/0123\n");
  EXPECT_EQ(memory_limit_bytes(1000, root_.path()), 500u);
}

TEST_F(MemoryLimit, IsReadFromVersionOne) {
  put("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a/b\n1:name=systemd:/a\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "700\n");
  EXPECT_EQ(memory_limit_bytes(1000, root_.path()), 700u);
}

}  // namespace
}  // namespace levada
