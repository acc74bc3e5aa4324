#include "levada/detail/slot_memory.h"

#include <cstdint>

#include <sys/mman.h>

namespace levada::detail {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kLargePageBytes = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Of its own, from the beginning of a large page on.
void* map_pages(std::size_t bytes) {
  const std::size_t wanted = round_up(bytes, kPageBytes);
  const std::size_t mapped = wanted + kLargePageBytes;
  if (mapped < bytes) throw std::bad_alloc();
  void* const got = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (got == MAP_FAILED) throw std::bad_alloc();
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(got) % kLargePageBytes;
  char* const begin = static_cast<char*>(got) + before;
  if (before > 0) ::munmap(got, before);
  ::munmap(begin + wanted, kLargePageBytes - before);
  ::madvise(begin, wanted, MADV_HUGEPAGE);  // where that fails, small pages do
  return begin;
}

}  // namespace

void* allocate_slots(std::size_t bytes, std::align_val_t alignment) {
  return bytes < kLargePageBytes ? ::operator new(bytes, alignment) : map_pages(bytes);
}

void free_slots(void* slots, std::size_t bytes, std::align_val_t alignment) noexcept {
  if (bytes < kLargePageBytes) {
    ::operator delete(slots, alignment);
  } else {
    ::munmap(slots, round_up(bytes, kPageBytes));
  }
}

}  // namespace levada::detail
