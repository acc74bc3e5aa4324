// BackgroundQueue: jobs that write files, run one after the other off the tasks' threads. The threaded
// executor has a thread for it; the simulated one runs a job as one of its steps.
#pragma once

#include <functional>

namespace levada {

class BackgroundQueue {
 public:
  virtual ~BackgroundQueue() = default;
  /// Runs `job` later, after all submitted before. `job` must not throw.
  ///
  /// Threads: from any thread.
  virtual void submit(std::function<void()> job) = 0;
};

}  // namespace levada
