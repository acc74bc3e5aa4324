// The rows that tests of keyed steps run on.
#pragma once

#include <cstdint>

#include "levada/levada.h"

namespace levada::testing {

struct Row {
  std::int64_t key = 0, value = 0;
  Timestamp at;
};
LEVADA_RECORD(Row, key, value, at)

/// Row i of a stream with a row each millisecond: a key below `keys`, a value below 1000, and up to `jitter`
/// microseconds late. Each is as good as random.
inline Row row_of(std::uint64_t i, std::uint64_t keys, std::uint64_t jitter) {
  const std::uint64_t h = levada::detail::mix(i);
  return {static_cast<std::int64_t>(h % keys), static_cast<std::int64_t>((h >> 20) % 1000),
          Timestamp{Duration{static_cast<std::int64_t>(i * 1000 + (jitter == 0 ? 0 : (h >> 40) % jitter))}}};
}

}  // namespace levada::testing
