// Delays: how late things came, as a distribution.
#pragma once

#include <cstdint>
#include <vector>

#include "levada/time.h"

namespace bench {

using levada::Duration;

/// How many delays there were of each length, to the microsecond.
class Delays {
 public:
  void add(Duration delay, std::uint64_t times = 1);
  void merge(const Delays& other);
  std::uint64_t count() const { return count_; }
  /// The least delay that a share of `part` of all does not exceed. REQUIRES: count() > 0.
  Duration percentile(double part) const;
  Duration max() const { return max_; }

 private:
  std::vector<std::uint64_t> counts_;  // of 0 µs, 1 µs, …
  std::uint64_t count_ = 0;
  Duration max_{};
};

}  // namespace bench
