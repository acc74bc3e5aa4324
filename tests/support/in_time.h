// Bounds of time that are promised: kept when nothing else has held up the machine.
#pragma once

#include <chrono>

namespace levada::testing {

/// Calls f() until it is done within `limit`, five times at most. Returns how long the last call took.
template <class F>
std::chrono::steady_clock::duration least_time(std::chrono::steady_clock::duration limit, F f) {
  std::chrono::steady_clock::duration took{};
  for (int i = 0; i < 5; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    f();
    took = std::chrono::steady_clock::now() - begun;
    if (took < limit) break;
  }
  return took;
}

}  // namespace levada::testing
