// How processes end, and whether they may: every failure has a reason in what that process met, and who has finished
// leaves nothing behind that should be gone.
#include <algorithm>
#include <exception>
#include <set>
#include <utility>

#include "base/percent_encoding.h"
#include "checkpoint/checkpoint_reader.h"
#include "levada/error.h"
#include "sim/exactly_once_world.h"

namespace levada::testing {
namespace {

constexpr int kReadTries = 6;  // so often in a row the log cannot be read before it is lost
constexpr Duration kStartTimeout = 9s;

// Whether the checkpoint has an epoch of the shard that waits to be published.
bool has_epoch(const SinkState& sink, std::size_t shard, CheckpointId epoch) {
  return std::any_of(sink.epochs.begin(), sink.epochs.end(), [&](const SinkEpoch& one) {
    return one.id == epoch && std::any_of(one.segments.begin(), one.segments.end(), [&](const EpochSegment& segment) {
             return segment.subtask % sink.published.size() == shard;
           });
  });
}

}  // namespace

// ---- what a process meets

void World::note_trouble(Process& process, FileOperation operation, const std::string& path) {
  Troubles& troubles = process.troubles;
  ++troubles.files;
  ++troubles.files_since_commit;
  const bool reads = operation == FileOperation::kOpen || operation == FileOperation::kList;
  const bool of_log = path.find("/log/") != std::string::npos;
  const bool of_manifest = path.find("/manifest-") != std::string::npos || path.ends_with("/INCARNATION");
  const bool of_state = reads && path.find("/state/") != std::string::npos;
  const bool preparing = process.run == nullptr || process.run->job().tasks() == nullptr;
  if ((of_manifest && reads) || of_state || (operation == FileOperation::kList && !of_log)) {
    ++troubles.manifests;
    troubles.restored_another |= preparing;
  }
  // Starts may go on from different manifests then. Without the incarnation, too: a manifest is named, and not
  // counted by who named it.
  if (of_manifest || of_state) ++unreadable_manifests_;
  if (of_log && operation == FileOperation::kOpen) return note_log_read(process, path);
  // An attempt ends for its log only, and for the state it begins with; while none runs, for anything.
  troubles.state_damaged |= of_state;
  if (of_log ? !reads : preparing || of_state) ++troubles.restarts;
}

// <directory>/log/<sink>/<subtask>/<epoch>.log
void World::note_log_read(Process& process, const std::string& path) {
  const std::size_t name = path.rfind('/');
  const std::size_t subtask = path.rfind('/', name - 1);
  const std::size_t sink = path.rfind('/', subtask - 1);
  const std::string uid = path.substr(sink + 1, subtask - sink - 1);
  const Manifest* const newest = manifests_->newest();
  if (newest == nullptr) return;
  for (const SinkState& state : newest->sinks) {
    if (percent_encode(state.uid) != uid) continue;
    const std::size_t shard = std::stoul(path.substr(subtask + 1)) % state.published.size();
    int& times = process.troubles.log_reads[{state.uid, shard}];
    if (++times >= kReadTries) process.troubles.lost_log = true;
  }
}

void World::begin_attempt(Process& process) {
  Troubles& troubles = process.troubles;
  const bool reason = troubles.restarts != troubles.restarts_before || troubles.begins_damaged || is_overtaken(process);
  if (++process.attempts > 1 && !reason) {
    wrong("process " + std::to_string(process.id) + " begins a further attempt without a reason: " +
          process.run->job().status().last_error);
  }
  troubles.restarts_before = troubles.restarts;
  troubles.begins_damaged = std::exchange(troubles.state_damaged, false);
  process.committed_at = clock_.steady_now();
  if (process.robbed) return;
  const auto held = locks_.find(join_path(directory_, "LOCK"));
  if (held != locks_.end() && held->second != process.id) {
    wrong("process " + std::to_string(process.id) + " runs although process " + std::to_string(held->second) +
          " holds the lock");
  }
}

// A savepoint that was claimed is gone when the background has nothing to do any more.
void World::check_claimed(const Process& process) {
  if (!process.claims || process.commits == 0 || process.troubles.files > 0) return;
  if (disk_.exists(process.restored)) wrong("a savepoint that was claimed is left");
}

void World::note_step(Process& process) {
  if (failed_over_ && !process.troubles.lost_too_much && marker_is_too_old(process)) {
    process.troubles.lost_too_much = target_lost_too_much_ = true;
  }
  if (process.attempts == 0) return;
  const detail::JobControl& job = process.run->job();
  if (!process.noted_attempt) note_first_attempt(process);
  if (!process.ran) process.ran = job.status().state == JobState::kRunning;
  const std::uint64_t commits = manifests_->commits_of(process.id);
  if (commits == process.commits) return;
  process.commits = commits;
  process.committed_at = clock_.steady_now();
  process.alone = processes_.size() == 1;
  process.troubles.files_since_commit = 0;
  const bool savepoint_asked = std::any_of(process.asked.begin(), process.asked.end(), [](const auto& ticket) {
    return ticket->kind != CheckpointRequests::Request::Kind::kCheckpoint;
  });
  if (!savepoint_asked || process.held != 0) return;
  const JobStatus status = job.status();
  const auto newest = std::find_if(status.checkpoints.begin(), status.checkpoints.end(),
                                   [](const CheckpointStatus& checkpoint) { return checkpoint.completed; });
  const bool found = newest != status.checkpoints.end() && newest->id == manifests_->newest_committed();
  if (found && newest->savepoint) process.held = newest->id;
}

// ---- the end

void World::take_end(Process& process) {
  const bool is_current = current_ == &process;
  const JobStatus status = process.run->job().status();
  std::optional<JobErrorCode> code;
  try {
    process.run->job().wait();
  } catch (const JobError& error) {
    code = error.code();
    last_failure_ = std::string(to_string(error.code())) + ": " + error.what();
  }
  say("process " + std::to_string(process.id) + (code ? " fails, " + last_failure_ : " has finished"));
  if (!process.asked.empty()) wrong("a request is not answered when the job has ended");
  for (const auto& [path, holder] : locks_) {
    if (holder == process.id) wrong("a job that has ended keeps its lock");
  }
  if (!code) check_finish(process, status);
  if (code && !refusal_expected_ && !has_reason(process, *code, status)) {
    wrong("a process fails without a reason: " + last_failure_);
  }
  const bool lost_too_much = process.troubles.lost_too_much || target_lost_too_much_;
  const bool stops = process.stops;
  const std::string savepoint = process.stopped_with;
  destroy(process);
  if (!is_current || over_) return;
  ended_with_ = code;
  if (code) return go_on_after(*code, lost_too_much);
  over_ = !stops || output_.shows_all();
  if (!over_) go_on_after_stop(savepoint);
}

void World::go_on_after(JobErrorCode code, bool lost_too_much) {
  if (refusal_expected_) {
    over_ = true;
  } else if (code == JobErrorCode::kAlreadyRunning && !processes_.empty()) {
    current_ = processes_.back().get();  // the frozen one goes on
  } else if (code == JobErrorCode::kMarkerLost ||
             (code == JobErrorCode::kEpochLogLost &&
              (lost_too_much || !damaged_segment_.empty() || marker_is_on_a_branch()))) {
    // Once somebody has looked.
    if (zombie() == nullptr && generations_left_ > 0 && random_.chance(0.5)) return order_new_generation();
    run_.refused = true;
    over_ = true;
  }
}

bool World::has_reason(const Process& process, JobErrorCode code, const JobStatus& status) const {
  const Troubles& troubles = process.troubles;
  switch (code) {
    case JobErrorCode::kAlreadyRunning: {
      const auto held = locks_.find(join_path(directory_, "LOCK"));
      return held != locks_.end() && held->second != process.id;
    }
    case JobErrorCode::kFenced:
      return is_overtaken(process);
    case JobErrorCode::kConnector:
      return process.attempts == 0 && clock_.steady_now() - process.began >= kStartTimeout && troubles.unreachable > 0;
    case JobErrorCode::kState:
      return is_overtaken(process) || troubles.restarts > (process.ran ? kRestarts : 0);
    case JobErrorCode::kCheckpoint: {
      const bool failed = troubles.files_since_commit > 0 ||
                          (!status.checkpoints.empty() && !status.checkpoints.front().completed);
      return failed && clock_.steady_now() - process.committed_at >= tolerable_failure_;
    }
    case JobErrorCode::kEpochLogLost:
      return is_overtaken(process) || may_lose_log(process);
    case JobErrorCode::kMarkerLost:
      return may_lose_marker(process);
    case JobErrorCode::kSinkAhead:
      // Who was told to restore a savepoint, and wakes up when others have done so.
      return is_overtaken(process) || (!process.restored.empty() && process.id != starts_) ||
             troubles.restored_another || marker_is_on_a_branch();
    default:
      return false;
  }
}

bool World::may_lose_log(const Process& process) const {
  const Troubles& troubles = process.troubles;
  if (troubles.lost_log || troubles.lost_too_much || marker_is_on_a_branch()) return true;
  if (troubles.restored_another) return true;  // which may be on a branch, or older than the target is now
  return !damaged_segment_.empty() && manifests_->names(damaged_segment_) && !could_go_back(process);
}

// The newest checkpoint is damaged, and the one before has nothing of the damage and no output that is not known.
bool World::could_go_back(const Process& process) const {
  if (process.troubles.files > 0 || failed_over_ || !execute_.restore.empty()) return false;
  const std::vector<const Manifest*> all = chain();
  if (all.size() < 2 || all[0]->sinks.size() != all[1]->sinks.size()) return false;
  if (manifests_->retained().size() < 2 || manifests_->retained()[1] != all[1]) return false;
  if (manifests_->names(*all[1], damaged_segment_)) return false;
  return !any_shard(*all[1], [&](const SinkState& sink, std::size_t shard) {
    const auto marker = postgres_.marker(key_of(sink, shard));
    return !marker || (marker->epoch != sink.published[shard] && !has_epoch(sink, shard, marker->epoch));
  });
}

bool World::may_lose_marker(const Process& process) const {
  const Troubles& troubles = process.troubles;
  // It may have begun with another checkpoint than the newest, and of another sink generation.
  const bool another = troubles.manifests > 0 || troubles.lost_log || !damaged_segment_.empty();
  if (another && (failed_over_ || markers_removed_ || brought_back_)) return true;
  bool any_lacks = false;
  manifests_->each([&](const Manifest& manifest) { any_lacks |= lacks_marker(manifest); });
  if (another && any_lacks) return true;
  if (!lacks_marker()) return false;
  if (another || !execute_.restore.empty()) return true;
  const Manifest* const newest = manifests_->newest();
  return newest != nullptr && any_shard(*newest, [&](const SinkState& sink, std::size_t shard) {
    const MarkerKey key = key_of(sink, shard);
    if (postgres_.marker(key)) return false;
    const bool clean = newest->final && sink.epochs.empty() && process.commits == 0;
    return (sink.published[shard] != 0 && !clean) || process.published.contains(key);
  });
}

// ---- what is left behind

void World::check_finish(const Process& process, const JobStatus& status) {
  for (const SinkStatus& sink : status.sinks) {
    if (sink.waiting_bytes == 0 && sink.waiting_epochs == 0) continue;
    wrong("a job has finished, and " + std::to_string(sink.waiting_bytes) + " bytes wait to be published");
  }
  check_memory(process);
  if (status.checkpoints_failed > 0 && was_calm(process)) {
    wrong("a checkpoint fails without a reason: " + status.last_error);
  }
  if (!process.alone || processes_.size() > 1 || is_overtaken(process)) return;
  check_recorded();
  if (process.troubles.files == 0) check_left_over(process);
  if (!process.restored.empty() && !process.claims) static_cast<void>(rows_at(process.restored));
}

// All that went to the log has given its memory back.
void World::check_memory(const Process& process) {
  const std::string text = process.run->job().explain();
  const std::size_t share = text.find("  epoch_log: ");
  const std::size_t used = share == std::string::npos ? share : text.find(", used ", share);
  if (used == std::string::npos || text.compare(used, 8, ", used 0") != 0) {
    wrong("a job has finished, and its epoch log keeps memory:" + text.substr(share));
  }
}

// The newest manifest says that all is over and published.
void World::check_recorded() {
  const Manifest* const newest = manifests_->newest();
  if (newest == nullptr || !newest->final) return wrong("a job has finished without a final checkpoint");
  const bool waiting = any_shard(*newest, [&](const SinkState& sink, std::size_t shard) {
    const auto marker = postgres_.marker(key_of(sink, shard));
    return !sink.epochs.empty() || (!failed_over_ && marker && marker->epoch != sink.published[shard]);
  });
  if (waiting) wrong("a job has finished, and its last checkpoint does not say what is published");
}

// Of the job's files there are, once a checkpoint is committed and swept after without trouble: INCARNATION, the
// retained manifests, that of a savepoint which was made until then, and what these name. What is set aside for
// damage stays until enough newer ones are there.
void World::check_left_over(const Process& process) {
  const bool set_aside = !damaged_segment_.empty() && process.commits < kRetained;
  const bool held = process.commits_at_answer == process.commits;
  std::size_t manifests = 0;
  for (const std::string& path : disk_.all_files()) {
    if (!path.starts_with(directory_ + "/")) continue;
    const std::string_view name = std::string_view(path).substr(directory_.size() + 1);
    if (name == "INCARNATION" || name == "LOCK") continue;
    const bool manifest = name.starts_with("manifest-") && !name.ends_with(".tmp");
    manifests += manifest ? 1 : 0;
    if (!manifest && !manifests_->names(path)) wrong("'" + path + "' is left, which no checkpoint names");
  }
  if (!set_aside && manifests > kRetained + (held ? 1 : 0)) {
    wrong(std::to_string(manifests) + " checkpoints are left of " + std::to_string(kRetained) + " to be retained");
  }
}

// ---- markers

MarkerKey World::key_of(const SinkState& sink, std::size_t shard) const {
  const std::string generation = sink.generation == 0 ? "" : "@" + std::to_string(sink.generation);
  return {name_, sink.uid + generation, static_cast<int>(shard)};
}

// The newest manifest, the one before it, and so on, as far as they are there.
std::vector<const Manifest*> World::chain() const {
  std::vector<const Manifest*> found;
  std::set<CheckpointId> ids;  // a planted bug makes rings
  for (const Manifest* next = manifests_->newest(); next != nullptr && ids.insert(next->id).second;
       next = manifests_->find(next->previous)) {
    found.push_back(next);
  }
  return found;
}

// A failover took back more than the checkpoints still have.
bool World::marker_is_too_old(const Process& process) const {
  std::vector<const Manifest*> all = chain();
  if (process.commits > 0 && all.size() > kRetained) all.resize(kRetained);  // it has forgotten the others
  if (all.empty()) return false;
  for (std::size_t i = 0; i < all.front()->sinks.size(); ++i) {
    const SinkState& sink = all.front()->sinks[i];
    for (std::size_t shard = 0; shard < sink.published.size(); ++shard) {
      CheckpointId base = sink.published[shard];
      for (const Manifest* manifest : all) {
        if (i >= manifest->sinks.size() || manifest->sinks[i].generation != sink.generation) break;
        base = std::min(base, manifest->sinks[i].published[shard]);
      }
      const auto marker = postgres_.marker(key_of(sink, shard));
      if (marker && marker->epoch < base) return true;
    }
  }
  return false;
}

// After a clean end a marker that is gone counts as forgotten, and what was published under it as seen: what a
// failover took with it does not come again.
bool World::is_made_anew(const PostgresCommit& commit) const {
  if (commit.before || !commit.after || commit.after->epoch == 0 || is_retired(*commit.after)) return false;
  const Manifest* const newest = manifests_->newest();
  return newest != nullptr && newest->final &&
         std::all_of(newest->sinks.begin(), newest->sinks.end(),
                     [](const SinkState& sink) { return sink.epochs.empty(); });
}

// A failover, or somebody, took even the marker away.
bool World::lacks_marker() const {
  const Manifest* const newest = manifests_->newest();
  return newest != nullptr && lacks_marker(*newest);
}

bool World::lacks_marker(const Manifest& manifest) const {
  return any_shard(manifest, [&](const SinkState& sink, std::size_t shard) {
    return !postgres_.marker(key_of(sink, shard));
  });
}

// Two starts went on from different manifests, for one could not be read at a time or was not counted by who named
// it, and the output went the way of the older one.
bool World::marker_is_on_a_branch() const {
  const std::vector<const Manifest*> all = chain();
  if (unreadable_manifests_ == 0 || all.empty()) return false;
  return any_shard(*all.front(), [&](const SinkState& sink, std::size_t shard) {
    const auto marker = postgres_.marker(key_of(sink, shard));
    if (!marker || manifests_->find(marker->epoch) == nullptr) return false;
    return std::none_of(all.begin(), all.end(), [&](const Manifest* one) { return one->id == marker->epoch; });
  });
}

}  // namespace levada::testing
