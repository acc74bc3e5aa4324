// ThreadedExecutor: a fixed set of workers, each stepping its tasks in turn, downstream ones first, and
// parking when all wait. A task that may block, and every publisher, has a thread of its own.
//
// Threads:    start(), stop() and the destructor from the job's control.
// Invariants: 1. A task is stepped by one thread only.
//             2. A task that waits is stepped again when its time has come, or when anybody woke its worker since
//                before the last step; the worker parks when that is so of none. So no wake-up is lost.
//             3. A stopped worker is there until the next start: the threads of a source may wake it
//                until the source is closed.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "levada/clock.h"
#include "levada/options.h"
#include "runtime/executor.h"

namespace levada {

class ThreadedExecutor final : public Executor {
 public:
  /// `bytes_per_second` is for the limited jobs of the background; 0: no limit.
  ThreadedExecutor(ThreadOptions options, int parallelism, std::uint64_t bytes_per_second,
                   const Clock& clock);
  ~ThreadedExecutor() override;

  BackgroundQueue& background() override;
  BackgroundQueue* disk() override;
  void start_publishers(const std::vector<EpochPublisher*>& publishers) override;
  void stop_publishers() noexcept override;
  void start(const std::vector<Task*>& tasks, ExecutorListener& listener) override;
  void stop() noexcept override;

 private:
  class Worker;
  class PublisherThread;
  class JobThread;

  ThreadOptions options_;
  int worker_count_;
  const Clock& clock_;
  std::atomic<ExecutorListener*> listener_{nullptr};  // once there are tasks
  std::unique_ptr<JobThread> disk_;
  std::unique_ptr<JobThread> background_;  // its jobs wait for those of the disk
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<PublisherThread>> publishers_;
};

}  // namespace levada
