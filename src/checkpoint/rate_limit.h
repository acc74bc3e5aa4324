// RateLimit: bytes a second, as a bucket of tokens that is filled by time. It may be overdrawn by one write,
// which the next one waits for.
//
// Threads: one at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "levada/time.h"

namespace levada {

class RateLimit {
 public:
  /// 0: no limit.
  explicit RateLimit(std::uint64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  /// From when on something may be written.
  SteadyTime ready_at() const noexcept { return ready_at_; }
  /// So many bytes were written at `now`.
  void take(std::uint64_t bytes, SteadyTime now) {
    if (bytes_per_second_ == 0 || bytes == 0) return;
    // What was not used lately may be used up at once.
    constexpr std::chrono::nanoseconds kBurst = std::chrono::milliseconds{100};
    const double seconds = static_cast<double>(bytes) / static_cast<double>(bytes_per_second_);
    const double most = 1e9;  // seconds; keeps what follows in range
    const std::chrono::nanoseconds cost{static_cast<std::int64_t>(std::min(seconds, most) * 1e9)};
    ready_at_ = std::max(ready_at_, now - kBurst) + cost;
  }

 private:
  std::uint64_t bytes_per_second_;
  SteadyTime ready_at_ = SteadyTime::min();
};

}  // namespace levada
