// Waiting for what a running job does, however long that takes, and failures in the midst of it.
#pragma once

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include "levada/job.h"

namespace levada::testing {

/// Returns once `condition()` holds. Throws when it does not for minutes.
template <class F>
void wait_until(F condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes{3};
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) throw std::runtime_error("what was waited for did not happen");
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

/// Returns the first status that meets `condition`. Throws when the job ends without one, or there is none for
/// minutes.
template <class F>
JobStatus wait_for_status(const Job& job, F condition) {
  JobStatus status;
  wait_until([&] {
    status = job.status();
    if (condition(status)) return true;
    if (status.state == JobState::kFailed || status.state == JobState::kFinished) {
      throw std::runtime_error("the job has ended before: " + status.last_error);
    }
    return false;
  });
  return status;
}

/// Waits until `count` more checkpoints of a running job are complete, or more.
inline void wait_for_checkpoints(const Job& job, int count) {
  const auto newest = [](const JobStatus& status) {
    return status.last_checkpoint ? status.last_checkpoint->id : CheckpointId{0};
  };
  for (int i = 0; i < count; ++i) {
    const CheckpointId before = newest(job.status());
    wait_for_status(job, [&](const JobStatus& status) { return newest(status) > before; });
  }
}

/// Failures of a job in the midst of its run, one at a time. What fails before all of it has run is not tried
/// again.
class PlannedFailures {
 public:
  /// For functions of the job.
  void throw_if_due() {
    if (due_.load(std::memory_order_relaxed) && due_.exchange(false)) throw std::runtime_error("planned");
  }
  /// Lets one call of a running job fail, and waits for the restart.
  void cause(const Job& job) {
    const int restarts =
        wait_for_status(job, [](const JobStatus& status) { return status.state == JobState::kRunning; }).restarts;
    due_ = true;
    wait_for_status(job, [&](const JobStatus& status) { return status.restarts > restarts; });
  }

 private:
  std::atomic<bool> due_{false};
};

}  // namespace levada::testing
