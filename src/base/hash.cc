// Inlined: a call of the shared library costs as much as hashing a short key.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "levada/serde.h"

namespace levada::detail {

std::uint64_t hash_bytes(const void* data, std::size_t size) {
  return XXH3_64bits(data, size);
}

}  // namespace levada::detail
