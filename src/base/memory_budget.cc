#include <unistd.h>

#include "levada/assert.h"
#include "levada/memory.h"

#include "base/memory_limit.h"

namespace levada {

bool MemoryShare::try_acquire(std::size_t bytes) noexcept {
  std::size_t used = used_bytes_.load(std::memory_order_relaxed);
  do {
    if (used > limit_bytes_ || bytes > limit_bytes_ - used) return false;
  } while (!used_bytes_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  note_peak(used + bytes);
  return true;
}

void MemoryShare::acquire(std::size_t bytes) noexcept {
  note_peak(used_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes);
}

void MemoryShare::release(std::size_t bytes) noexcept {
  const std::size_t used = used_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  // Only what was taken is given back.
  LEVADA_ASSERT(used >= bytes, "share '" + name_ + "' gets back " + std::to_string(bytes) +
                                   " bytes but only " + std::to_string(used) + " were taken");
}

void MemoryShare::note_peak(std::size_t used) noexcept {
  std::size_t peak = peak_bytes_.load(std::memory_order_relaxed);
  while (used > peak && !peak_bytes_.compare_exchange_weak(peak, used, std::memory_order_relaxed)) {
  }
}

MemoryBudget::MemoryBudget(std::size_t total_bytes) : total_bytes_(total_bytes) {
  const std::size_t half_sixteenth = total_bytes / 32;
  const std::size_t sixteenth = 2 * half_sixteenth;
  const auto add = [this](const char* name, std::size_t limit_bytes) {
    shares_.push_back(std::make_unique<MemoryShare>(name, limit_bytes));
  };
  add("channels", 4 * sixteenth);
  add("state", 8 * sixteenth);
  add("snapshots", sixteenth);
  add("prefetch", 2 * sixteenth);
  add("sinks", half_sixteenth);
  add("epoch_log", half_sixteenth);
}

std::size_t default_memory_bytes() {
  const auto physical_bytes = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) *
                              static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return memory_limit_bytes(physical_bytes) / 4;
}

}  // namespace levada
