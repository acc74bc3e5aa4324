// Copying past the caches: for memory that this core will not look at again.
#pragma once

#include <cstddef>

namespace levada::detail {

/// Copies like memcpy. Lines of 64 bytes of `to` that are written as a whole do not come into the caches. Another thread
/// may see any of it, and its memory may be given back, only after end_streamed_copies().
///
/// Threads: any. Cost: some 10 GB/s.
void streamed_copy(char* to, const char* from, std::size_t bytes) noexcept;
/// What this thread has copied so comes before what it writes from now on.
///
/// Threads: any.
void end_streamed_copies() noexcept;

}  // namespace levada::detail
