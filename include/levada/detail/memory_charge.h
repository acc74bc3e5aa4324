// MemoryCharge: what something that grows outside of the tables has taken of a share.
//
// Threads:  of its owner. Failures: StateError naming state, bytes and budget when it does not fit.
#pragma once

#include <cstddef>
#include <string>

#include "levada/memory.h"

namespace levada::detail {

class MemoryCharge {
 public:
  MemoryCharge(MemoryShare& share, std::string what) : share_(share), what_(std::move(what)) {}
  ~MemoryCharge() { share_.release(acquired_); }
  MemoryCharge(const MemoryCharge&) = delete;
  MemoryCharge& operator=(const MemoryCharge&) = delete;

  /// It holds so many bytes now.
  void set(std::size_t bytes) {
    if (bytes > acquired_ || acquired_ - bytes > 2 * kSlackBytes) change(bytes);
  }

 private:
  // Taken in advance and given back late, so that the share is not touched for every change.
  static constexpr std::size_t kSlackBytes = 16 * 1024;

  void change(std::size_t bytes);

  MemoryShare& share_;
  std::string what_;
  std::size_t acquired_ = 0;
};

}  // namespace levada::detail
