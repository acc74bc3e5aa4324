// Copying past the caches: for memory that this core will not look at again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace levada::detail {

/// Copies like memcpy. Lines of 64 bytes of `to` that are written as a whole do not come into the caches. Other threads
/// may be told of them once this one has called end_streaming().
///
/// Threads: any. Cost: some 10 GB/s, and in end_streaming() a wait of some 100 ns for the memory.
void streamed_copy(char* to, const char* from, std::size_t bytes) noexcept;

/// Copies the items whose numbers are `which`, one behind the other: from `from`, where each has `item_bytes`, to `to`.
/// Other threads may be told of them once this one has called end_streaming().
/// REQUIRES: items are trivially copyable, and their length is a multiple of 8.
///
/// Threads: any. Cost: some 10 GB/s, and in end_streaming() a wait of some 100 ns for the memory.
void streamed_gather(char* to, const char* from, std::size_t item_bytes,
                     std::span<const std::uint16_t> which) noexcept;
void end_streaming() noexcept;

}  // namespace levada::detail
