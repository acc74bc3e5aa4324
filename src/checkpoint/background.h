// BackgroundQueue: jobs that write files, run one after the other off the tasks' threads. The threaded
// executor has a thread for it; the simulated one runs a job as one of its steps.
//
// Two kinds: the epoch log's, on which output waits, and the cold tiers', on which tasks may wait, come first;
// those that write state files, of which there can be much, keep to a limit of bytes a second.
#pragma once

#include <cstddef>
#include <functional>

namespace levada {

class BackgroundQueue {
 public:
  virtual ~BackgroundQueue() = default;
  /// Runs `job` later, after all submitted so before. `job` must not throw.
  ///
  /// Threads: from any thread.
  virtual void submit(std::function<void()> job) = 0;
  /// Runs `job` later, after all submitted before in either way. It returns how many bytes it wrote; the next
  /// one of these waits until the limit allows for them. `job` must not throw.
  ///
  /// Threads: from any thread.
  virtual void submit_limited(std::function<std::size_t()> job) = 0;
  /// Of work that a job may do in parts: how much of `most`, at least 1, it should do before it lets others go on and
  /// submits itself again.
  virtual std::size_t at_once(std::size_t most) { return most; }
  /// Called by a job between two parts of its work that can wait: leaves memory and cores to others for a moment.
  virtual void rest() {}
};

}  // namespace levada
