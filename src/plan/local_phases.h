// Picks local pre-aggregation: puts the local phase of an aggregate in front of the exchange that its rows
// travel through.
#pragma once

#include <memory>
#include <vector>

#include "levada/options.h"
#include "levada/transformation.h"

namespace levada {

struct PhasedGraph {
  std::shared_ptr<const LogicalGraph> graph;  ///< nodes keep their ids; local phases follow them
  std::vector<int> order;                     ///< of its nodes, inputs first
};

/// Splits the aggregates for which it pays: those whose rows change the subtask, come from one step that has
/// no other reader, and have no source upstream that may be idle.
PhasedGraph split_phases(std::shared_ptr<const LogicalGraph> graph, const EnvironmentOptions& options);

}  // namespace levada
