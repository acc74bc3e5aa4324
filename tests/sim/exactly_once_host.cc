// What the host of the job wants: checkpoints, savepoints, stops, new sink generations, and the job again from where
// it was, from a savepoint, in another directory, under another name.
#include <algorithm>
#include <exception>
#include <utility>

#include "base/percent_encoding.h"
#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/manifest_file.h"
#include "levada/error.h"
#include "sim/exactly_once_world.h"

namespace levada::testing {
namespace {

using Kind = CheckpointRequests::Request::Kind;

// One shard may wait for half a minute while another looks every 10 ms whether it has to go on waiting.
constexpr int kStepsOfOvertaken = 40'000;

}  // namespace

// ---- requests

// The host of a process wants something of it now.
void World::ask(Process& process) {
  if (process.in_step) return;
  const std::uint64_t drawn = random_.below(20);
  CheckpointRequests::Request request{.kind = drawn < 9 ? Kind::kCheckpoint : Kind::kSavepoint};
  if (drawn >= 17 && stops_left_ > 0) {
    --stops_left_;
    process.stops = true;
    say("a stop is asked for");
    if (drawn == 19) return process.run->job().request_stop();
    request.kind = Kind::kStopWithSavepoint;
    request.drain = random_.chance(0.5);
  }
  if (request.kind != Kind::kCheckpoint) request.path = "/savepoints/" + std::to_string(++paths_);
  process.in_step = true;
  bool died = false;
  try {
    process.asked.push_back(process.run->job().ask(std::move(request)));
  } catch (const StateError&) {
    // The disk did not let it have a directory.
    if (process.troubles.files == 0) wrong("a savepoint is refused without a reason");
  } catch (const SimulatedCrash&) {
    died = true;
  }
  process.in_step = false;
  if (died || process.doomed || process.files->is_dead()) destroy(process);
}

// A savepoint that was taken is whole, all output before it is published, and nothing after it was.
void World::look_at_requests(Process& process) {
  const CheckpointRequests& requests = process.run->job().requests();
  std::erase_if(process.asked, [&](const CheckpointRequests::Ticket& ticket) {
    if (!requests.is_answered(ticket)) return false;
    if (ticket->kind != Kind::kCheckpoint) {
      process.held = 0;
      process.commits_at_answer = process.commits;
    }
    try {
      requests.wait(ticket);
    } catch (const JobError&) {
      return true;  // the job has ended
    } catch (const StateError& error) {
      if (was_calm(process)) wrong("a request fails without a reason: " + std::string(error.what()));
      return true;
    }
    if (ticket->path.empty() || !check_savepoint(ticket->path)) return true;
    savepoint_ = Savepoint{ticket->path, directory_, name_};
    if (ticket->kind == Kind::kStopWithSavepoint) process.stopped_with = ticket->path;
    return true;
  });
  if (process.held != 0 && !is_overtaken(process) && manifests_->find(process.held) == nullptr) {
    wrong("checkpoint " + std::to_string(process.held) + " is gone, of which a savepoint is being made");
  }
}

bool World::check_savepoint(const std::string& path) {
  try {
    const CheckpointReader reader(disk_, path);
    reader.verify();
    ++run_.savepoints;
    const CheckpointId id = reader.manifest().id;
    for (const SinkState& sink : reader.manifest().sinks) {
      if (!sink.epochs.empty()) wrong("savepoint '" + path + "' has output that waits");
      const bool later = std::any_of(sink.published.begin(), sink.published.end(),
                                     [&](CheckpointId published) { return published > id; });
      if (later) wrong("output after savepoint '" + path + "' was published before it was made");
    }
    return true;
  } catch (const StateError& error) {
    wrong(error.what());
    return false;
  }
}

// What the source had read at a checkpoint, by its path; empty: it cannot be read, which is wrong.
std::optional<RowCounts> World::rows_at(const std::string& path) {
  try {
    const CheckpointReader reader(disk_, path);
    return rows_read(disk_, reader.state_path(), reader.manifest());
  } catch (const StateError& error) {
    wrong(error.what());
    return std::nullopt;
  }
}

// ---- orders

CheckpointId World::newest_id() const {
  const Manifest* const newest = manifests_->newest();
  return std::max(manifests_->newest_committed(), newest == nullptr ? 0 : newest->id);
}

// From now on the job is started so, until it has a checkpoint of its own.
void World::order(const ExecuteOptions& execute) {
  execute_ = execute;
  ordered_after_ = newest_id();
  if (!execute.restore.empty() || execute.new_sink_generation) commits_before_ = postgres_.commits().size();
}

// The answer to everything that a job refuses: what waits is dropped, and its output begins anew.
void World::order_new_generation() {
  say("a new sink generation is ordered");
  --generations_left_;
  failed_over_ = target_lost_too_much_ = markers_removed_ = false;
  order({.new_sink_generation = true});
}

void World::move_to(const std::string& job, const std::string& root) {
  if (manifests_) run_.checkpoints += static_cast<std::uint32_t>(manifests_->commits());
  name_ = job;
  root_ = root;
  directory_ = join_path(root_, percent_encode(name_));
  brought_back_ = false;
  commits_when_moved_ = postgres_.commits().size();
  manifests_ = std::make_unique<RetainedManifests>(disk_, directory_, kRetained);
}

// It was stopped before all rows were read.
void World::go_on_after_stop(const std::string& savepoint) {
  order({});
  // What a failover took then is not published again: the job has ended well, and knows nothing of it.
  if (failed_over_ && lacks_marker()) run_.refused = over_ = true;
  if (over_ || zombie() != nullptr || savepoint.empty() || failed_over_ || lacks_marker()) return;
  if (random_.chance(0.25)) return;
  const std::optional<RowCounts> rows = rows_at(savepoint);
  if (!rows) return;
  if (!output_.shows(*rows)) {
    return wrong("the job was stopped with savepoint '" + savepoint + "', and shows other rows, " + output_.shown());
  }
  if (generations_left_ > 0 && random_.chance(0.2)) {
    --generations_left_;
    output_.begin_after(*rows);
    return order({.restore = savepoint, .new_sink_generation = true});
  }
  restore_from(savepoint, *rows);
}

// The sink generation of the savepoint has ended.
bool World::is_over(const std::string& savepoint) const {
  return any_shard(CheckpointReader(disk_, savepoint).manifest(), [&](const SinkState& sink, std::size_t shard) {
    const auto marker = postgres_.marker(key_of(sink, shard));
    return marker && is_retired(*marker);
  });
}

// A start in another directory knows of none after the savepoint, which may hold the markers.
bool World::marker_is_of_later_start(const std::string& savepoint) const {
  const Manifest manifest = CheckpointReader(disk_, savepoint).manifest();
  return any_shard(manifest, [&](const SinkState& sink, std::size_t shard) {
    const auto marker = postgres_.marker(key_of(sink, shard));
    return marker && marker->owner.incarnation > manifest.incarnation;
  });
}

// The target shows exactly what the savepoint has: it can be restored anywhere.
void World::restore_from(const std::string& savepoint, const RowCounts& rows) {
  const ExecuteOptions execute{.restore = savepoint, .claim = random_.chance(0.4)};
  if (execute.claim) savepoint_.reset();
  if (random_.chance(0.5)) return order(execute);
  if (random_.chance(0.5) && !marker_is_of_later_start(savepoint)) {
    move_to(name_, "/jobs" + std::to_string(++directories_));
  } else {
    move_to("another" + std::to_string(++directories_), root_);
    output_.begin_after(rows);
    savepoint_.reset();  // of the job before, whose output is not this one's
  }
  order(execute);
}

// A new generation that began with a checkpoint of the directory goes on where that was.
void World::note_first_attempt(Process& process) {
  process.noted_attempt = true;
  if (!process.anew || is_overtaken(process)) return;
  ++run_.generations;
  commits_before_ = postgres_.commits().size();
  if (!process.restored.empty()) return;
  const std::optional<CheckpointId> restored = process.run->job().status().restored_from;
  const auto rows = restored ? rows_at(join_path(directory_, manifest_file_name(*restored))) : RowCounts{};
  if (rows) output_.begin_after(*rows);
}

// ---- the end of a life, and the next one

// The job has finished: who was frozen then wakes up.
void World::settle() {
  faults_left_ = 0;
  over_ = false;
  while (Process* const other = zombie()) {
    for (int i = 0; i < kStepsOfOvertaken && zombie() == other; ++i) {
      clock_.advance(std::chrono::microseconds{100});
      if (!step(*other)) {
        other->wakes_at = 0;
        if (!let_time_pass()) break;
      }
    }
    if (zombie() != other) continue;
    wrong("process " + std::to_string(other->id) + " was overtaken and does not end: " + other->run->waiting());
    destroy(*other);
  }
  while (postgres_.end_an_orphan()) {
  }
  // Nobody sees a failover after the last publish before the job is started again.
  if (failed_over_) return;
  target_lost_too_much_ = false;
  check_all_visible();
}

void World::check_all_visible() {
  if (!output_.shows_all()) wrong("in the end there are " + output_.shown());
}

// Starts the job once more, in one way or another. False: that was enough.
bool World::begin_again() {
  // After a clean stop a marker that is gone counts as forgotten by the target, and all as published.
  if (lacks_marker()) return false;
  if (failed_over_) {
    say("the job is started once more");
    order({});
    live();
    failed_over_ = false;
    return true;
  }
  if (random_.below(5) >= 2) return false;
  markers_removed_ = false;
  faults_left_ = static_cast<int>(random_.below(16));
  const std::uint64_t drawn = random_.below(10);
  if (drawn < 6 && savepoint_) {
    restore_savepoint();
  } else if (drawn == 6) {
    lose_directory();
  } else {
    say("the job is started once more");
    order({});
    if (drawn == 7) order_new_generation();
    live();
  }
  return true;
}

// All output is published. From a savepoint it would come again, in part: that is refused, but under a new sink
// generation, which is what that is for. Or the target, too, is brought back to where it was.
void World::restore_savepoint() {
  const Savepoint savepoint = *savepoint_;  // others may be taken meanwhile
  const std::optional<RowCounts> rows = rows_at(savepoint.path);
  if (!rows) return;
  if (savepoint.directory == directory_ && random_.chance(0.5)) {
    bring_target_back(CheckpointReader(disk_, savepoint.path).manifest().id);
  }
  const bool fits = output_.shows(*rows) && !is_over(savepoint.path);
  if (!fits) expect_refusal({.restore = savepoint.path}, "after the end");
  if (!run_.wrong.empty()) return;
  if (fits && random_.chance(0.7)) {
    say("the savepoint is restored");
    restore_from(savepoint.path, *rows);
    return live();
  }
  output_.begin_after(*rows);
  const bool more_to_come = *rows != job_.all_rows();
  order({.restore = savepoint.path, .new_sink_generation = true});
  live();
  if (!run_.wrong.empty() || run_.refused) return;
  settle();
  if (run_.wrong.empty() && !failed_over_ && !markers_removed_ && more_to_come && name_ == savepoint.job) {
    expect_refusal({.restore = savepoint.path}, "after a new generation");
  }
}

// Another directory, in which nothing is known of what was published.
void World::lose_directory() {
  say("the job's directory is lost");
  move_to(name_, "/jobs" + std::to_string(++directories_));
  // That of the first generation says so; somebody may have taken it away.
  const bool marked = std::all_of(job_.sinks.begin(), job_.sinks.end(), [&](const std::string& uid) {
    return postgres_.marker({name_, uid, 0}).has_value();
  });
  if (marked) expect_refusal({}, "in a new directory");
  if (!run_.wrong.empty()) return;
  output_.begin_after({});
  // Of a later generation the new directory knows nothing, and ends only the first.
  if (savepoint_ && CheckpointReader(disk_, savepoint_->path).manifest().sinks.front().generation > 0) {
    savepoint_.reset();
  }
  order({.new_sink_generation = true});
  live();
}

void World::expect_refusal(const ExecuteOptions& execute, const char* when) {
  const int faults = std::exchange(faults_left_, 0);
  const std::size_t publishes = run_.publishes;
  refusal_expected_ = true;
  order(execute);
  live();
  refusal_expected_ = false;
  faults_left_ = faults;
  if (!run_.wrong.empty()) return;
  const bool of_target = ended_with_ == JobErrorCode::kEpochLogLost || ended_with_ == JobErrorCode::kMarkerLost;
  const bool refused = ended_with_ == JobErrorCode::kSinkAhead || ended_with_ == JobErrorCode::kFenced ||
                       (of_target && brought_back_);
  if (refused && run_.publishes == publishes) return;
  wrong(std::string("the job is started ") + when + ", where rows were published that would come again: " +
        (ended_with_ ? last_failure_ : "it goes on"));
}

// Where one transaction has what came before and after it, or a shard was late, it cannot be.
void World::bring_target_back(CheckpointId id) {
  const auto& commits = postgres_.commits();
  const auto moved = commits.begin() + static_cast<std::ptrdiff_t>(std::min(commits_when_moved_, commits.size()));
  const auto first = std::find_if(moved, commits.end(), [&](const PostgresCommit& commit) {
    return !commit.rows.empty() && commit.rows.back().epoch > id;
  });
  const bool clean = std::all_of(first, commits.end(), [&](const PostgresCommit& commit) {
    return commit.rows.empty() || commit.rows.front().epoch > id;
  });
  if (!clean) return;
  brought_back_ = true;
  postgres_.fail_over(static_cast<int>(commits.end() - first));
  look_again();
  say("the target is brought back to checkpoint " + std::to_string(id));
}

}  // namespace levada::testing
