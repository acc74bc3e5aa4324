// The memory of tables' slots. Rows touch it at random, so where there is much of it large pages are worth much: with
// small ones nearly each look-up waits for the page table, too.
#pragma once

#include <cstddef>
#include <new>

namespace levada::detail {

/// Memory that is not cleared; from 2 MiB on in pages of that size, where the system has such. Throws
/// std::bad_alloc. REQUIRES: alignment is at most 2 MiB.
///
/// Threads: any.
void* allocate_slots(std::size_t bytes, std::align_val_t alignment);
/// Gives back what allocate_slots() returned for the same arguments.
///
/// Threads: any.
void free_slots(void* slots, std::size_t bytes, std::align_val_t alignment) noexcept;

}  // namespace levada::detail
