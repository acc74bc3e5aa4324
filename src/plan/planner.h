// Logical graph → physical plan.
#pragma once

#include <memory>

#include "levada/options.h"
#include "plan/physical_plan.h"

namespace levada {

/// Fuses chains and lays out edges. REQUIRES: validate() found nothing wrong.
std::shared_ptr<const PhysicalPlan> make_plan(std::shared_ptr<const LogicalGraph> graph,
                                              const EnvironmentOptions& options);

}  // namespace levada
