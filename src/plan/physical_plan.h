// PhysicalPlan: what will run, as plain data: chains of operators, their subtasks, and the edges between
// them. Made once from a logical graph; immutable and shared by all attempts of a job.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "levada/transformation.h"

namespace levada {

/// Operators that run as one, in row order.
struct PlanChain {
  int id = 0;
  std::vector<int> nodes;  ///< of the logical graph
  /// For each node: the hasher that runs on its input batches, null where no key is needed. Only a
  /// node chained over a keyed edge has one; across an exchange hashes travel with the rows.
  std::vector<std::shared_ptr<const detail::KeyHasher>> hashers;
  int parallelism = 1;
  bool may_block = false;
  std::vector<int> in_edges;
  std::vector<int> out_edges;
};

/// All channels between two chains.
struct PlanEdge {
  int id = 0;
  int from_chain = 0;
  std::size_t output = 0;  ///< of the last node of from_chain
  int to_chain = 0;
  std::size_t input = 0;  ///< of the first node of to_chain
  Exchange exchange;
  const BatchType* type = nullptr;
};

struct PhysicalPlan {
  std::shared_ptr<const LogicalGraph> graph;
  std::vector<PlanChain> chains;  ///< upstream before downstream
  std::vector<PlanEdge> edges;
  int max_parallelism = 128;

  int subtask_count() const;
  bool is_source(const PlanChain& chain) const;
};

/// The name of a node in checkpoints: its uid; for a node that needs none, one made from its position.
std::string state_id(const LogicalGraph& graph, int node);

}  // namespace levada
