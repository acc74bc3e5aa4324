#include "plan/plan_printer.h"

#include <string>

namespace levada {
namespace {

std::string print_node(const PhysicalPlan& plan, int id) {
  const Transformation& node = plan.graph->node(id);
  std::string text = node.name;
  if (!node.uid.empty()) text += " '" + node.uid + "'";
  return text;
}

std::string print_chain(const PhysicalPlan& plan, const PlanChain& chain) {
  std::string text = "chain " + std::to_string(chain.id) + " x" + std::to_string(chain.parallelism);
  if (chain.may_block) text += " (own threads)";
  text += ": ";
  for (std::size_t i = 0; i < chain.nodes.size(); ++i) {
    if (i > 0) text += chain.hashers[i] ? " =key=> " : " -> ";
    text += print_node(plan, chain.nodes[i]);
  }
  return text + "\n";
}

std::string print_edge(const PhysicalPlan& plan, const PlanEdge& edge) {
  const PlanChain& from = plan.chains[static_cast<std::size_t>(edge.from_chain)];
  const OutputSpec& output = plan.graph->node(from.nodes.back()).outputs[edge.output];
  std::string text = "edge chain " + std::to_string(edge.from_chain);
  if (!output.tag.empty()) text += "[" + output.tag + "]";
  text += " -> chain " + std::to_string(edge.to_chain) + ": " +
          std::string(to_string(edge.exchange.kind)) + " of " + std::string(edge.type->name);
  return text + "\n";
}

}  // namespace

std::string print_plan(const PhysicalPlan& plan) {
  std::string text = "key groups " + std::to_string(plan.max_parallelism) + ", subtasks " +
                     std::to_string(plan.subtask_count()) + "\n";
  for (const PlanChain& chain : plan.chains) text += print_chain(plan, chain);
  for (const PlanEdge& edge : plan.edges) text += print_edge(plan, edge);
  return text;
}

}  // namespace levada
