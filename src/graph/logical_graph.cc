#include <string>
#include <utility>

#include "levada/transformation.h"

namespace levada {

std::string_view to_string(ExchangeKind kind) {
  switch (kind) {
    case ExchangeKind::kForward: return "forward";
    case ExchangeKind::kHash: return "hash";
    case ExchangeKind::kRebalance: return "rebalance";
    case ExchangeKind::kBroadcast: return "broadcast";
  }
  return "unknown";
}

int LogicalGraph::add(Transformation transformation) {
  nodes_.push_back(std::move(transformation));
  return static_cast<int>(nodes_.size()) - 1;
}

void LogicalGraph::problem(std::string what, std::source_location where) {
  problems_.push_back({std::move(what), where});
}

std::size_t LogicalGraph::side_output(int id, std::string_view tag, const BatchType& type,
                                      std::source_location where) {
  Transformation& from = node(id);
  for (std::size_t i = 1; i < from.outputs.size(); ++i) {
    if (from.outputs[i].tag != tag) continue;
    if (from.outputs[i].type != &type) {
      problem("side_output(\"" + std::string(tag) + "\") of " + describe(*this, id) +
                  " has rows of type " + std::string(from.outputs[i].type->name) + ", not " +
                  std::string(type.name),
              where);
      return 0;
    }
    return i;
  }
  if (from.open_side_outputs) {
    from.outputs.push_back({std::string(tag), &type});
    return from.outputs.size() - 1;
  }
  problem("side_output(\"" + std::string(tag) + "\"): " + describe(*this, id) +
              " emits nothing to that tag",
          where);
  return 0;
}

std::string describe(const LogicalGraph& graph, int id) {
  const Transformation& node = graph.node(id);
  if (!node.uid.empty()) return "'" + node.uid + "'";
  return node.name + " (step " + std::to_string(id + 1) + ")";
}

}  // namespace levada
