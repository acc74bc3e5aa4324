#include "plan/local_phases.h"

#include <algorithm>
#include <utility>

namespace levada {
namespace {

int parallelism_of(const Transformation& node, const EnvironmentOptions& options) {
  return node.parallelism > 0 ? node.parallelism : options.parallelism;
}

std::vector<int> count_readers(const LogicalGraph& graph) {
  std::vector<int> readers(graph.nodes().size(), 0);
  for (const Transformation& node : graph.nodes()) {
    for (const InputEdge& edge : node.inputs) ++readers[static_cast<std::size_t>(edge.from.node)];
  }
  return readers;
}

// A source that may be idle is left out of the merged watermark, which may then be ahead of the local one.
bool may_be_idle(const LogicalGraph& graph, int id) {
  const Transformation& node = graph.node(id);
  if (node.kind == NodeKind::kSource) return node.watermarks.options.idle_after > Duration{0};
  return std::any_of(node.inputs.begin(), node.inputs.end(), [&](const InputEdge& edge) {
    return may_be_idle(graph, edge.from.node);
  });
}

bool pays(const LogicalGraph& graph, const Transformation& node, const std::vector<int>& readers,
          const EnvironmentOptions& options) {
  if (!node.two_phases || node.inputs.size() != 1 || !node.chain_with_input) return false;
  const InputEdge& edge = node.inputs.front();
  const Transformation& from = graph.node(edge.from.node);
  const bool travels = parallelism_of(from, options) > 1 || parallelism_of(node, options) > 1;
  return travels && edge.from.output == 0 && from.chain_with_output && !from.may_block &&
         readers[static_cast<std::size_t>(edge.from.node)] == 1 &&
         !may_be_idle(graph, edge.from.node);
}

// Puts the local phase of `node`, which will be node `local`, in front of it.
Transformation split(Transformation& node, int local, int from_parallelism) {
  const detail::TwoPhases& phases = *node.two_phases;
  const InputEdge edge = node.inputs.front();
  Transformation phase;
  phase.name = node.name + ", local";
  phase.parallelism = from_parallelism;
  phase.inputs = {{.from = edge.from, .input = 0, .exchange = {}}};
  phase.outputs = {{.tag = {}, .type = phases.partial_type}, {.tag = "rows", .type = phases.row_type}};
  phase.make_operator = phases.make_local;
  phase.where = node.where;
  node.make_operator = phases.make_final;
  node.inputs = {{.from = {local, 0},
                  .input = 0,
                  .exchange = {ExchangeKind::kHash, phases.partial_hasher}},
                 {.from = {local, 1}, .input = 1, .exchange = edge.exchange}};
  return phase;
}

}  // namespace

PhasedGraph split_phases(std::shared_ptr<const LogicalGraph> graph, const EnvironmentOptions& options) {
  auto phased = std::make_shared<LogicalGraph>(*graph);
  const std::vector<int> readers = count_readers(*graph);
  PhasedGraph result;
  const int count = static_cast<int>(graph->nodes().size());
  for (int id = 0; id < count; ++id) {
    const Transformation& node = graph->node(id);
    if (pays(*graph, node, readers, options)) {
      const int local = static_cast<int>(phased->nodes().size());
      const Transformation& from = graph->node(node.inputs.front().from.node);
      Transformation phase = split(phased->node(id), local, parallelism_of(from, options));
      phased->add(std::move(phase));
      result.order.push_back(local);
    }
    result.order.push_back(id);
  }
  result.graph = std::move(phased);
  return result;
}

}  // namespace levada
