// What is wrong with a logical graph, all of it at once.
#pragma once

#include "levada/options.h"
#include "levada/transformation.h"

namespace levada {

/// Throws GraphError with every problem of the graph and of the options it is to run with.
void validate(const LogicalGraph& graph, const EnvironmentOptions& options);

}  // namespace levada
