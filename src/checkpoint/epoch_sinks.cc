#include "checkpoint/epoch_sinks.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

#include "base/planted_bug.h"

namespace levada {
namespace {

constexpr std::uint64_t kLogBytesMax = std::uint64_t{4} << 30;
constexpr std::uint64_t kLogShareOfFreeDisk = 5;

const SinkState* find_state(const Manifest& manifest, const std::string& uid) {
  for (const SinkState& sink : manifest.sinks) {
    if (sink.uid == uid) return &sink;
  }
  return nullptr;
}

// What `epoch` has for one shard.
ShardEpoch shard_epoch(const SinkEpoch& epoch, std::size_t shard, std::size_t shards) {
  ShardEpoch mine{.id = epoch.id};
  for (const EpochSegment& segment : epoch.segments) {
    if (segment.subtask % shards == shard) mine.segments.push_back(segment);
  }
  return mine;
}

// What the manifests say about a sink, newest first; the last one of them is restored. A manifest that none
// comes after, since its commit failed half-way, is no part of the chain: its segments are in the next one
// too.
std::vector<const SinkState*> chain_of(const std::vector<Manifest>& manifests, const std::string& uid) {
  std::vector<const SinkState*> states;
  CheckpointId wanted = manifests.back().id;
  for (auto manifest = manifests.rbegin(); manifest != manifests.rend(); ++manifest) {
    if (manifest->id != wanted) continue;
    const SinkState* const state = find_state(*manifest, uid);
    if (state == nullptr) break;
    if (!states.empty() && (state->generation != states.front()->generation ||
                            state->published.size() != states.front()->published.size())) {
      break;
    }
    states.push_back(state);
    wanted = manifest->previous;
  }
  return states;
}

// Every epoch of a chain, whole: a manifest lists of an epoch what was not published then, which may be
// less or, when a marker has gone back, more than one before.
std::vector<SinkEpoch> epochs_of(const std::vector<const SinkState*>& chain) {
  std::map<CheckpointId, std::map<std::pair<std::uint32_t, CheckpointId>, EpochSegment>> found;
  for (const SinkState* const state : chain) {
    for (const SinkEpoch& epoch : state->epochs) {
      for (const EpochSegment& segment : epoch.segments) {
        found[epoch.id].emplace(std::pair(segment.subtask, segment.epoch), segment);
      }
    }
  }
  std::vector<SinkEpoch> epochs;
  for (const auto& [id, segments] : found) {
    SinkEpoch& epoch = epochs.emplace_back(SinkEpoch{.id = id});
    for (const auto& [key, segment] : segments) epoch.segments.push_back(segment);
  }
  return epochs;
}

ShardHistory history_of(const std::vector<const SinkState*>& chain,
                        const std::vector<SinkEpoch>& epochs, std::size_t shard, SteadyTime now) {
  ShardHistory history;
  history.published = history.base = chain.front()->published[shard];
  for (const SinkState* const state : chain) {
    history.base = std::min(history.base, state->published[shard]);
  }
  for (const SinkEpoch& epoch : epochs) {
    ShardEpoch mine = shard_epoch(epoch, shard, chain.front()->published.size());
    if (mine.segments.empty() || epoch.id <= history.base) continue;
    mine.since = now;
    history.epochs.push_back(std::move(mine));
  }
  return history;
}

std::uint64_t limit_of(const EpochLogOptions& options, FileSystem& files,
                       const std::string& directory) {
  if (options.bytes > 0) return options.bytes;
  return std::min(kLogBytesMax, files.free_bytes(directory) / kLogShareOfFreeDisk);
}

}  // namespace

// ---- EpochSink

EpochSink::EpochSink(EpochSinkSpec spec, JobDirectory& directory, const Clock& clock,
                     MemoryShare& memory, EpochLogOptions limits, std::function<void()> changed)
    : spec_(std::move(spec)),
      directory_(directory),
      clock_(clock),
      memory_(memory),
      limits_(limits),
      changed_(std::move(changed)) {}

EpochSink::Backlog EpochSink::backlog() const {
  Backlog backlog;
  for (const auto& publisher : publishers_) {
    const EpochPublisher::Status status = publisher->status();
    backlog.bytes += status.waiting_bytes;
    backlog.since = std::min(backlog.since, status.waiting_since);
    if (backlog.waiting_for.empty()) backlog.waiting_for = status.waiting_for;
  }
  return backlog;
}

bool EpochSink::is_full(const Backlog& backlog) const {
  if (backlog.bytes + open_bytes_.load(std::memory_order_relaxed) >= limits_.bytes) return true;
  return limits_.age > Duration{0} && backlog.since != kNever &&
         clock_.steady_now() >= backlog.since + limits_.age;
}

bool EpochSink::takes_rows(CheckpointId passed) const {
  if (barrier_under_way_.load(std::memory_order_acquire) > passed) return true;
  const Backlog now = backlog();
  if (!is_full(now)) return true;
  if (now.bytes == 0) {
    changed_();
  } else {
    for (const auto& publisher : publishers_) publisher->hurry();
  }
  return false;
}

std::string EpochSink::waiting_for() const {
  const Backlog now = backlog();
  const std::uint64_t bytes = now.bytes + open_bytes_.load(std::memory_order_relaxed);
  return "room in the epoch log, where " + std::to_string(bytes) + " bytes wait" +
         (now.waiting_for.empty() ? std::string() : ": " + now.waiting_for);
}

std::unique_ptr<EpochLogWriter> EpochSink::make_log_writer(std::uint32_t subtask,
                                                           std::string schema,
                                                           BackgroundQueue& background) {
  const int attempt = attempt_.load(std::memory_order_acquire);
  return std::make_unique<EpochLogWriter>(EpochLogWriter::Parts{
      .files = &directory_.files(),
      .background = &background,
      .memory = &memory_,
      .directory = directory_.log_directory(spec_.uid, subtask),
      .temporary_name = directory_.open_segment_name() + "-" + std::to_string(attempt),
      .sink = spec_.uid,
      .schema = std::move(schema),
      .subtask = subtask,
      .sealed = [this, attempt](const EpochSegment& segment) { sealed(attempt, segment); },
      .failed = [this, attempt](const std::string& why) { failed(attempt, why); },
      .appended = [this](std::uint64_t bytes) {
        open_bytes_.fetch_add(bytes, std::memory_order_relaxed);
      }});
}

void EpochSink::sealed(int attempt, const EpochSegment& segment) {
  MutexLock lock(mutex_);
  if (attempt == attempt_.load(std::memory_order_acquire)) sealed_.push_back(segment);
}

void EpochSink::failed(int attempt, const std::string& why) {
  MutexLock lock(mutex_);
  if (attempt == attempt_.load(std::memory_order_acquire)) broken_ = why;
}

SinkState EpochSink::state_of(CheckpointId manifest) const {
  SinkState state{.uid = spec_.uid, .name = spec_.name, .generation = generation_};
  for (const auto& publisher : publishers_) state.published.push_back(publisher->published());
  const std::size_t shards = publishers_.size();
  for (SinkEpoch epoch : epochs_) {
    std::erase_if(epoch.segments, [&](const EpochSegment& segment) {
      return epoch.id <= state.published[segment.subtask % shards];
    });
    if (!epoch.segments.empty()) state.epochs.push_back(std::move(epoch));
  }
  SinkEpoch fresh{.id = manifest};
  MutexLock lock(mutex_);
  if (!broken_.empty()) throw StateError("the epoch log of sink '" + spec_.uid + "': " + broken_);
  for (const EpochSegment& segment : sealed_) {
    if (LEVADA_PLANTED("log.aborted_segment_dropped") && segment.epoch != manifest) continue;
    if (segment.epoch <= manifest) fresh.segments.push_back(segment);
  }
  std::sort(fresh.segments.begin(), fresh.segments.end(),
            [](const EpochSegment& a, const EpochSegment& b) {
              return std::pair(a.subtask, a.epoch) < std::pair(b.subtask, b.epoch);
            });
  if (!fresh.segments.empty()) state.epochs.push_back(std::move(fresh));
  return state;
}

void EpochSink::committed(const SinkState& state, CheckpointId manifest, CheckpointId handed_over) {
  {
    MutexLock lock(mutex_);
    std::uint64_t bytes = 0;
    std::erase_if(sealed_, [&](const EpochSegment& segment) {
      if (segment.epoch > manifest) return false;
      bytes += segment.bytes;
      return true;
    });
    // Heads and footers were not counted.
    const std::uint64_t open = open_bytes_.load(std::memory_order_relaxed);
    open_bytes_.fetch_sub(std::min(open, bytes), std::memory_order_relaxed);
  }
  waiting_ = !state.epochs.empty();
  recorded_ = state.published;
  for (const SinkEpoch& epoch : state.epochs) {
    if (epoch.id <= handed_over) continue;
    epochs_.push_back(epoch);
    hand_over(epoch);
  }
  if (!waiting_ || state.epochs.back().id != manifest) hand_over(SinkEpoch{.id = manifest});
}

void EpochSink::hand_over(const SinkEpoch& epoch) {
  for (std::size_t shard = 0; shard < publishers_.size(); ++shard) {
    publishers_[shard]->committed(shard_epoch(epoch, shard, publishers_.size()));
  }
}

// ---- EpochSinks

EpochSinks::EpochSinks(Parts parts, const std::vector<EpochSinkSpec>& sinks)
    : parts_(std::move(parts)) {
  EpochLogOptions limits = parts_.limits;
  limits.bytes = limit_of(limits, parts_.directory->files(), parts_.directory->path());
  for (const EpochSinkSpec& spec : sinks) {
    sinks_.push_back(std::make_unique<EpochSink>(spec, *parts_.directory, *parts_.clock,
                                                 *parts_.memory, limits, parts_.changed));
  }
}

EpochSinks::~EpochSinks() = default;

void EpochSinks::recover(const std::vector<Manifest>& manifests, RestoreOrigin origin) {
  if (!manifests.empty()) {
    if (origin != RestoreOrigin::kOwn) begun_with_ = manifests.back().id;
    handed_over_ = manifests.back().id;
  }
  for (const auto& sink : sinks_) recover_sink(*sink, manifests, origin);
  if (origin != RestoreOrigin::kOwn) return;
  for (const Manifest& manifest : manifests) retained_[manifest.id] = recorded_by(manifest);
}

// What a manifest says of each sink as it is now. Of another one, or of another generation, it names nothing that
// could be published.
std::vector<std::vector<CheckpointId>> EpochSinks::recorded_by(const Manifest& manifest) const {
  std::vector<std::vector<CheckpointId>> recorded;
  for (const auto& sink : sinks_) {
    const SinkState* const state = find_state(manifest, sink->spec_.uid);
    const std::size_t shards = sink->publishers_.size();
    const bool same = state != nullptr && state->generation == sink->generation_ && state->published.size() == shards;
    recorded.push_back(same ? state->published : std::vector<CheckpointId>(shards, ~CheckpointId{0}));
  }
  return recorded;
}

void EpochSinks::recover_sink(EpochSink& sink, const std::vector<Manifest>& manifests,
                              RestoreOrigin origin) {
  const SinkState* const state = manifests.empty() || origin == RestoreOrigin::kOtherJob
                                     ? nullptr
                                     : find_state(manifests.back(), sink.spec_.uid);
  const bool anew = parts_.execute.new_sink_generation;
  std::size_t shards = static_cast<std::size_t>(std::max(1, sink.spec_.factory->shards()));
  std::vector<const SinkState*> chain;
  if (state != nullptr && !anew) {
    shards = state->published.size();
    sink.generation_ = state->generation;
    sink.waiting_ = !state->epochs.empty();
    chain = chain_of(manifests, sink.spec_.uid);
    sink.epochs_ = epochs_of(chain);
  } else if (anew) {
    // Later than any generation before, even one that this directory knows nothing of.
    sink.generation_ =
        static_cast<std::uint64_t>(parts_.clock->now().time_since_epoch().count());
  }
  const auto order = std::make_shared<ShardOrder>(shards);
  for (std::size_t shard = 0; shard < shards; ++shard) {
    ShardHistory history;
    if (!chain.empty()) {
      history = history_of(chain, sink.epochs_, shard, parts_.clock->steady_now());
      history.clean = manifests.back().final && !sink.waiting_;
      history.newer_unread =
          origin == RestoreOrigin::kOwn && parts_.directory->newest_named() > manifests.back().id;
    }
    history.newest = origin == RestoreOrigin::kOtherJob ? 0 : handed_over_;
    sink.recorded_.push_back(history.published);
    EpochPublisher::Parts parts = publisher_parts(sink, static_cast<int>(shard));
    parts.history = std::move(history);
    parts.order = order;
    if (anew && shard == 0 && !LEVADA_PLANTED("recovery.generation_not_ended")) {
      const bool ours = !manifests.empty() && origin != RestoreOrigin::kOtherJob;
      parts.predecessors = make_predecessors(sink, ours ? &manifests.back() : nullptr, shards);
    }
    sink.publishers_.push_back(std::make_unique<EpochPublisher>(std::move(parts)));
  }
}

// The markers that a start without new_sink_generation could find: those of what is restored and of all that the
// directory has, newer ones included, and the first ones of all, even of a directory that is lost.
std::vector<std::unique_ptr<EpochTarget>> EpochSinks::make_predecessors(const EpochSink& sink,
                                                                        const Manifest* restored,
                                                                        std::size_t shards) const {
  std::set<std::pair<std::uint64_t, std::size_t>> markers;  // generation and shard
  const auto add = [&](std::uint64_t generation, std::size_t count) {
    for (std::size_t shard = 0; shard < count; ++shard) markers.emplace(generation, shard);
  };
  add(0, shards);
  std::vector<Manifest> manifests = all_manifests();
  if (restored != nullptr) manifests.push_back(*restored);
  for (const Manifest& manifest : manifests) {
    if (const SinkState* const state = find_state(manifest, sink.spec_.uid)) {
      add(state->generation, state->published.size());
    }
  }
  std::vector<std::unique_ptr<EpochTarget>> predecessors;
  for (const auto& [generation, shard] : markers) {
    predecessors.push_back(make_target(sink, generation, static_cast<int>(shard)));
  }
  return predecessors;
}

std::vector<Manifest> EpochSinks::all_manifests() const {
  try {
    return parts_.directory->manifests();
  } catch (const StateError& error) {
    throw StateError(std::string(error.what()) +
                     "; a new sink generation ends all those before, and this checkpoint may know of one. If it "
                     "cannot be read the next time either, bring it back, or take it away for good");
  }
}

std::unique_ptr<EpochTarget> EpochSinks::make_target(const EpochSink& sink, std::uint64_t generation,
                                                     int shard) const {
  const EpochSinkSpec& spec = sink.spec_;
  std::string marker = spec.uid;
  if (generation > 0) marker += "@" + std::to_string(generation);
  const auto log = [log = parts_.log, prefix = spec.uid + ": "](LogLevel level,
                                                                std::string_view message) {
    log->write(level, prefix + std::string(message));
  };
  return spec.factory->make_target({.job = parts_.job,
                                    .sink = std::move(marker),
                                    .shard = shard,
                                    .clock = parts_.clock,
                                    .files = &parts_.directory->files(),
                                    .log = log});
}

EpochPublisher::Parts EpochSinks::publisher_parts(const EpochSink& sink, int shard) const {
  const EpochSinkSpec& spec = sink.spec_;
  EpochPublisher::Parts parts;
  parts.node = spec.uid;
  parts.shard = shard;
  parts.sink = spec.uid;
  parts.target = make_target(sink, sink.generation_, shard);
  parts.require_owned = [directory = parts_.directory] { directory->require_owned(); };
  parts.self = {.incarnation = parts_.directory->incarnation(), .owner = parts_.owner};
  parts.pace = spec.factory->pace();
  parts.files = &parts_.directory->files();
  parts.path = [directory = parts_.directory, uid = spec.uid](const EpochSegment& segment) {
    return join_path(directory->log_directory(uid, segment.subtask),
                     segment_file_name(segment.epoch));
  };
  parts.clock = parts_.clock;
  parts.log = parts_.log;
  parts.changed = parts_.changed;
  parts.seed = parts_.owner + static_cast<std::uint64_t>(shard);
  return parts;
}

template <class F>
bool EpochSinks::all_publishers(F f) const {
  for (const auto& sink : sinks_) {
    for (const auto& publisher : sink->publishers_) {
      if (!f(*publisher)) return false;
    }
  }
  return true;
}

bool EpochSinks::recovered() {
  check();
  if (!all_publishers([](const EpochPublisher& publisher) { return publisher.recovered(); })) return false;
  for (EpochPublisher* publisher : publishers()) publisher->release();
  return true;
}

std::exception_ptr EpochSinks::log_damage() const {
  for (const EpochPublisher* publisher : publishers()) {
    if (const std::exception_ptr damage = publisher->log_damage()) return damage;
  }
  return nullptr;
}

void EpochSinks::restarted(const Manifest* manifest) {
  const CheckpointId restored = manifest == nullptr ? 0 : manifest->id;
  if (restored < handed_over_) {
    throw JobError(JobErrorCode::kSinkAhead, {}, -1,
                   "checkpoint " + std::to_string(handed_over_) +
                       " cannot be read any more, but its output may have been published already; "
                       "bring its files back, or, if output may be there twice, execute the job with "
                       "new_sink_generation");
  }
  for (const auto& sink : sinks_) {
    sink->attempt_.fetch_add(1, std::memory_order_acq_rel);
    sink->barrier_under_way_.store(0, std::memory_order_release);
    MutexLock lock(sink->mutex_);
    sink->sealed_.clear();
    sink->broken_.clear();
    sink->open_bytes_.store(0, std::memory_order_relaxed);
  }
  if (restored == handed_over_) return;
  // Its commit had failed after the rename, or it and some before it could not be read at the start: now they
  // count, so they must survive a power loss first. Each names what was not published then, which may be less than
  // is not published now: the target may have gone back.
  const std::vector<Manifest> since = manifests_since_handed_over(*manifest);
  parts_.directory->sync();
  parts_.directory->require_owned();
  for (const Manifest& next : since) committed(next);
}

// A checkpoint that could not be read when this process started may be readable now, and be of an earlier start,
// with other sinks or before a new generation of them.
void EpochSinks::refuse_other_sinks(const Manifest& manifest) const {
  for (const auto& sink : sinks_) {
    const SinkState* const state = find_state(manifest, sink->spec_.uid);
    if (state != nullptr && state->generation == sink->generation_ &&
        state->published.size() == sink->publishers_.size()) {
      continue;
    }
    throw JobError(JobErrorCode::kSinkAhead, sink->spec_.uid, -1,
                   "checkpoint " + std::to_string(manifest.id) +
                       ", which could not be read when the job was started, is not of this sink as it is now; "
                       "take its manifest away, or, if output may be there twice, execute the job with "
                       "new_sink_generation");
  }
}

// What a checkpoint that could not be read when this process started adds, with those between, oldest first. When it
// does not come after the one that was restored then, it has the same output once more.
std::vector<Manifest> EpochSinks::manifests_since_handed_over(const Manifest& manifest) const {
  std::vector<Manifest> since{manifest};
  const std::vector<Manifest> older = parts_.directory->manifests_before(manifest.id);
  for (auto at = older.rbegin(); at != older.rend() && since.back().previous > handed_over_; ++at) {
    if (at->id == since.back().previous) since.push_back(*at);
  }
  for (const Manifest& one : since) refuse_other_sinks(one);
  const CheckpointId before = since.back().previous;
  if (before == handed_over_ || (before == 0 && begun_with_ == handed_over_)) {
    std::reverse(since.begin(), since.end());
    return since;
  }
  throw JobError(JobErrorCode::kSinkAhead, {}, -1,
                 "checkpoint " + std::to_string(manifest.id) + " does not come after checkpoint " +
                     std::to_string(handed_over_) +
                     ", whose output may have been published already; take its manifest away, or, if "
                     "output may be there twice, execute the job with new_sink_generation");
}

std::vector<EpochPublisher*> EpochSinks::publishers() const {
  std::vector<EpochPublisher*> all;
  for (const auto& sink : sinks_) {
    for (const auto& publisher : sink->publishers_) all.push_back(publisher.get());
  }
  return all;
}

void EpochSinks::check() const {
  for (const auto& sink : sinks_) {
    for (const auto& publisher : sink->publishers_) {
      const std::exception_ptr failure = publisher->failure();
      if (!failure) continue;
      try {
        std::rethrow_exception(failure);
      } catch (const ConnectorError& error) {
        throw JobError(JobErrorCode::kConnector, sink->spec_.uid, -1, error.what(), failure);
      } catch (const StateError& error) {
        throw JobError(JobErrorCode::kState, sink->spec_.uid, -1, error.what(), failure);
      }
    }
  }
}

bool EpochSinks::failed() const {
  return half_told_ ||
         !all_publishers([](const EpochPublisher& publisher) { return publisher.failure() == nullptr; });
}

void EpochSinks::interrupt() noexcept {
  for (const auto& sink : sinks_) {
    for (const auto& publisher : sink->publishers_) publisher->interrupt();
  }
}

EpochSink* EpochSinks::find(int node) const {
  for (const auto& sink : sinks_) {
    if (sink->spec().node == node) return sink.get();
  }
  return nullptr;
}

// ---- checkpoints

void EpochSinks::fill(Manifest& manifest) const {
  manifest.sinks.clear();
  for (const auto& sink : sinks_) {
    manifest.sinks.push_back(sink->state_of(manifest.id));
    if (!LEVADA_PLANTED("log.removed_before_retained")) continue;
    for (const SinkEpoch& epoch : sink->epochs_) {
      for (const EpochSegment& segment : epoch.segments) {
        const SinkState& state = manifest.sinks.back();
        if (epoch.id > state.published[segment.subtask % state.published.size()]) continue;
        const std::string path =
            join_path(parts_.directory->log_directory(state.uid, segment.subtask),
                      segment_file_name(segment.epoch));
        if (parts_.directory->files().exists(path)) parts_.directory->files().remove(path);
      }
    }
  }
}

void EpochSinks::fill_published(Manifest& manifest) const {
  manifest.sinks.clear();
  for (const auto& sink : sinks_) {
    SinkState& state = manifest.sinks.emplace_back();
    state = {.uid = sink->spec_.uid, .name = sink->spec_.name, .generation = sink->generation_};
    for (const auto& publisher : sink->publishers_) state.published.push_back(publisher->published());
  }
}

// Without memory to tell all of them, only a further start of the job knows what they are to know.
void EpochSinks::committed(const Manifest& manifest) {
  half_told_ = true;
  for (const auto& sink : sinks_) {
    const SinkState* const state = find_state(manifest, sink->spec_.uid);
    LEVADA_ASSERT(state != nullptr, "a manifest has every exactly-once sink of the job");
    sink->committed(*state, manifest.id, handed_over_);
  }
  handed_over_ = manifest.id;
  retained_[manifest.id] = recorded_by(manifest);
  half_told_ = false;
}

void EpochSinks::swept(const std::vector<CheckpointId>& left) {
  if (left.empty()) return;  // the sweep did not come so far
  std::erase_if(retained_, [&](const auto& manifest) {
    return std::find(left.begin(), left.end(), manifest.first) == left.end();
  });
  for (std::size_t i = 0; i < sinks_.size(); ++i) {
    EpochSink& sink = *sinks_[i];
    CheckpointId oldest = ~CheckpointId{0};
    for (std::size_t shard = 0; shard < sink.publishers_.size(); ++shard) {
      CheckpointId unnamed = ~CheckpointId{0};  // up to here
      for (const auto& [id, recorded] : retained_) unnamed = std::min(unnamed, recorded[i][shard]);
      sink.publishers_[shard]->forget(unnamed);
      // The target may have gone back behind what was recorded: then manifests still have to name it.
      oldest = std::min({oldest, unnamed, sink.publishers_[shard]->published()});
    }
    std::erase_if(sink.epochs_, [&](const SinkEpoch& epoch) { return epoch.id <= oldest; });
  }
}

void EpochSinks::barrier_under_way(CheckpointId checkpoint) {
  for (const auto& sink : sinks_) {
    sink->barrier_under_way_.store(checkpoint, std::memory_order_release);
  }
}

bool EpochSinks::holds_checkpoints() const {
  return std::any_of(sinks_.begin(), sinks_.end(), [](const auto& sink) {
    const EpochSink::Backlog backlog = sink->backlog();
    return backlog.bytes > 0 && sink->is_full(backlog);
  });
}

bool EpochSinks::wants_checkpoint() const {
  return std::any_of(sinks_.begin(), sinks_.end(), [](const auto& sink) {
    const EpochSink::Backlog backlog = sink->backlog();
    return backlog.bytes == 0 && sink->is_full(backlog);
  });
}

bool EpochSinks::all_published() const {
  return all_publishers([](const EpochPublisher& publisher) { return publisher.caught_up(); });
}

void EpochSinks::hurry() {
  for (EpochPublisher* publisher : publishers()) publisher->hurry();
}

bool EpochSinks::unrecorded() const {
  return std::any_of(sinks_.begin(), sinks_.end(), [](const auto& sink) {
    for (std::size_t shard = 0; shard < sink->publishers_.size(); ++shard) {
      if (sink->publishers_[shard]->published() != sink->recorded_[shard]) return true;
    }
    return sink->waiting_;
  });
}

void EpochSinks::add_status(JobStatus& status) const {
  for (const auto& sink : sinks_) {
    SinkStatus& mine = status.sinks.emplace_back();
    mine.node = sink->spec_.uid;
    mine.published = sink->publishers_.empty() ? 0 : ~CheckpointId{0};
    mine.waiting_bytes = sink->open_bytes_.load(std::memory_order_relaxed);
    for (const auto& publisher : sink->publishers_) {
      const EpochPublisher::Status shard = publisher->status();
      mine.published = std::min(mine.published, shard.published);
      mine.waiting_epochs = std::max(mine.waiting_epochs, shard.waiting_epochs);
      mine.waiting_bytes += shard.waiting_bytes;
      mine.publishes += shard.publishes;
      mine.published_rows += shard.published_rows;
      if (shard.waiting_for.empty()) continue;
      mine.waiting_for = shard.waiting_for;
      const auto node = std::find_if(status.nodes.begin(), status.nodes.end(),
                                     [&](const NodeStatus& n) { return n.node == mine.node; });
      if (node != status.nodes.end()) node->waiting_for.push_back(shard.waiting_for);
    }
  }
}

}  // namespace levada
