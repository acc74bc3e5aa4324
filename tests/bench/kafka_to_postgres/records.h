// The records of the benchmark: {"user":1234,"item":56,"amount":789,"ts":1700000000000}, about 57
// bytes, 10,000 users, in order, 50,000 to a second of event time. Record i goes to partition i
// % 2. A pure function of i, so that both the bare loop's sums and the job's table can be checked.
#pragma once

#include <cstdint>

#include "order.h"

namespace bench {

inline constexpr std::int32_t kPartitionCount = 2;
inline constexpr std::int64_t kFirstTsMs = 1'700'000'000'000;

// splitmix64. Source: Steele, Lea, Flood, OOPSLA 2014.
inline std::uint64_t mix(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

inline orders::Order record(std::int64_t index) {
  const std::uint64_t random = mix(static_cast<std::uint64_t>(index));
  return {static_cast<std::int32_t>(random % 10'000),
          static_cast<std::int32_t>((random >> 20) % 1'000),
          static_cast<std::int32_t>((random >> 40) % 10'000), kFirstTsMs + index / 50};
}

}  // namespace bench
