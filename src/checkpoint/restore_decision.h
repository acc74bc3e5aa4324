// decide_restore: what a graph may take over from a checkpoint. A job asks it before its tasks are made, its
// dry run asks it and does no more: the verdict is the same because the question is.
//
// Threads:  pure.
// Failures: none; throw_if_refused() makes a StateError of a report.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "levada/options.h"
#include "levada/restore_report.h"
#include "levada/transformation.h"

#include "checkpoint/restore.h"

namespace levada {

/// A step of the graph, as a restore sees it.
struct RestoringNode {
  std::string uid;
  std::vector<StateSpec> states;
  bool undeclared = false;  ///< it has state and does not say which: only its operator can tell
  bool source = false;
  bool exactly_once_sink = false;
};

RestoreReport decide_restore(const RestoredCheckpoint& checkpoint, const std::vector<RestoringNode>& nodes,
                             std::uint32_t max_parallelism, bool has_cold_tier, RestoreOrigin origin,
                             const ExecuteOptions& execute);

/// Throws StateError with everything that the report refuses.
void throw_if_refused(const RestoreReport& report);

}  // namespace levada
