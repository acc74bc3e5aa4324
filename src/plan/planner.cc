#include "plan/planner.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "plan/local_phases.h"

namespace levada {
namespace {

class Planner {
 public:
  Planner(PhasedGraph phased, const EnvironmentOptions& options)
      : graph_(std::move(phased.graph)), order_(std::move(phased.order)), options_(options) {}

  std::shared_ptr<const PhysicalPlan> make() {
    plan_.graph = graph_;
    plan_.max_parallelism = options_.max_parallelism;
    count_readers();
    fuse_chains();
    lay_edges();
    return std::make_shared<const PhysicalPlan>(std::move(plan_));
  }

 private:
  int parallelism(int id) const {
    const int own = graph_->node(id).parallelism;
    return own > 0 ? own : options_.parallelism;
  }

  // An exactly-once sink writes files on the background queue, and its publishers have the threads.
  bool may_block(int id) const {
    const Transformation& node = graph_->node(id);
    if (!node.may_block || !node.sink) return node.may_block;
    return guarantee_of(*node.sink, options_.checkpoint.enabled()) != Guarantee::kExactlyOnce;
  }

  void count_readers() {
    readers_.assign(graph_->nodes().size(), 0);
    for (const Transformation& node : graph_->nodes()) {
      for (const InputEdge& edge : node.inputs) ++readers_[static_cast<std::size_t>(edge.from.node)];
    }
  }

  // An exchange from one subtask to one subtask is a forward edge, keyed or not.
  bool is_forward(const InputEdge& edge, int from, int to) const {
    if (parallelism(from) != parallelism(to)) return false;
    if (edge.exchange.kind == ExchangeKind::kForward) return true;
    return parallelism(from) == 1;
  }

  // True when `id` runs in the chain of its only input.
  bool fuses(int id) const {
    const Transformation& node = graph_->node(id);
    if (node.inputs.size() != 1 || !node.chain_with_input) return false;
    const InputEdge& edge = node.inputs.front();
    const Transformation& from = graph_->node(edge.from.node);
    return edge.from.output == 0 && readers_[static_cast<std::size_t>(edge.from.node)] == 1 &&
           from.chain_with_output && may_block(edge.from.node) == may_block(id) &&
           is_forward(edge, edge.from.node, id);
  }

  void fuse_chains() {
    chain_of_.assign(graph_->nodes().size(), -1);
    for (const int id : order_) {
      const Transformation& node = graph_->node(id);
      if (fuses(id)) {
        const InputEdge& edge = node.inputs.front();
        const int chain = chain_of_[static_cast<std::size_t>(edge.from.node)];
        plan_.chains[static_cast<std::size_t>(chain)].nodes.push_back(id);
        const bool sink = node.kind == NodeKind::kSink;  // only wants equal keys to meet
        plan_.chains[static_cast<std::size_t>(chain)].hashers.push_back(
            sink ? nullptr : edge.exchange.hasher);
        chain_of_[static_cast<std::size_t>(id)] = chain;
        continue;
      }
      PlanChain chain;
      chain.id = static_cast<int>(plan_.chains.size());
      chain.nodes = {id};
      chain.hashers = {nullptr};
      chain.parallelism = parallelism(id);
      chain.may_block = may_block(id);
      chain_of_[static_cast<std::size_t>(id)] = chain.id;
      plan_.chains.push_back(std::move(chain));
    }
  }

  void lay_edges() {
    for (PlanChain& chain : plan_.chains) {
      for (const InputEdge& edge : graph_->node(chain.nodes.front()).inputs) lay_edge(chain, edge);
    }
  }

  void lay_edge(PlanChain& to, const InputEdge& input) {
    PlanEdge edge;
    edge.id = static_cast<int>(plan_.edges.size());
    edge.from_chain = chain_of_[static_cast<std::size_t>(input.from.node)];
    edge.output = input.from.output;
    edge.to_chain = to.id;
    edge.input = input.input;
    edge.exchange = input.exchange;
    edge.type = graph_->node(input.from.node).outputs[input.from.output].type;
    PlanChain& from = plan_.chains[static_cast<std::size_t>(edge.from_chain)];
    if (edge.exchange.kind == ExchangeKind::kForward && from.parallelism != to.parallelism) {
      edge.exchange.kind = ExchangeKind::kRebalance;
    }
    from.out_edges.push_back(edge.id);
    to.in_edges.push_back(edge.id);
    plan_.edges.push_back(std::move(edge));
  }

  std::shared_ptr<const LogicalGraph> graph_;
  std::vector<int> order_;  // of the nodes, inputs first
  const EnvironmentOptions& options_;
  PhysicalPlan plan_;
  std::vector<int> readers_;
  std::vector<int> chain_of_;
};

}  // namespace

std::shared_ptr<const PhysicalPlan> make_plan(std::shared_ptr<const LogicalGraph> graph,
                                              const EnvironmentOptions& options) {
  return Planner(split_phases(std::move(graph), options), options).make();
}

int PhysicalPlan::subtask_count() const {
  int count = 0;
  for (const PlanChain& chain : chains) count += chain.parallelism;
  return count;
}

bool PhysicalPlan::is_source(const PlanChain& chain) const {
  return graph->node(chain.nodes.front()).kind == NodeKind::kSource;
}

std::string state_id(const LogicalGraph& graph, int node) {
  const Transformation& transformation = graph.node(node);
  if (!transformation.uid.empty()) return transformation.uid;
  return "#" + std::to_string(node) + " " + transformation.name;
}

}  // namespace levada
