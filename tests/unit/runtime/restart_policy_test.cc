#include "runtime/restart_policy.h"

#include <gmock/gmock.h>

#include <limits>

#include "graph/validation.h"
#include "levada/levada.h"

namespace levada {
namespace {

using ::testing::HasSubstr;

// Failures at given times, counted in seconds.
class Failing {
 public:
  explicit Failing(const RestartStrategy& strategy, std::uint64_t seed = 1, bool checkpoints = true)
      : policy_(strategy, checkpoints, seed) {}
  std::optional<Duration> at(double seconds) {
    return policy_.failed(SteadyTime{std::chrono::nanoseconds{static_cast<std::int64_t>(seconds * 1e9)}});
  }
  int restarts() const { return policy_.restarts(); }

 private:
  RestartPolicy policy_;
};

TEST(RestartPolicy, OfNoneNeverRestarts) {
  Failing failing(no_restart());
  EXPECT_EQ(failing.at(1), std::nullopt);
  EXPECT_EQ(failing.restarts(), 0);
}

TEST(RestartPolicy, IsAFixedDelayByDefaultWithCheckpointsAndNoneWithout) {
  Failing with(RestartStrategy{});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(with.at(i), Duration{1s});
  EXPECT_EQ(with.at(4), std::nullopt);
  Failing without(RestartStrategy{}, 1, false);
  EXPECT_EQ(without.at(0), std::nullopt);
}

TEST(RestartPolicy, OfAFixedDelayCountsTheRestartsOfTheWholeLife) {
  Failing failing(fixed_delay({.attempts = 2, .delay = 5ms}));
  EXPECT_EQ(failing.at(0), Duration{5ms});
  EXPECT_EQ(failing.at(1e6), Duration{5ms});
  EXPECT_EQ(failing.at(2e6), std::nullopt);
  EXPECT_EQ(failing.restarts(), 2);
}

TEST(RestartPolicy, OfAnExponentialDelayGrowsToItsMostAndNeverEnds) {
  Failing failing(exponential({.initial_backoff = 1s, .max_backoff = 10s, .backoff_multiplier = 3,
                               .jitter_factor = 0}));
  EXPECT_EQ(failing.at(0), Duration{1s});
  EXPECT_EQ(failing.at(2), Duration{3s});
  EXPECT_EQ(failing.at(6), Duration{9s});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(failing.at(20 + i), Duration{10s});
  EXPECT_EQ(failing.restarts(), 103);
}

TEST(RestartPolicy, OfAnExponentialDelayBeginsAnewAfterAQuietTimeThatTheDelayIsNoPartOf) {
  Failing failing(exponential({.initial_backoff = 2s, .max_backoff = 100s, .backoff_multiplier = 2,
                               .jitter_factor = 0, .reset_backoff_threshold = 10s}));
  EXPECT_EQ(failing.at(0), Duration{2s});
  EXPECT_EQ(failing.at(11.9), Duration{4s}) << "9.9 s after it ran again";
  EXPECT_EQ(failing.at(25.9), Duration{2s}) << "10 s after it ran again";
}

TEST(RestartPolicy, OfAnExponentialDelayDrawsItsJitterFromTheSeed) {
  const RestartStrategy strategy = exponential(
      {.initial_backoff = 1s, .max_backoff = 1s, .backoff_multiplier = 1, .jitter_factor = 0.25});
  Failing one(strategy, 7), same(strategy, 7), other(strategy, 8);
  bool differs = false;
  Duration least = 10s, most{};
  for (int i = 0; i < 200; ++i) {
    const Duration delay = *one.at(i);
    EXPECT_EQ(delay, *same.at(i));
    differs = differs || delay != *other.at(i);
    least = std::min(least, delay);
    most = std::max(most, delay);
  }
  EXPECT_TRUE(differs);
  EXPECT_GE(least, Duration{750ms});
  EXPECT_LT(least, Duration{800ms});
  EXPECT_EQ(most, Duration{1s}) << "never above the most";
}

TEST(RestartPolicy, OfAFailureRateEndsWhenItFailsTooOftenWithinTheInterval) {
  Failing failing(failure_rate({.max_failures_per_interval = 2, .interval = 10s, .delay = 3ms}));
  EXPECT_EQ(failing.at(0), Duration{3ms});
  EXPECT_EQ(failing.at(5), Duration{3ms});
  EXPECT_EQ(failing.at(10.5), Duration{3ms}) << "the first is out of the interval";
  EXPECT_EQ(failing.at(20), Duration{3ms}) << "two in the interval";
  EXPECT_EQ(failing.at(20.4), std::nullopt) << "three";
  EXPECT_EQ(failing.restarts(), 4);
}

std::string problems_with(const EnvironmentOptions& options) {
  StreamEnvironment env(options);
  env.from_values<int>({1}).uid("a").discard().uid("b");
  try {
    validate(*env.graph(), env.options());
  } catch (const GraphError& error) {
    return error.what();
  }
  return {};
}

std::string problems_with(const RestartStrategy& strategy) {
  return problems_with(EnvironmentOptions{.checkpoint = {.directory = "/x"}, .restart = strategy});
}

TEST(RestartOptions, ThatMakeNoSenseAreErrors) {
  EXPECT_EQ(problems_with(exponential()), "");
  EXPECT_EQ(problems_with(failure_rate()), "");
  EXPECT_EQ(problems_with(exponential({.backoff_multiplier = 1, .jitter_factor = 1})), "");
  EXPECT_THAT(problems_with(fixed_delay({.attempts = -1})), HasSubstr("attempts must be at least 0"));
  EXPECT_THAT(problems_with(fixed_delay({.delay = -1s})), HasSubstr("restart: delay must be from 0"));
  EXPECT_THAT(problems_with(exponential({.initial_backoff = 0s})),
              HasSubstr("initial_backoff must be greater than 0"));
  EXPECT_THAT(problems_with(exponential({.initial_backoff = 5s, .max_backoff = 4s})),
              HasSubstr("max_backoff must not be less"));
  EXPECT_THAT(problems_with(exponential({.max_backoff = Duration::max()})),
              HasSubstr("max_backoff must be from 0 to 100 years"));
  for (const double bad : {0.5, -1.0, std::numeric_limits<double>::quiet_NaN(),
                           std::numeric_limits<double>::infinity()}) {
    EXPECT_THAT(problems_with(exponential({.backoff_multiplier = bad})), HasSubstr("backoff_multiplier"));
  }
  for (const double bad : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(problems_with(exponential({.jitter_factor = bad})), HasSubstr("jitter_factor"));
  }
  EXPECT_THAT(problems_with(failure_rate({.max_failures_per_interval = 0})),
              HasSubstr("max_failures_per_interval must be at least 1"));
  EXPECT_THAT(problems_with(failure_rate({.interval = 0s})), HasSubstr("interval must be greater than 0"));
}

TEST(CheckpointOptions, ThatMakeNoSenseAreErrors) {
  EXPECT_EQ(problems_with(EnvironmentOptions{.checkpoint = {.directory = "/x"}}), "")
      << "checkpoints on demand only";
  EXPECT_THAT(problems_with(EnvironmentOptions{.checkpoint = {.directory = "/x", .min_pause = -1s}}),
              HasSubstr("checkpoint.min_pause must be from 0"));
  EXPECT_THAT(problems_with(EnvironmentOptions{.checkpoint = {.interval = -1s, .directory = "/x"}}),
              HasSubstr("checkpoint.interval must be from 0"));
  EXPECT_THAT(problems_with(EnvironmentOptions{
                  .checkpoint = {.directory = "/x", .compression = static_cast<Compression>(9)}}),
              HasSubstr("checkpoint.compression"));
}

}  // namespace
}  // namespace levada
