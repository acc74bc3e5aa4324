// The named places at which a test build can be made to die, for the kill campaigns of the library and
// of its users: LEVADA_FAIL=name:nth:kill in the environment. A build without LEVADA_FAILPOINTS has none.
#pragma once

#include <span>
#include <string_view>

namespace levada {

struct FailPointInfo {
  std::string_view name;   ///< "checkpoint.manifest.renamed"
  std::string_view phase;  ///< restore, run, align, write, manifest or flush
};

/// All fail points of this build. Threads: any.
std::span<const FailPointInfo> fail_points();

}  // namespace levada
