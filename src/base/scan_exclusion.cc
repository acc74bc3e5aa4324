#include "levada/detail/scan_exclusion.h"

#include <thread>

namespace levada::detail {

void wait_a_little(int& looks) noexcept {
  constexpr int kLooks = 1000;
  if (looks == kLooks) return std::this_thread::yield();
  ++looks;
}

}  // namespace levada::detail
