#include "runtime/threaded_executor.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <string>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "base/thread.h"
#include "checkpoint/rate_limit.h"

namespace levada {

// ---- the worker

class ThreadedExecutor::Worker final : public Waker {
 public:
  Worker(const Clock& clock, ExecutorListener& listener) : clock_(clock), listener_(listener) {}
  ~Worker() override { stop(); }

  /// Downstream tasks are added first.
  void add(Task* task) {
    tasks_.push_back({task});
    task->set_waker(this);
  }

  void start(const ThreadOptions& options, const std::string& name) {
    thread_ = start_thread(name, options.on_start, options.on_stop, [this] { run(); });
  }

  void wake() noexcept override {
    signals_.fetch_add(1, std::memory_order_seq_cst);
    if (!parked_.load(std::memory_order_seq_cst)) return;
    MutexLock lock(mutex_);
    changed_.notify_one();
  }

  void ask_to_stop() noexcept {
    stopping_.store(true, std::memory_order_seq_cst);
    wake();
  }

  void stop() noexcept {
    if (!thread_.joinable()) return;
    ask_to_stop();
    thread_.join();
  }

 private:
  void run() {
    while (!stopping_.load(std::memory_order_acquire) && !tasks_.empty()) {
      const std::uint32_t seen = signals_.load(std::memory_order_seq_cst);
      SteadyTime next = kNever;
      if (!round(next)) park(seen, next);
    }
  }

  struct Runnable {
    Task* task;
    std::uint32_t seen = 0;  // signals, before its last step
    bool waits = false;      // since then
  };

  // Steps every task once that may have something to do. True when one of them made progress.
  bool round(SteadyTime& next) {
    bool progress = false;
    SteadyTime now = kNever;  // once one asks for it
    for (std::size_t i = 0; i < tasks_.size();) {
      Runnable& runnable = tasks_[i];
      const std::uint32_t signals = signals_.load(std::memory_order_seq_cst);
      if (runnable.waits && runnable.seen == signals && !is_due(*runnable.task, now)) {
        next = std::min(next, runnable.task->next_time());
        ++i;
        continue;
      }
      runnable.seen = signals;
      runnable.waits = false;
      switch (step(*runnable.task)) {
        case StepResult::kFinished:
          tasks_.erase(tasks_.begin() + static_cast<std::ptrdiff_t>(i));
          continue;
        case StepResult::kProgress:
          progress = true;
          break;
        default:
          runnable.waits = true;
          next = std::min(next, runnable.task->next_time());
      }
      ++i;
    }
    return progress;
  }

  bool is_due(const Task& task, SteadyTime& now) const {
    const SteadyTime next = task.next_time();
    if (next == kNever) return false;
    if (now == kNever) now = clock_.steady_now();
    return next <= now;
  }

  // The one place where what operators throw is caught. It is handed over when nothing here refers to it any more.
  StepResult step(Task& task) {
    std::exception_ptr failure;
    try {
      const StepResult result = task.step();
      if (result == StepResult::kFinished) listener_.task_finished(task);
      return result;
    } catch (...) {
      failure = std::current_exception();
    }
    listener_.task_failed(task, std::move(failure));
    return StepResult::kFinished;
  }

  void park(std::uint32_t seen, SteadyTime until) {
    if (until <= clock_.steady_now()) return;
    MutexLock lock(mutex_);
    parked_.store(true, std::memory_order_seq_cst);
    while (signals_.load(std::memory_order_seq_cst) == seen &&
           !stopping_.load(std::memory_order_acquire)) {
      if (!changed_.wait_until(mutex_, until)) break;
    }
    parked_.store(false, std::memory_order_seq_cst);
  }

  const Clock& clock_;
  ExecutorListener& listener_;
  std::vector<Runnable> tasks_;
  std::thread thread_;
  std::atomic<std::uint32_t> signals_{0};
  std::atomic<bool> parked_{false};
  std::atomic<bool> stopping_{false};
  Mutex mutex_;
  CondVar changed_;
};

// ---- a publisher's thread

class ThreadedExecutor::PublisherThread final : public Waker {
 public:
  PublisherThread(EpochPublisher& publisher, const ThreadOptions& options, const std::string& name)
      : publisher_(publisher) {
    publisher_.set_waker(this);
    thread_ = start_thread(name, options.on_start, options.on_stop, [this] { run(); });
  }
  ~PublisherThread() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
    publisher_.set_waker(nullptr);
  }

  void wake() noexcept override {
    {
      MutexLock lock(mutex_);
      woken_ = true;
    }
    changed_.notify_one();
  }

 private:
  void run() {
    while (park()) {
      while (publisher_.step()) {
      }
    }
  }

  // Waits until there may be something to do; false: the end.
  bool park() {
    const SteadyTime until = publisher_.next_time();
    MutexLock lock(mutex_);
    while (!woken_ && !stopping_) {
      if (!changed_.wait_until(mutex_, until)) break;
    }
    woken_ = false;
    return !stopping_;
  }

  EpochPublisher& publisher_;
  Mutex mutex_;
  CondVar changed_;
  bool woken_ LEVADA_GUARDED_BY(mutex_) = true;
  bool stopping_ LEVADA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// ---- the threads that write files

class ThreadedExecutor::JobThread final : public BackgroundQueue {
 public:
  JobThread(const std::string& name, const ThreadOptions& options, std::uint64_t bytes_per_second, const Clock& clock,
            const std::atomic<ExecutorListener*>& listener)
      : clock_(clock), limit_(bytes_per_second), listener_(listener) {
    thread_ = start_thread(options.name_prefix + name, options.on_start, options.on_stop,
                           [this] { run(); });
  }
  ~JobThread() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  void submit(std::function<void()> job) override {
    {
      MutexLock lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }

  void submit_limited(std::function<std::size_t()> job) override {
    {
      MutexLock lock(mutex_);
      limited_.push_back(std::move(job));
    }
    changed_.notify_one();
  }

  void rest() override { std::this_thread::sleep_for(kRest); }

 private:
  static constexpr Duration kRest{100};

  // Runs what was submitted to the end, then without a limit: jobs own what others account for.
  void run() {
    for (;;) {
      std::function<void()> job;
      std::function<std::size_t()> limited;
      {
        MutexLock lock(mutex_);
        while (!may_run()) changed_.wait_until(mutex_, limited_.empty() ? kNever : limit_.ready_at());
        if (jobs_.empty() && limited_.empty()) return;
        if (!jobs_.empty()) {
          job = std::move(jobs_.front());
          jobs_.pop_front();
        } else {
          limited = std::move(limited_.front());
          limited_.pop_front();
        }
      }
      std::exception_ptr failure;
      try {
        if (job) job();
        if (limited) limit_.take(limited(), clock_.steady_now());
      } catch (...) {
        failure = std::current_exception();
      }
      ExecutorListener* const listener = listener_;
      if (failure && listener != nullptr) listener->background_failed(std::move(failure));
    }
  }

  bool may_run() const LEVADA_REQUIRES(mutex_) {
    if (!jobs_.empty() || stopping_) return true;
    return !limited_.empty() && clock_.steady_now() >= limit_.ready_at();
  }

  const Clock& clock_;
  RateLimit limit_;  // of the thread
  const std::atomic<ExecutorListener*>& listener_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> jobs_ LEVADA_GUARDED_BY(mutex_);
  std::deque<std::function<std::size_t()>> limited_ LEVADA_GUARDED_BY(mutex_);
  bool stopping_ LEVADA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// ---- the executor

ThreadedExecutor::ThreadedExecutor(ThreadOptions options, int parallelism, std::uint64_t bytes_per_second,
                                   const Clock& clock)
    : options_(std::move(options)),
      worker_count_(worker_count(options_, parallelism)),
      clock_(clock),
      disk_(std::make_unique<JobThread>("-disk", options_, 0, clock, listener_)),
      background_(std::make_unique<JobThread>("-files", options_, bytes_per_second, clock, listener_)) {}

ThreadedExecutor::~ThreadedExecutor() {
  stop();
  stop_publishers();
}

void ThreadedExecutor::start_publishers(const std::vector<EpochPublisher*>& publishers) {
  for (EpochPublisher* publisher : publishers) {
    publishers_.push_back(std::make_unique<PublisherThread>(
        *publisher, options_,
        options_.name_prefix + "-pub-" + std::to_string(publishers_.size())));
  }
}

void ThreadedExecutor::stop_publishers() noexcept { publishers_.clear(); }

BackgroundQueue& ThreadedExecutor::background() { return *background_; }

BackgroundQueue* ThreadedExecutor::disk() { return disk_.get(); }

void ThreadedExecutor::start(const std::vector<Task*>& tasks, ExecutorListener& listener) {
  listener_ = &listener;
  workers_.clear();
  std::vector<std::unique_ptr<Worker>> own;
  for (int i = 0; i < worker_count_; ++i) {
    workers_.push_back(std::make_unique<Worker>(clock_, listener));
  }
  for (auto task = tasks.rbegin(); task != tasks.rend(); ++task) {
    if ((*task)->may_block()) {
      own.push_back(std::make_unique<Worker>(clock_, listener));
      own.back()->add(*task);
    } else {
      workers_[static_cast<std::size_t>(worker_of((*task)->subtask(), worker_count_))]->add(*task);
    }
  }
  for (auto& worker : own) workers_.push_back(std::move(worker));
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const bool shared = i < static_cast<std::size_t>(worker_count_);
    workers_[i]->start(options_, options_.name_prefix + (shared ? "-" : "-io-") + std::to_string(i));
  }
}

void ThreadedExecutor::stop() noexcept {
  for (auto& worker : workers_) worker->ask_to_stop();
  for (auto& worker : workers_) worker->stop();
}

}  // namespace levada
