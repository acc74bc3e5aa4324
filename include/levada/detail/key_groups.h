// Key groups: the unit in which keyed state moves. The only arithmetic that says which group a key
// belongs to and which subtask owns a group; nothing else may compute either.
//
// Source: the formulas follow Flink's KeyGroupRangeAssignment, on a 64-bit hash.
#pragma once

#include <cstdint>

#include "levada/operator.h"

namespace levada {

/// The key group of a key with this hash: from the high bits, so that tables can use the low ones.
constexpr std::uint32_t key_group_of(std::uint64_t hash, std::uint32_t max_parallelism) {
  return static_cast<std::uint32_t>(((hash >> 32) * max_parallelism) >> 32);
}

/// The subtask that owns a key group.
constexpr std::uint32_t key_group_owner(std::uint32_t group, std::uint32_t max_parallelism,
                                        std::uint32_t parallelism) {
  return group * parallelism / max_parallelism;
}

/// The key groups that a subtask owns.
constexpr KeyGroupRange key_group_range(std::uint32_t subtask, std::uint32_t max_parallelism,
                                        std::uint32_t parallelism) {
  // The least group g with g * parallelism / max_parallelism == subtask.
  return {(subtask * max_parallelism + parallelism - 1) / parallelism,
          ((subtask + 1) * max_parallelism + parallelism - 1) / parallelism};
}

}  // namespace levada
