#include "levada/detail/scan_exclusion.h"

#include <chrono>
#include <thread>

namespace levada::detail {

void wait_a_little(int& looks) noexcept {
  constexpr int kLooks = 1000, kYields = 1000;
  if (looks == kLooks + kYields) return std::this_thread::sleep_for(std::chrono::microseconds(50));
  if (looks++ >= kLooks) std::this_thread::yield();
}

}  // namespace levada::detail
