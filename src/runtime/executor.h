// Executor: steps tasks. Two kinds over the same tasks: threads, or one thread with a virtual clock and
// a seeded choice of the next step.
//
// Threads:  start() and stop() from the job's control.
#pragma once

#include <exception>
#include <vector>

#include "checkpoint/background.h"
#include "checkpoint/epoch_publisher.h"
#include "levada/options.h"
#include "runtime/task.h"

namespace levada {

/// What an executor tells the job's control; called from the threads that step.
class ExecutorListener {
 public:
  virtual ~ExecutorListener() = default;
  /// step() returned kFinished; the task is not stepped any more.
  virtual void task_finished(Task& task) noexcept = 0;
  /// step() threw; the task is not stepped any more.
  virtual void task_failed(Task& task, std::exception_ptr failure) noexcept = 0;
  /// A job of the background threw: there was no memory to say so where it should have been said.
  virtual void background_failed(std::exception_ptr failure) noexcept = 0;
};

/// Threads that tasks share. One that may block has a thread of its own.
inline int worker_count(const ThreadOptions& threads, int parallelism) {
  return threads.count > 0 ? threads.count : parallelism;
}
/// The one that steps the tasks of a subtask.
inline int worker_of(int subtask, int workers) { return subtask % workers; }

class Executor {
 public:
  virtual ~Executor() = default;
  virtual BackgroundQueue& background() = 0;
  /// Where the background has large files written while it goes on; null: it writes them itself.
  virtual BackgroundQueue* disk() = 0;
  /// Begins to step publishers, which may block; they outlive stop_publishers() and the executor's end.
  virtual void start_publishers(const std::vector<EpochPublisher*>& publishers) = 0;
  /// Returns when no publisher is being stepped any more. stop() leaves them alone.
  virtual void stop_publishers() noexcept = 0;
  /// Begins to step `tasks`, given upstream before downstream. They outlive stop().
  virtual void start(const std::vector<Task*>& tasks, ExecutorListener& listener) = 0;
  /// Returns when no task is being stepped any more; none will be.
  virtual void stop() noexcept = 0;
};

}  // namespace levada
