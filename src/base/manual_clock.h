// ManualClock: both times stand still until somebody moves them; for tests and the simulated
// executor.
//
// Threads: from any thread.
#pragma once

#include <atomic>

#include "levada/clock.h"

namespace levada {

class ManualClock final : public Clock {
 public:
  explicit ManualClock(Timestamp now = Timestamp{Duration{0}}) : now_us_(count(now)) {}

  Timestamp now() const override {
    return Timestamp{Duration{now_us_.load(std::memory_order_acquire)}};
  }
  SteadyTime steady_now() const override {
    return SteadyTime{std::chrono::nanoseconds{steady_ns_.load(std::memory_order_acquire)}};
  }

  /// Moves both times forward.
  void advance(std::chrono::nanoseconds by) {
    steady_ns_.fetch_add(by.count(), std::memory_order_acq_rel);
    now_us_.fetch_add(std::chrono::duration_cast<Duration>(by).count(), std::memory_order_acq_rel);
  }
  /// Moves both times to the moment `time` of steady_now(); not backwards.
  void advance_to(SteadyTime time) {
    if (time > steady_now()) advance(time - steady_now());
  }
  /// Sets the wall-clock time alone, forwards or backwards, as an administrator may.
  void set(Timestamp now) { now_us_.store(count(now), std::memory_order_release); }

 private:
  static std::int64_t count(Timestamp time) { return time.time_since_epoch().count(); }

  std::atomic<std::int64_t> now_us_;
  std::atomic<std::int64_t> steady_ns_{0};
};

}  // namespace levada
