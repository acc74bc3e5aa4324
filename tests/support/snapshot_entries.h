// How many entries a harness's snapshot has: those that there are, unless they are in a cold tier as well.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>

#include "levada/testing/harness.h"
#include "testing/harness_cold.h"

namespace levada::testing {

/// A snapshot of a cold tier has what changed and what is gone: that is not counted.
inline void expect_entries(const HarnessSnapshot& snapshot, std::size_t entries) {
  if (harness_has_cold_tier()) return;
  EXPECT_EQ(snapshot.entries(), entries);
}

}  // namespace levada::testing
