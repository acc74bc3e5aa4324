// RestartPolicy: whether and when a failed job is tried again.
//
// Threads: of the job's control.
#pragma once

#include <optional>

#include "levada/options.h"

namespace levada {

class RestartPolicy {
 public:
  RestartPolicy(const RestartStrategy& strategy, bool checkpoints);

  /// The delay before the next attempt; empty: the job ends with the failure.
  std::optional<Duration> failed();
  int restarts() const noexcept { return restarts_; }

 private:
  int attempts_;
  Duration delay_;
  int restarts_ = 0;
};

}  // namespace levada
