// SimulatedExecutor: steps tasks, publishers and background jobs one at a time, on the caller's thread, in an order
// that a seed decides. Every interleaving of the threads it stands for can happen; a seed replays one. In half of the
// executors who has made no progress is stepped again when it was woken, or when its time has come, and not before: what
// nobody wakes, waits. In the others a task may be stepped at any time, as on a thread that it shares with others.
//
// Threads:    one.
// Invariants: 1. What is chosen depends only on the seed and on what the tasks said: never on addresses
//                or real time.
//             2. The trace is a hash of every choice and of what came of it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/random.h"
#include "checkpoint/rate_limit.h"
#include "levada/clock.h"
#include "runtime/executor.h"

namespace levada {

/// A thread of a simulated machine, which steps something until that makes no progress, and then waits.
class SimulatedThread final : public Waker {
 public:
  void wake() noexcept override { woken_ = true; }
  /// `next`: when to go on at the latest.
  bool is_ready(SteadyTime next, SteadyTime now) const { return woken_ || (next <= now && now > stepped_at_); }
  /// Before a step; if that makes progress, wake() follows.
  void begin_step(SteadyTime now) {
    woken_ = false;
    stepped_at_ = now;
  }

 private:
  bool woken_ = true;
  SteadyTime stepped_at_ = SteadyTime::min();
};

class SimulatedExecutor final : public Executor, private BackgroundQueue {
 public:
  /// `random` and `trace` outlive the executor and go on over restarts. `bytes_per_second` is for the limited
  /// jobs of the background; 0: no limit.
  SimulatedExecutor(Random& random, std::uint64_t& trace, std::uint64_t bytes_per_second,
                    const Clock& clock)
      : random_(random), trace_(trace), clock_(clock), limit_(bytes_per_second), shares_threads_(random.below(2) == 0) {}
  ~SimulatedExecutor() override { stop_publishers(); }

  BackgroundQueue& background() override { return *this; }
  BackgroundQueue* disk() override { return nullptr; }
  void start_publishers(const std::vector<EpochPublisher*>& publishers) override;
  void stop_publishers() noexcept override;
  void start(const std::vector<Task*>& tasks, ExecutorListener& listener) override;
  void stop() noexcept override { tasks_.clear(); }

  /// Steps one task or publisher, or runs one background job. False when nobody was woken, no time has come, and
  /// there is no job.
  bool step();
  /// The earliest time a waiting task wants to be stepped at.
  SteadyTime next_time() const;
  /// Whether a publisher that was not woken, and has not failed, has epochs to publish and waits for no time.
  bool leaves_output() const;

 private:
  void submit(std::function<void()> job) override { jobs_.push_back(std::move(job)); }
  void submit_limited(std::function<std::size_t()> job) override { limited_.push_back(std::move(job)); }
  // Mostly little: what tasks do meanwhile is what is to be seen.
  std::size_t at_once(std::size_t most) override { return random_.below(4) == 0 ? most : 1 + random_.below(256); }
  bool has_job() const;
  void run_job();
  void step_task(std::size_t index);
  void step_publisher(std::size_t index);
  void note(std::uint64_t value);

  struct Runnable {
    Task* task;
    SimulatedThread* thread;
  };
  struct Publishing {
    EpochPublisher* publisher;
    std::unique_ptr<SimulatedThread> thread;
  };

  Random& random_;
  std::uint64_t& trace_;
  const Clock& clock_;
  RateLimit limit_;
  const bool shares_threads_;
  ExecutorListener* listener_ = nullptr;
  std::vector<Runnable> tasks_;
  std::vector<std::unique_ptr<SimulatedThread>> threads_;  // of the tasks, also of those that have finished
  std::vector<Publishing> publishers_;
  std::deque<std::function<void()>> jobs_;
  std::deque<std::function<std::size_t()>> limited_;
};

}  // namespace levada
