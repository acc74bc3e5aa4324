#include "checkpoint/restore_decision.h"

#include <algorithm>
#include <set>
#include <utility>

#include "levada/detail/state_names.h"
#include "levada/error.h"

#include "core/state_migration.h"

namespace levada {
namespace {

// Of the manifest's nodes: what others wrote, such as a function without state, is never restored.
// A state as the checkpoint has it: of all subtasks together.
struct WrittenState {
  bool keyed = false;
  bool cold = false;              // a cold tier may have entries of it
  std::set<std::string> schemas;  // kept namespaces may be of an older one
};
using WrittenStates = std::map<std::string, WrittenState>;       // by name
using WrittenNodes = std::map<std::string, WrittenStates>;       // by uid

void add_tables(const StateFileReader& file, bool own, bool cold, WrittenNodes& nodes) {
  for (const StateFileReader::Table& table : file.tables()) {
    const auto node = nodes.find(table.node);
    if (node == nodes.end()) continue;
    WrittenStates& states = node->second;
    // An older file has more than is wanted of it.
    if (!own && !states.contains(table.name)) continue;
    WrittenState& state = states[table.name];
    state.keyed = true;
    state.cold |= cold;
    state.schemas.insert(table.schema);
  }
}

WrittenNodes written_in(const RestoredCheckpoint& checkpoint) {
  WrittenNodes nodes;
  for (const NodeState& node : checkpoint.manifest().nodes) nodes[node.uid];
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint.subtasks()) {
    add_tables(*subtask.state, true, subtask.cold != nullptr, nodes);
    for (const StateFileReader::OperatorState& state : subtask.state->operator_states()) {
      const auto node = nodes.find(state.node);
      if (node != nodes.end()) node->second[state.name];
    }
  }
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint.subtasks()) {
    for (const auto& older : subtask.older) add_tables(*older, false, false, nodes);
  }
  return nodes;
}

class Decision {
 public:
  Decision(const RestoredCheckpoint& checkpoint, const std::vector<RestoringNode>& nodes,
           bool has_cold_tier, RestoreOrigin origin, const ExecuteOptions& execute)
      : checkpoint_(checkpoint),
        manifest_(checkpoint.manifest()),
        written_(written_in(checkpoint)),
        nodes_(nodes),
        has_cold_tier_(has_cold_tier),
        origin_(origin),
        execute_(execute) {
    report_.checkpoint = manifest_.id;
    report_.job_name = manifest_.job_name;
    report_.savepoint = manifest_.savepoint;
  }

  RestoreReport run(std::uint32_t max_parallelism) {
    check_max_parallelism(max_parallelism);
    for (const RestoringNode& node : nodes_) {
      for (const StateSpec& spec : node.states) decide_state(node, spec);
      if (node.exactly_once_sink) decide_sink(node);
    }
    for (const auto& [uid, states] : written_) leave_behind(uid, states);
    for (const SinkState& sink : manifest_.sinks) leave_sink_behind(sink);
    return std::move(report_);
  }

 private:
  RestoreItem& add(RestoredKind kind, const std::string& uid, const std::string& state,
                   RestoreVerdict verdict, std::vector<std::string> details = {}) {
    return report_.items.emplace_back(RestoreItem{kind, uid, state, verdict, std::move(details)});
  }

  void check_max_parallelism(std::uint32_t wanted) {
    if (manifest_.max_parallelism == wanted) return;
    add(RestoredKind::kCheckpoint, {}, {}, RestoreVerdict::kRefused,
        {"it was taken with max_parallelism " + std::to_string(manifest_.max_parallelism) +
         ", which cannot change; options say " + std::to_string(wanted)});
  }

  static RestoredKind kind_of(const RestoringNode& node, const StateSpec& spec) {
    if (node.source) return RestoredKind::kSource;
    return spec.keyed ? RestoredKind::kKeyedState : RestoredKind::kOperatorState;
  }

  void decide_state(const RestoringNode& node, const StateSpec& spec) {
    const RestoredKind kind = kind_of(node, spec);
    const WrittenState* const written = find(node.uid, spec.name);
    if (written == nullptr) {
      add(kind, node.uid, spec.name, RestoreVerdict::kNew);
      return;
    }
    if (written->keyed != spec.keyed) {
      add(kind, node.uid, spec.name, RestoreVerdict::kRefused,
          {written->keyed ? "it was keyed state and is operator state"
                          : "it was operator state and is keyed state"});
      return;
    }
    RestoreItem& item = add(kind, node.uid, spec.name, RestoreVerdict::kRestored);
    const bool has_values = !spec.keyed && !spec.schema.empty();
    for (const std::string& schema : has_values ? schemas_of_values(node.uid, spec.name) : written->schemas) {
      decide_schema(schema, spec, item);
    }
    if (written->cold) decide_cold(item);
  }

  // The files of a cold tier are taken over as they are, by the backend that wrote them.
  void decide_cold(RestoreItem& item) const {
    std::string why;
    if (!has_cold_tier_) {
      why = "it is in a cold tier, and this program keeps state in memory; give its environment the state "
            "backend that wrote it, or begin with a savepoint, which make_savepoint() makes of a checkpoint";
    } else if (item.verdict == RestoreVerdict::kMigrated) {
      why = "its schema has changed, and it is in a cold tier, whose files are taken over as they are; begin "
            "with a savepoint, which make_savepoint() makes of a checkpoint";
    } else {
      return;
    }
    item.verdict = RestoreVerdict::kRefused;
    item.details = {std::move(why)};
  }

  // Operator values begin with theirs.
  std::set<std::string> schemas_of_values(const std::string& uid, const std::string& name) const {
    std::set<std::string> schemas;
    for (View bytes : RestoredNodeState(checkpoint_, uid).operator_states(name)) {
      try {
        schemas.emplace(bytes.take_string());
      } catch (const StateError&) {
        schemas.emplace("an unknown schema");
      }
    }
    return schemas;
  }

  static void decide_schema(const std::string& written, const StateSpec& spec, RestoreItem& item) {
    const StateMigration migration = plan_migration(written, spec.schema, spec.types);
    if (migration.refused()) {
      item.verdict = RestoreVerdict::kRefused;
      item.details = {refusal_of(written, spec.schema, migration.problems)};
    } else if (migration.transcoder && item.verdict != RestoreVerdict::kRefused) {
      item.verdict = RestoreVerdict::kMigrated;
      for (const std::string& change : migration.changes) {
        if (std::find(item.details.begin(), item.details.end(), change) == item.details.end()) {
          item.details.push_back(change);
        }
      }
    }
  }

  void decide_sink(const RestoringNode& node) {
    const auto state = std::find_if(manifest_.sinks.begin(), manifest_.sinks.end(),
                                    [&](const SinkState& sink) { return sink.uid == node.uid; });
    if (state == manifest_.sinks.end()) {
      add(RestoredKind::kSink, node.uid, {}, RestoreVerdict::kNew);
    } else if (execute_.new_sink_generation) {
      add(RestoredKind::kSink, node.uid, {}, RestoreVerdict::kDropped,
          {"new_sink_generation: it begins anew, and " + waiting(*state) + " is dropped"});
    } else if (origin_ != RestoreOrigin::kOwn && !state->epochs.empty()) {
      add(RestoredKind::kSink, node.uid, {}, RestoreVerdict::kRefused, {elsewhere(*state)});
    } else if (origin_ == RestoreOrigin::kOtherJob) {
      add(RestoredKind::kSink, node.uid, {}, RestoreVerdict::kNew, {"what was published is another job's"});
    } else {
      add(RestoredKind::kSink, node.uid, {}, RestoreVerdict::kRestored, {waiting(*state) + " is published first"});
    }
  }

  static std::string elsewhere(const SinkState& sink) {
    return "output of '" + sink.name +
           "' is not published yet, and the log of it is in that job's own directory; take a savepoint instead, "
           "or, if that output may be missing, execute with new_sink_generation";
  }
  static std::string waiting(const SinkState& sink) {
    return "output of " + std::to_string(sink.epochs.size()) + " epochs that waits";
  }

  // What the checkpoint has of a step and the graph does not.
  void leave_behind(const std::string& uid, const WrittenStates& states) {
    const RestoringNode* const node = find_node(uid);
    if (node == nullptr && states.empty()) unwanted(RestoredKind::kOperatorState, uid, {}, no_step(uid));
    for (const auto& [name, state] : states) {
      if (find_spec(node, name) != nullptr) continue;
      if (decide_part(node, uid, name, states)) continue;
      const RestoredKind kind = state.keyed ? RestoredKind::kKeyedState : RestoredKind::kOperatorState;
      if (node != nullptr && node->undeclared) {
        add(kind, uid, name, RestoreVerdict::kRestored, {"as far as its operator can read it"});
        continue;
      }
      unwanted(kind, uid, name,
               node == nullptr ? no_step(uid) : "the step with that uid has no such state");
    }
  }

  // What a cold tier has apart of the values of a state: what becomes of it was said of the whole, unless that is
  // none any more that has such. False: it is no part.
  bool decide_part(const RestoringNode* node, const std::string& uid, const std::string& name,
                   const WrittenStates& states) {
    const std::string whole = detail::whole_state_name(name);
    if (!states.contains(whole)) return false;
    if (name.starts_with(detail::kPagesPrefix)) return true;
    const StateSpec* const spec = find_spec(node, whole);
    if (spec == nullptr || spec->paged) return true;
    add(RestoredKind::kKeyedState, uid, whole, RestoreVerdict::kRefused,
        {"it was a MapState in a cold tier, whose large maps are there in pages; begin with a savepoint, which "
         "make_savepoint() makes of a checkpoint"});
    return true;
  }

  // Output that waits to be published needs its sink.
  void leave_sink_behind(const SinkState& sink) {
    const RestoringNode* const node = find_node(sink.uid);
    if (node != nullptr && node->exactly_once_sink) return;
    const bool refused = !sink.epochs.empty() && !execute_.new_sink_generation;
    if (refused && origin_ != RestoreOrigin::kOwn) {
      add(RestoredKind::kSink, sink.uid, {}, RestoreVerdict::kRefused, {elsewhere(sink)});
      return;
    }
    add(RestoredKind::kSink, sink.uid, {}, refused ? RestoreVerdict::kRefused : RestoreVerdict::kDropped,
        {refused ? "it has output of '" + sink.name +
                       "' that is not published yet, but the graph has no exactly-once sink with that uid; "
                       "run it once more with that sink, or, if that output may be missing, execute it with "
                       "new_sink_generation"
                 : "the graph has no exactly-once sink with that uid; " + waiting(sink) + " is dropped"});
  }

  void unwanted(RestoredKind kind, const std::string& uid, const std::string& name, std::string why) {
    if (execute_.allow_non_restored_state) {
      add(kind, uid, name, RestoreVerdict::kDropped, {std::move(why)});
    } else {
      add(kind, uid, name, RestoreVerdict::kRefused,
          {std::move(why) + "; to leave it behind, execute it with allow_non_restored_state"});
    }
  }

  std::string no_step(const std::string& uid) const {
    const auto node = std::find_if(manifest_.nodes.begin(), manifest_.nodes.end(),
                                   [&](const NodeState& known) { return known.uid == uid; });
    return "the graph has no step with that uid" +
           (node == manifest_.nodes.end() ? std::string() : ", which was " + node->name);
  }

  const WrittenState* find(const std::string& uid, const std::string& name) const {
    const auto node = written_.find(uid);
    if (node == written_.end()) return nullptr;
    const auto state = node->second.find(name);
    return state == node->second.end() ? nullptr : &state->second;
  }

  // Null without a node, too.
  static const StateSpec* find_spec(const RestoringNode* node, const std::string& name) {
    if (node == nullptr) return nullptr;
    const auto at = std::find_if(node->states.begin(), node->states.end(),
                                 [&](const StateSpec& spec) { return spec.name == name; });
    return at == node->states.end() ? nullptr : &*at;
  }

  const RestoringNode* find_node(const std::string& uid) const {
    const auto at = std::find_if(nodes_.begin(), nodes_.end(),
                                 [&](const RestoringNode& node) { return node.uid == uid; });
    return at == nodes_.end() ? nullptr : &*at;
  }

  const RestoredCheckpoint& checkpoint_;
  const Manifest& manifest_;
  const WrittenNodes written_;
  const std::vector<RestoringNode>& nodes_;
  const bool has_cold_tier_;
  const RestoreOrigin origin_;
  const ExecuteOptions& execute_;
  RestoreReport report_;
};

// "state 'windows' of 'totals'"
std::string subject(const RestoreItem& item) {
  std::string text(to_string(item.kind));
  if (!item.state.empty() && item.kind != RestoredKind::kSource) text += " '" + item.state + "' of";
  return item.uid.empty() ? text : text + " '" + item.uid + "'";
}

void append_details(const RestoreItem& item, std::string& text) {
  for (std::size_t i = 0; i < item.details.size(); ++i) text += (i == 0 ? ": " : ", ") + item.details[i];
}

}  // namespace

RestoreReport decide_restore(const RestoredCheckpoint& checkpoint, const std::vector<RestoringNode>& nodes,
                             std::uint32_t max_parallelism, bool has_cold_tier, RestoreOrigin origin,
                             const ExecuteOptions& execute) {
  return Decision(checkpoint, nodes, has_cold_tier, origin, execute).run(max_parallelism);
}

void throw_if_refused(const RestoreReport& report) {
  if (!report.refused()) return;
  std::string text = "checkpoint " + std::to_string(report.checkpoint) + " of job '" + report.job_name +
                     "' cannot be restored: ";
  bool first = true;
  for (const RestoreItem& item : report.items) {
    if (item.verdict != RestoreVerdict::kRefused) continue;
    if (!std::exchange(first, false)) text += "; ";
    text += subject(item);
    append_details(item, text);
  }
  throw StateError(text);
}

std::string_view to_string(RestoreVerdict verdict) {
  switch (verdict) {
    case RestoreVerdict::kRestored: return "restored";
    case RestoreVerdict::kMigrated: return "migrated";
    case RestoreVerdict::kNew: return "new";
    case RestoreVerdict::kDropped: return "dropped";
    case RestoreVerdict::kRefused: return "refused";
  }
  return "?";
}

std::string_view to_string(RestoredKind kind) {
  switch (kind) {
    case RestoredKind::kCheckpoint: return "checkpoint";
    case RestoredKind::kKeyedState: return "keyed state";
    case RestoredKind::kOperatorState: return "operator state";
    case RestoredKind::kSource: return "source";
    case RestoredKind::kSink: return "sink";
  }
  return "?";
}

bool RestoreReport::refused() const {
  return std::any_of(items.begin(), items.end(),
                     [](const RestoreItem& item) { return item.verdict == RestoreVerdict::kRefused; });
}

std::string RestoreReport::text() const {
  std::string text = std::string(savepoint ? "savepoint" : "checkpoint") + " " + std::to_string(checkpoint) +
                     " of job '" + job_name + "': " + (refused() ? "refused" : "can be restored") + "\n";
  for (const RestoreItem& item : items) {
    text.append("  ").append(to_string(item.verdict)).append("  ").append(subject(item));
    append_details(item, text);
    text += '\n';
  }
  return text;
}

}  // namespace levada
