#include "runtime/restart_policy.h"

#include <algorithm>

namespace levada {

RestartStrategy no_restart() {
  RestartStrategy strategy;
  strategy.kind = RestartStrategy::Kind::kNone;
  return strategy;
}

RestartStrategy fixed_delay(FixedDelay options) {
  RestartStrategy strategy;
  strategy.kind = RestartStrategy::Kind::kFixedDelay;
  strategy.fixed_delay = options;
  return strategy;
}

RestartStrategy exponential(ExponentialDelay options) {
  RestartStrategy strategy;
  strategy.kind = RestartStrategy::Kind::kExponentialDelay;
  strategy.exponential = options;
  return strategy;
}

RestartStrategy failure_rate(FailureRate options) {
  RestartStrategy strategy;
  strategy.kind = RestartStrategy::Kind::kFailureRate;
  strategy.failure_rate = options;
  return strategy;
}

StateBackendOptions memory_state() { return {}; }

RestartPolicy::RestartPolicy(const RestartStrategy& strategy, bool checkpoints, std::uint64_t seed)
    : strategy_(strategy), random_(seed) {
  if (strategy_.kind == RestartStrategy::Kind::kDefault) {
    strategy_ = checkpoints ? fixed_delay() : no_restart();
  }
}

std::optional<Duration> RestartPolicy::failed(SteadyTime now) {
  const std::optional<Duration> delay = next_delay(now);
  if (delay) ++restarts_;
  return delay;
}

std::optional<Duration> RestartPolicy::next_delay(SteadyTime now) {
  switch (strategy_.kind) {
    case RestartStrategy::Kind::kFixedDelay:
      if (restarts_ >= strategy_.fixed_delay.attempts) return std::nullopt;
      return strategy_.fixed_delay.delay;
    case RestartStrategy::Kind::kExponentialDelay:
      return exponential_delay(now);
    case RestartStrategy::Kind::kFailureRate:
      if (too_often(now)) return std::nullopt;
      return strategy_.failure_rate.delay;
    case RestartStrategy::Kind::kDefault:
    case RestartStrategy::Kind::kNone:
      break;
  }
  return std::nullopt;
}

// The time of the delay itself is not time in which the job ran quietly.
Duration RestartPolicy::exponential_delay(SteadyTime now) {
  const ExponentialDelay& options = strategy_.exponential;
  if (quiet_at_ == kNever || now >= quiet_at_) backoff_ = options.initial_backoff;
  const auto base = static_cast<double>(backoff_.count());
  const double jitter = base * options.jitter_factor * (2 * random_.uniform() - 1);
  const auto most = static_cast<double>(options.max_backoff.count());
  const Duration delay{static_cast<Duration::rep>(std::clamp(base + jitter, 0.0, most))};
  backoff_ = Duration{static_cast<Duration::rep>(std::min(base * options.backoff_multiplier, most))};
  quiet_at_ = now + delay + options.reset_backoff_threshold;
  return delay;
}

bool RestartPolicy::too_often(SteadyTime now) {
  const FailureRate& options = strategy_.failure_rate;
  const auto most = static_cast<std::size_t>(options.max_failures_per_interval);
  const bool exceeded = failures_.size() == most && now - failures_.front() <= options.interval;
  if (failures_.size() == most) failures_.pop_front();
  failures_.push_back(now);
  return exceeded;
}

}  // namespace levada
