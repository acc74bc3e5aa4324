// SpareBuffers: the memory of blocks that are written, for those to come: also for the first ones of the next
// snapshot. New memory the system has to clear first.
//
// Threads:    any.
// Lifetime:   borrows the share.
// Invariants: what is kept is charged, and was kept while half of the share was free but for the task's own blocks.
#pragma once

#include <cstddef>
#include <new>
#include <utility>
#include <vector>

#include "levada/bytes.h"
#include "levada/memory.h"

#include "base/mutex.h"

namespace levada {

class SpareBuffers {
 public:
  explicit SpareBuffers(MemoryShare& memory) : memory_(memory) {}
  ~SpareBuffers() {
    for (const Bytes& spare : spares_) memory_.release(spare.capacity());
  }
  SpareBuffers(const SpareBuffers&) = delete;
  SpareBuffers& operator=(const SpareBuffers&) = delete;

  /// Keeps the buffer when it is a common block's and there is room. `held_bytes` are charged for the task's blocks
  /// that are not written yet, this one included: they become spares, too, so they take no room.
  void put(Bytes& bytes, std::size_t held_bytes) {
    const std::size_t size = bytes.capacity();
    if (size < kBytesMin || size > kBytesMax) return;
    if (memory_.used_bytes() + size > memory_.limit_bytes() / 2 + held_bytes) return;
    MutexLock lock(mutex_);
    try {
      spares_.push_back(std::move(bytes));
      memory_.acquire(size);
    } catch (const std::bad_alloc&) {
      // It is not kept.
    }
  }
  /// One with anything in it; without memory when there is none.
  Bytes take() {
    MutexLock lock(mutex_);
    if (spares_.empty()) return {};
    Bytes bytes = std::move(spares_.back());
    spares_.pop_back();
    memory_.release(bytes.capacity());
    return bytes;
  }

 private:
  static constexpr std::size_t kBytesMin = 16 * 1024;
  static constexpr std::size_t kBytesMax = 64 * 1024;

  MemoryShare& memory_;
  Mutex mutex_;
  std::vector<Bytes> spares_ LEVADA_GUARDED_BY(mutex_);
};

}  // namespace levada
