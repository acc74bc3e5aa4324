// check_restore: the dry run of a restore; restoring_nodes: the graph as the decision about it wants it.
//
// Threads:  pure, but for reading files.
// Failures: StateError when the checkpoint cannot be read.
#pragma once

#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "checkpoint/restore_decision.h"
#include "levada/options.h"
#include "levada/transformation.h"

namespace levada {

std::vector<RestoringNode> restoring_nodes(const LogicalGraph& graph, const EnvironmentOptions& options);

/// What a restore of `graph` from the checkpoint at `path` would do.
RestoreReport check_restore(FileSystem& files, std::string_view path, const LogicalGraph& graph,
                            const EnvironmentOptions& options, const ExecuteOptions& execute);

}  // namespace levada
