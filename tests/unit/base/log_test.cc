#include "base/log.h"

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace levada {
namespace {

TEST(Log, HandsEveryMessageToTheSinkWithItsLevel) {
  std::vector<std::string> lines;
  Log log([&](LogLevel level, std::string_view text) {
    lines.push_back(std::string(to_string(level)) + ": " + std::string(text));
  });
  log.debug("a");
  log.info("b");
  log.warning("c");
  log.error("d");
  EXPECT_EQ(lines, (std::vector<std::string>{"debug: a", "info: b", "warning: c", "error: d"}));
}

TEST(Log, CallsTheSinkFromOneThreadAtATime) {
  std::atomic<int> inside{0};
  int lines = 0;  // plain on purpose: only the log keeps it whole
  Log log([&](LogLevel, std::string_view) {
    EXPECT_EQ(inside.fetch_add(1), 0);
    ++lines;
    inside.fetch_sub(1);
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) log.info("x");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lines, 4000);
}

TEST(Log, SwallowsWhatTheSinkThrowsAndGoesOn) {
  int calls = 0;
  Log log([&](LogLevel, std::string_view) {
    ++calls;
    throw std::runtime_error("the host's disk is full");
  });
  log.error("a");
  log.error("b");
  EXPECT_EQ(calls, 2);
}

TEST(Log, WithoutASinkDropsMessages) {
  Log log({});
  log.error("nobody hears this");
}

}  // namespace
}  // namespace levada
