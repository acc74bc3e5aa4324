#include <xxhash.h>

#include "levada/serde.h"

namespace levada::detail {

std::uint64_t hash_bytes(const void* data, std::size_t size) {
  return XXH3_64bits(data, size);
}

}  // namespace levada::detail
