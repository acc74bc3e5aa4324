// A slow sink holds a job back: memory stays flat, no row is lost, and the job is at full speed at once when
// the sink is.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>

#include "levada/levada.h"

namespace levada {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kRows = 1'000'000;
constexpr std::size_t kBudget = 64_MiB;

struct Letter {
  std::uint64_t number = 0;
  std::string text;
};
LEVADA_RECORD(Letter, number, text)

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// Rows with half a kilobyte outside of them go through two exchanges into a sink that can be slowed down.
class BackPressure : public ::testing::Test {
 protected:
  Job start() {
    StreamEnvironment env({.parallelism = 2, .memory = kBudget});
    env.generate<Letter>(
           [this](std::uint64_t i, Letter& letter) {
             ++made_;
             letter.number = i;
             letter.text.assign(512, static_cast<char>('a' + i % 26));
           },
           {.rows = kRows, .splits = 2})
        .rebalance()
        .map([](Letter letter) {
          letter.text.back() = '.';
          return letter;
        })
        .key_by([](const Letter& letter) { return letter.number % 100; })
        .reduce([](const Letter&, Letter newest) { return newest; })
        .for_each([this](const Letter& letter) {
          sum_ += letter.number;
          ++taken_;
          if (slow_) std::this_thread::sleep_for(100us);
        });
    return env.execute_async("back-pressure");
  }

  std::uint64_t taken_in(std::chrono::milliseconds time) {
    const std::uint64_t before = taken_;
    std::this_thread::sleep_for(time);
    return taken_ - before;
  }

  std::atomic<bool> slow_{true};
  std::atomic<std::uint64_t> made_{0};
  std::atomic<std::uint64_t> taken_{0};
  std::atomic<std::uint64_t> sum_{0};
};

TEST_F(BackPressure, HoldsTheSourceKeepsMemoryFlatLosesNothingAndEndsAtOnce) {
  const std::size_t before = resident_bytes();
  Job job = start();
  while (taken_ == 0 && !job.wait_for(1ms)) {
  }
  taken_in(1000ms);
  // Batches that go round come to hold the characters of their rows one after the other: the budget is the
  // bound, a tenth of what all rows would take.
  std::size_t most = before;
  std::uint64_t slowly = 0;
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 4; ++i) {
    slowly += taken_in(500ms);
    most = std::max(most, resident_bytes());
  }
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begun;
  const double slow_rate = static_cast<double>(slowly) / passed.count();
  EXPECT_GT(slowly, 0u);
  EXPECT_LT(most - before, kBudget);
  // Two exchanges of four channels with at most eight batches each, and what is between them.
  EXPECT_LT(made_ - taken_, 100'000u);
  ASSERT_LT(made_, kRows) << "the sink was not slow enough to hold anything back";

  slow_ = false;
  const std::uint64_t left = kRows - taken_;
  const auto released = std::chrono::steady_clock::now();
  taken_in(500ms);
  EXPECT_LT(resident_bytes() - before, kBudget);
  job.wait();
  const std::chrono::duration<double> quickly = std::chrono::steady_clock::now() - released;
  EXPECT_GT(static_cast<double>(left) / quickly.count(), 10 * slow_rate);
  EXPECT_EQ(taken_, kRows);
  EXPECT_EQ(sum_, kRows * (kRows - 1) / 2);
}

}  // namespace
}  // namespace levada
