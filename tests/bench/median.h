// What is reported of several runs.
#pragma once

#include <algorithm>
#include <vector>

namespace bench {

/// The middle one; of an even number the upper of the two. REQUIRES: !values.empty().
inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// (greatest - least) / median.
inline double spread(const std::vector<double>& values) {
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  return (*greatest - *least) / median(values);
}

}  // namespace bench
