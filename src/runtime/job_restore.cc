#include "runtime/job_restore.h"

#include <algorithm>
#include <utility>

#include "levada/error.h"

#include "base/fail_point.h"
#include "checkpoint/restore_decision.h"
#include "runtime/check_restore.h"

namespace levada::detail {
namespace {

bool keeps_state(const Transformation& node) {
  return node.kind == NodeKind::kSource || node.stateful;
}

}  // namespace

std::unique_ptr<JobDirectory> JobRestore::open_directory() {
  if (!parts_.options.checkpoint.enabled()) return nullptr;
  auto directory = std::make_unique<JobDirectory>(parts_.files, parts_.options.checkpoint.directory,
                                                  parts_.job, parts_.log);
  const PhaseScope phase(Phase::kRestore);
  std::uint64_t after = 0;
  if (!parts_.execute.restore.empty()) {
    directory->take_lock();
    // Later than any start of the job that the checkpoint is of: its ids and its owner are older than ours.
    given_ = std::make_unique<const CheckpointReader>(parts_.files, parts_.execute.restore);
    after = std::max(given_->manifest().incarnation, given_->manifest().id >> 32);
  }
  directory->open(after);
  return directory;
}

// The path of execute() wins, until this start has checkpoints of its own.
std::shared_ptr<const RestoredCheckpoint> JobRestore::restore(JobDirectory* directory) {
  const PhaseScope phase(Phase::kRestore);
  if (parts_.execute.restore.empty()) return directory != nullptr ? restore_own(*directory) : nullptr;
  const std::optional<Manifest> own =
      directory != nullptr ? directory->newest_valid_of_this_start() : std::nullopt;
  return own ? open_own(*directory, *own) : restore_path(directory);
}

std::shared_ptr<const RestoredCheckpoint> JobRestore::restore_own(JobDirectory& directory) const {
  std::optional<Manifest> manifest = directory.newest_valid();
  if (!manifest) return nullptr;
  // That of a later instance: this one may have lost its lock.
  if (manifest->id >> 32 > directory.incarnation()) directory.require_owned();
  return open_own(directory, std::move(*manifest));
}

std::shared_ptr<const RestoredCheckpoint> JobRestore::open_own(JobDirectory& directory,
                                                               Manifest manifest) const {
  return checked(std::make_shared<const RestoredCheckpoint>(parts_.files, directory.state_path(),
                                                            std::move(manifest)),
                 RestoreOrigin::kOwn);
}

std::shared_ptr<const RestoredCheckpoint> JobRestore::restore_path(JobDirectory* directory) {
  // Read again for every further attempt: unless it is one of ours it may have changed.
  auto reader = std::exchange(given_, nullptr);
  if (!reader) {
    reader = std::make_unique<const CheckpointReader>(parts_.files, own_.empty() ? parts_.execute.restore : own_);
  }
  if (!reader->verified()) reader->verify();
  const Manifest& manifest = reader->manifest();
  const bool own = directory != nullptr && directory->has(manifest);
  if (own) {
    origin_ = RestoreOrigin::kOwn;
    own_ = directory->manifest_path(manifest.id);
  } else {
    origin_ = manifest.job_name == parts_.job ? RestoreOrigin::kElsewhere : RestoreOrigin::kOtherJob;
  }
  auto restored = checked(reader->open(), origin_);
  if (parts_.execute.claim && !own) {
    if (!manifest.savepoint) {
      throw StateError("'" + parts_.execute.restore + "' is a checkpoint of job '" + manifest.job_name +
                       "' in that job's own directory: only a savepoint can be claimed");
    }
    claimed_ = Claimed{reader->directory(), manifest};
  }
  return restored;
}

// As check_restore() decides.
std::shared_ptr<const RestoredCheckpoint> JobRestore::checked(
    std::shared_ptr<const RestoredCheckpoint> restored, RestoreOrigin origin) const {
  throw_if_refused(decide_restore(*restored, restoring_nodes(*parts_.plan.graph, parts_.options),
                                  static_cast<std::uint32_t>(parts_.options.max_parallelism),
                                  parts_.options.state.cold != nullptr, origin, parts_.execute));
  return restored;
}

std::vector<Manifest> JobRestore::manifests_to_recover(JobDirectory& directory,
                                                       const Manifest* restored) const {
  if (restored == nullptr) return {};
  std::vector<Manifest> manifests;
  if (origin_ == RestoreOrigin::kOwn) manifests = directory.manifests_before(restored->id);
  manifests.push_back(*restored);  // not read again: it must not be missing
  return manifests;
}

bool JobRestore::set_aside(JobDirectory& directory, const RestoredCheckpoint& restored) const {
  if (!parts_.execute.restore.empty()) return false;
  directory.set_aside(restored.manifest().id);
  try {
    return directory.newest_valid().has_value();
  } catch (const StateError&) {
    return false;
  }
}

std::map<int, std::vector<SplitState>> JobRestore::discover_splits(const RestoredCheckpoint* restored) const {
  std::map<int, std::vector<SplitState>> splits;
  for (int i = 0; i < static_cast<int>(parts_.plan.graph->nodes().size()); ++i) {
    if (parts_.plan.graph->node(i).kind == NodeKind::kSource) splits.emplace(i, splits_of(i, restored));
  }
  return splits;
}

std::vector<SplitState> JobRestore::splits_of(int id, const RestoredCheckpoint* restored) const {
  const Transformation& node = parts_.plan.graph->node(id);
  std::map<std::string, SplitState> by_id;
  std::vector<Split> old;
  if (restored != nullptr) {
    const RestoredNodeState state(*restored, state_id(*parts_.plan.graph, id));
    std::vector<SplitState> states;
    for (const View& bytes : state.operator_states(SourceOperator::kStateName)) decode_splits(bytes, states);
    for (SplitState& split : states) {
      old.push_back(split.split);
      by_id.emplace(split.split.id, std::move(split));
    }
  }
  const std::string name = node.uid.empty() ? node.name : node.uid;
  const auto log = [&](LogLevel level, std::string_view message) {
    parts_.log.write(level, name + ": " + std::string(message));
  };
  for (Split& split : node.source->discover(old, parts_.clock, log)) {
    const std::string split_id = split.id;
    by_id.emplace(split_id, SplitState{.split = std::move(split)});
  }
  std::vector<SplitState> splits;
  for (auto& [split_id, split] : by_id) splits.push_back(std::move(split));
  return splits;
}

Manifest JobRestore::manifest_template(JobDirectory& directory, const RestoredCheckpoint* restored) const {
  const PhysicalPlan& plan = parts_.plan;
  Manifest manifest;
  // One of another place is not in this directory, where another may have its number.
  const bool own = origin_ == RestoreOrigin::kOwn || restored == nullptr ||
                   restored->manifest().id >> 32 == directory.incarnation();
  if (restored != nullptr && own) manifest.previous = restored->manifest().id;
  manifest.job_name = parts_.job;
  manifest.max_parallelism = static_cast<std::uint32_t>(parts_.options.max_parallelism);
  for (const PlanChain& chain : plan.chains) {
    std::string text;
    for (const int id : chain.nodes) {
      const Transformation& node = plan.graph->node(id);
      text += (text.empty() ? "" : " -> ") + node.name;
      if (!keeps_state(node)) continue;
      manifest.nodes.push_back({.uid = state_id(*plan.graph, id),
                                .name = node.name,
                                .parallelism = static_cast<std::uint32_t>(chain.parallelism)});
    }
    for (int i = 0; i < chain.parallelism; ++i) {
      manifest.subtasks.push_back(
          {.chain = text, .subtask = static_cast<std::uint32_t>(i), .state = {}});
    }
  }
  return manifest;
}

}  // namespace levada::detail
