#include "levada/detail/memory_charge.h"

#include <string>

#include "levada/detail/typed_table.h"
#include "levada/error.h"

namespace levada::detail {

void throw_state_full(std::string_view state, std::size_t wanted_bytes, const MemoryShare& share) {
  throw StateError("state '" + std::string(state) + "' outgrew its memory: " +
                   std::to_string(wanted_bytes) + " bytes more do not fit, " +
                   std::to_string(share.used_bytes()) + " of " +
                   std::to_string(share.limit_bytes()) + " bytes are used");
}

void MemoryCharge::change(std::size_t bytes) {
  if (bytes <= acquired_) {
    share_.release(acquired_ - bytes - kSlackBytes);
    acquired_ = bytes + kSlackBytes;
    return;
  }
  if (overdraws_ && bytes <= share_.limit_bytes()) {
    share_.acquire(bytes - acquired_);
    acquired_ = bytes;
    return;
  }
  for (const std::size_t slack : {kSlackBytes, std::size_t{0}}) {
    if (!share_.try_acquire(bytes + slack - acquired_)) continue;
    acquired_ = bytes + slack;
    return;
  }
  throw_state_full(what_, bytes - acquired_, share_);
}

}  // namespace levada::detail
