// Keyed state with a cold tier for all harnesses of a process: so the tests of operators can be run once more with
// next to nothing of their state in memory.
//
// Threads: called before any harness is made.
#pragma once

#include <memory>

#include "levada/cold_tier.h"

namespace levada::testing {

/// Null: state is in memory, as it is until this is called.
void set_harness_cold(std::shared_ptr<const ColdBackend> backend);
/// Snapshots then have other entries than those that there are: only what changed, and what is gone.
bool harness_has_cold_tier();

}  // namespace levada::testing
