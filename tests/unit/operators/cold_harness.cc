// Linked into tests of keyed operators: what they keep is in a cold tier, but for a few entries.
#include <memory>

#include "testing/harness_cold.h"
#include "testing/memory_cold_tier.h"

namespace {

const bool kSet = [] {
  levada::testing::set_harness_cold(std::make_shared<levada::testing::MemoryColdBackend>());
  return true;
}();

}  // namespace
