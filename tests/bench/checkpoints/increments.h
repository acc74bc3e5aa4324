// How much a checkpoint writes after a part of the keys was touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "levada/levada.h"

namespace bench {

struct Increments {
  std::uint64_t full_bytes = 0;               ///< of the files of a checkpoint with all keys, of which there was none
  std::vector<std::uint64_t> increment_bytes; ///< of the files that each of the next ones added
};

/// A rolling sum of `keys` keys, each touched once, and a checkpoint; then, again and again, a second later rows for a
/// hundredth of them and a checkpoint.
///
/// Errors: JobError; std::runtime_error when a sum is wrong.
Increments measure_increments(std::uint64_t keys, const levada::StateBackendOptions& state,
                              const std::string& directory);

}  // namespace bench
