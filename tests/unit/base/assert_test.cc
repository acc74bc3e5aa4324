#include "levada/assert.h"

#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/assert_scope.h"

namespace levada {
namespace {

TEST(AssertScope, NestsAndBelongsToItsThread) {
  EXPECT_EQ(AssertScope::current(), nullptr);
  Log log({});
  const AssertScope outer(log, "source", 0);
  {
    const AssertScope inner(log, "window", 2);
    EXPECT_EQ(AssertScope::current()->node(), "window");
    EXPECT_EQ(AssertScope::current()->subtask(), 2);
  }
  EXPECT_EQ(AssertScope::current()->node(), "source");
}

TEST(AssertDeathTest, TellsTheLogExpressionValuesNodeAndSubtaskAndAborts) {
  const auto broken = [] {
    Log log([](LogLevel, std::string_view text) {
      static_cast<void>(!::write(2, text.data(), text.size()));
    });
    const AssertScope scope(log, "window", 2);
    const int barrier = 7;
    LEVADA_ASSERT(barrier > 8, "barriers come in order, not " + std::to_string(barrier));
  };
  EXPECT_EXIT(broken(), ::testing::KilledBySignal(SIGABRT),
              "broken invariant: barriers come in order, not 7 .barrier > 8, .*assert_test.cc:.*"
              "node 'window', subtask 2");
}

TEST(AssertDeathTest, AnAssertInsideTheLogSinkEndsToo) {
  const auto broken = [] {
    Log log([](LogLevel, std::string_view) { LEVADA_ASSERT(false, "again"); });
    const AssertScope scope(log, "window", 2);
    LEVADA_ASSERT(false, "first");
  };
  EXPECT_EXIT(broken(), ::testing::KilledBySignal(SIGABRT), "");
}

TEST(Assert, DoesNotBuildItsMessageWhenTheInvariantHolds) {
  bool built = false;
  const auto message = [&] {
    built = true;
    return std::string("never");
  };
  LEVADA_ASSERT(1 + 1 == 2, message());
  EXPECT_FALSE(built);
}

}  // namespace
}  // namespace levada
