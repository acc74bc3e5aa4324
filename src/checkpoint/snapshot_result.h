// SnapshotResult: how the snapshot of one subtask ended.
//
// Threads: plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "levada/time.h"

#include "checkpoint/state_handle.h"

namespace levada {

/// A handle, or the reason why there is none.
struct SnapshotResult {
  StateHandle state;
  std::vector<StateHandle> older;  ///< files that `state` refers to
  std::uint64_t bytes = 0;         ///< newly written
  Duration aligned{};              ///< how long some inputs were held back until all had the barrier
  Duration synchronous{};          ///< how long the subtask stood still for it
  std::string error;  ///< empty: it worked
};

}  // namespace levada
