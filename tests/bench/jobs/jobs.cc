// The list of jobs, and the keys of the skewed ones.
#include <algorithm>
#include <cmath>

#include "rows.h"

namespace bench {
namespace {

constexpr double kZipfExponent = 1.2;

// weight of rank r: 1 / (r + 1)^exponent; exponent 0 is even.
std::vector<double> cumulated_weights(std::uint64_t keys, double exponent) {
  std::vector<double> sums(keys);
  double sum = 0;
  for (std::uint64_t rank = 0; rank < keys; ++rank) {
    sum += std::pow(static_cast<double>(rank + 1), -exponent);
    sums[rank] = sum;
  }
  return sums;
}

}  // namespace

const Job* find_job(std::string_view name) {
  const auto named = [&](const Job& job) { return job.name == name; };
  const auto* job = std::find_if(std::begin(kJobs), std::end(kJobs), named);
  if (job != std::end(kJobs)) return job;
  job = std::find_if(std::begin(kSkewedJobs), std::end(kSkewedJobs), named);
  return job == std::end(kSkewedJobs) ? nullptr : job;
}

// Draw d of 2^20 is the key in whose part of the whole weight d lies. The draws are in order of keys, so
// they are looked up by bits that mix() has mixed.
std::shared_ptr<const std::vector<std::uint32_t>> DrawnGenerator::make_draws(const Job& job) {
  const std::size_t count = std::size_t{1} << kDrawBits;
  const std::vector<double> sums =
      cumulated_weights(job.keys, job.drawn == Keys::kZipf ? kZipfExponent : 0);
  auto draws = std::make_shared<std::vector<std::uint32_t>>(count);
  std::size_t key = 0;
  for (std::size_t d = 0; d < count; ++d) {
    const double part = (static_cast<double>(d) + 0.5) / static_cast<double>(count) * sums.back();
    while (key + 1 < sums.size() && sums[key] < part) ++key;
    (*draws)[d] = static_cast<std::uint32_t>(key);
  }
  return draws;
}

}  // namespace bench
