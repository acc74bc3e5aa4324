// Copying past the caches: for memory that this core will not look at again.
#pragma once

#include <cstddef>

namespace levada::detail {

/// Copies like memcpy. Lines of 64 bytes of `to` that are written as a whole do not come into the caches.
///
/// Threads: any. Cost: some 10 GB/s, and a wait of some 100 ns for the memory.
void streamed_copy(char* to, const char* from, std::size_t bytes) noexcept;

}  // namespace levada::detail
