// SimulatedExecutor: steps tasks, publishers and background jobs one at a time, on the caller's thread, in an order
// that a seed decides. Every interleaving of the threads it stands for can happen; a seed replays one.
//
// Threads:    one.
// Invariants: 1. What is chosen depends only on the seed and on what the tasks said: never on addresses
//                or real time.
//             2. The trace is a hash of every choice and of what came of it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "base/random.h"
#include "checkpoint/rate_limit.h"
#include "levada/clock.h"
#include "runtime/executor.h"

namespace levada {

class SimulatedExecutor final : public Executor, private BackgroundQueue {
 public:
  /// `random` and `trace` outlive the executor and go on over restarts. `bytes_per_second` is for the limited
  /// jobs of the background; 0: no limit.
  SimulatedExecutor(Random& random, std::uint64_t& trace, std::uint64_t bytes_per_second,
                    const Clock& clock)
      : random_(random), trace_(trace), clock_(clock), limit_(bytes_per_second) {}

  BackgroundQueue& background() override { return *this; }
  void start_publishers(const std::vector<EpochPublisher*>& publishers) override;
  void stop_publishers() noexcept override { publishers_.clear(); }
  void start(const std::vector<Task*>& tasks, ExecutorListener& listener) override;
  void stop() noexcept override { tasks_.clear(); }

  /// Steps one task or publisher, or runs one background job. False when none of them made progress
  /// since the last call of anything_changed(), and there is no job.
  bool step();
  /// Somebody outside did something: every task is worth a step again.
  void anything_changed();
  /// The earliest time a waiting task wants to be stepped at.
  SteadyTime next_time() const;

 private:
  void submit(std::function<void()> job) override { jobs_.push_back(std::move(job)); }
  void submit_limited(std::function<std::size_t()> job) override { limited_.push_back(std::move(job)); }
  bool has_job() const;
  void run_job();
  void step_task(std::size_t index);
  void step_publisher(std::size_t index);
  void note(std::uint64_t value);

  struct Runnable {
    Task* task;
    bool waits = false;  // made no progress since something changed
  };

  struct Publishing {
    EpochPublisher* publisher;
    bool waits = false;
  };

  Random& random_;
  std::uint64_t& trace_;
  const Clock& clock_;
  RateLimit limit_;
  ExecutorListener* listener_ = nullptr;
  std::vector<Runnable> tasks_;
  std::vector<Publishing> publishers_;
  std::deque<std::function<void()>> jobs_;
  std::deque<std::function<std::size_t()>> limited_;
};

}  // namespace levada
