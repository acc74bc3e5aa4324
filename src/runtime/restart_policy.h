// RestartPolicy: whether and when a failed job is tried again.
//
// Threads: of the job's control.
// Source:  the restart strategies are Flink's: fixed delay, exponential delay, failure rate.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/random.h"
#include "levada/options.h"

namespace levada {

class RestartPolicy {
 public:
  /// `seed` is of the jitter.
  RestartPolicy(const RestartStrategy& strategy, bool checkpoints, std::uint64_t seed);

  /// The job failed at `now`. The delay before the next attempt; empty: the job ends with the failure.
  std::optional<Duration> failed(SteadyTime now);
  int restarts() const noexcept { return restarts_; }

 private:
  std::optional<Duration> next_delay(SteadyTime now);
  Duration exponential_delay(SteadyTime now);
  bool too_often(SteadyTime now);

  RestartStrategy strategy_;
  Random random_;
  int restarts_ = 0;
  // Exponential: the delay that comes next, without jitter, and when it would begin anew.
  Duration backoff_{};
  SteadyTime quiet_at_ = kNever;
  // Failure rate: the newest failures, at most as many as are allowed.
  std::deque<SteadyTime> failures_;
};

}  // namespace levada
