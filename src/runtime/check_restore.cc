#include "runtime/check_restore.h"

#include <memory>
#include <string>
#include <utility>

#include "base/percent_encoding.h"
#include "checkpoint/checkpoint_reader.h"
#include "operators/source_operator.h"
#include "plan/physical_plan.h"

namespace levada {
namespace {

// The splits of each source, which only their operator can read.
void add_splits(const RestoredCheckpoint& checkpoint, RestoreReport& report) {
  for (RestoreItem& item : report.items) {
    if (item.kind != RestoredKind::kSource || item.verdict != RestoreVerdict::kRestored) continue;
    const RestoredNodeState state(checkpoint, item.uid);
    std::vector<SplitState> splits;
    for (const View& bytes : state.operator_states(SourceOperator::kStateName)) decode_splits(bytes, splits);
    std::string text = std::to_string(splits.size()) + " splits";
    for (std::size_t i = 0; i < splits.size(); ++i) text += (i == 0 ? ": " : ", ") + splits[i].split.id;
    item.details.push_back(std::move(text));
  }
}

// For a job of the name that the checkpoint has.
RestoreOrigin origin_of(const CheckpointReader& reader, const EnvironmentOptions& options) {
  const std::string own =
      join_path(options.checkpoint.directory, percent_encode(reader.manifest().job_name));
  const bool is_own = options.checkpoint.enabled() && reader.directory() == own;
  return is_own ? RestoreOrigin::kOwn : RestoreOrigin::kElsewhere;
}

}  // namespace

std::vector<RestoringNode> restoring_nodes(const LogicalGraph& graph, const EnvironmentOptions& options) {
  std::vector<RestoringNode> nodes;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const Transformation& node = graph.nodes()[i];
    RestoringNode& into = nodes.emplace_back();
    into.uid = state_id(graph, static_cast<int>(i));
    into.states = node.states;
    into.undeclared = node.stateful && node.states.empty();
    into.source = node.kind == NodeKind::kSource;
    if (into.source) into.states.push_back({.name = std::string(SourceOperator::kStateName)});
    into.exactly_once_sink = node.sink && guarantee_of(*node.sink, options.checkpoint.enabled()) ==
                                              Guarantee::kExactlyOnce;
  }
  return nodes;
}

RestoreReport check_restore(FileSystem& files, std::string_view path, const LogicalGraph& graph,
                            const EnvironmentOptions& options, const ExecuteOptions& execute) {
  const CheckpointReader reader(files, path);
  if (!reader.verified()) reader.verify();
  const auto checkpoint = reader.open();
  RestoreReport report =
      decide_restore(*checkpoint, restoring_nodes(graph, options),
                     static_cast<std::uint32_t>(options.max_parallelism), options.state.cold != nullptr,
                     origin_of(reader, options), execute);
  add_splits(*checkpoint, report);
  return report;
}

}  // namespace levada
