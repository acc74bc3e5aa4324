#include "runtime/restart_policy.h"

namespace levada {

RestartStrategy no_restart() { return {.kind = RestartStrategy::Kind::kNone}; }

RestartStrategy fixed_delay(FixedDelay options) {
  return {.kind = RestartStrategy::Kind::kFixedDelay,
          .attempts = options.attempts,
          .delay = options.delay};
}

StateBackendOptions memory_state() { return {}; }

RestartPolicy::RestartPolicy(const RestartStrategy& strategy, bool checkpoints) {
  RestartStrategy chosen = strategy;
  if (chosen.kind == RestartStrategy::Kind::kDefault) {
    chosen = checkpoints ? fixed_delay() : no_restart();
  }
  attempts_ = chosen.kind == RestartStrategy::Kind::kNone ? 0 : chosen.attempts;
  delay_ = chosen.delay;
}

std::optional<Duration> RestartPolicy::failed() {
  if (restarts_ >= attempts_) return std::nullopt;
  ++restarts_;
  return delay_;
}

}  // namespace levada
