#include "delays.h"

#include <algorithm>
#include <cstddef>

namespace bench {

void Delays::add(Duration delay, std::uint64_t times) {
  const auto us = static_cast<std::size_t>(std::max<std::int64_t>(delay.count(), 0));
  if (us >= counts_.size()) counts_.resize(us + us / 2 + 1);
  counts_[us] += times;
  count_ += times;
  max_ = std::max(max_, delay);
}

void Delays::merge(const Delays& other) {
  for (std::size_t us = 0; us < other.counts_.size(); ++us) {
    if (other.counts_[us] > 0) add(Duration{static_cast<std::int64_t>(us)}, other.counts_[us]);
  }
}

Duration Delays::percentile(double part) const {
  const auto wanted = static_cast<std::uint64_t>(part * static_cast<double>(count_));
  std::uint64_t below = 0;
  for (std::size_t us = 0; us < counts_.size(); ++us) {
    below += counts_[us];
    if (below > wanted) return Duration{static_cast<std::int64_t>(us)};
  }
  return max_;
}

}  // namespace bench
