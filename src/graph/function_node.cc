#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "levada/detail/process_kernel.h"

namespace levada::detail {
namespace {

void check_states(LogicalGraph& graph, const FunctionStates& states, std::source_location where) {
  std::set<std::string> names;
  for (const std::string& name : states.found) {
    if (name.empty()) graph.problem("process: a state of the function has an empty name", where);
    if (names.insert(name).second) continue;
    graph.problem("process: two states of the function are called '" + name + "'", where);
  }
  for (const std::string& name : states.copied) {
    if (names.contains(name)) continue;
    graph.problem("process: state '" + name + "' is not found in the function; a function with state is a "
                  "struct of public members, the states among them, without constructor or base class",
                  where);
  }
}

}  // namespace

Transformation function_node(LogicalGraph& graph, const FunctionStates& states, const BatchType& out,
                             OperatorFactory factory, std::source_location where) {
  check_states(graph, states, where);
  Transformation node;
  node.name = "process";
  node.outputs = {{.tag = {}, .type = &out}};
  node.make_operator = std::move(factory);
  node.stateful = states.timers || !states.found.empty();
  node.states = states.specs;
  node.states.push_back({.name = kFunctionTimeState});
  node.open_side_outputs = true;
  node.where = where;
  return node;
}

}  // namespace levada::detail
