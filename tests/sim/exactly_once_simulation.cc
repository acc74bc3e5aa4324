#include "sim/exactly_once_simulation.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "sim/exactly_once_world.h"

namespace levada::testing {
namespace {

constexpr std::uint64_t kStepsMax = 60'000;
constexpr std::uint64_t kStepsWithFaults = 12'000;
constexpr std::uint64_t kStepsPerRequest = 700;
constexpr std::uint64_t kStepsPerRequestOnly = 150;  // where checkpoints are taken on demand only
constexpr std::uint64_t kStepsPerGeneration = 20'000;
constexpr int kStartsWithFaults = 20;
constexpr int kStartsWithout = 4;

// ---- faults

struct FaultKind {
  std::string_view name;
  double rate;  // at each opportunity, in the mean of the seeds that have it
};

constexpr std::array<FaultKind, kSimulatedFaults> kKinds{{
    {"kill", 1.0 / 1000},
    {"power loss", 1.0 / 1000},
    {"death in a file operation", 1.0 / 250},
    {"death around COMMIT", 1.0 / 12},
    {"disk error", 1.0 / 120},
    {"damaged read", 1.0 / 60},
    {"short read", 1.0 / 60},
    {"wall clock jump", 1.0 / 1000},
    {"pause", 1.0 / 1500},
    {"refused connection", 1.0 / 15},
    {"conflict", 1.0 / 50},
    {"connection cut", 1.0 / 50},
    {"reply lost", 1.0 / 10},
    {"orphan", 1.0 / 10},
    {"lock timeout", 0.4},
    {"idle session ended", 0.3},
    {"failover", 1.0 / 800},
    {"zombie keeps the lock", 1.0 / 2000},
    {"zombie loses the lock", 1.0 / 1500},
    {"zombie within a call", 1.0 / 100},
    {"marker removed", 1.0 / 8000},
    {"log damaged", 1.0 / 4000},
    {"small log", 0.3},
    {"rescale", 1.0},
}};

}  // namespace

World::World(std::uint64_t seed, const std::function<void(const std::string&)>& say)
    : say_(say), random_(seed), clock_(Timestamp{Duration{1'000'000'000}}), postgres_(*this), output_(postgres_, job_) {
  for (std::size_t i = 0; i < kSimulatedFaults; ++i) {
    static constexpr double kFactors[] = {0, 0, 0.5, 1, 3};
    rates_[i] = kKinds[i].rate * kFactors[random_.below(std::size(kFactors))];
  }
  faults_left_ = 5 + static_cast<int>(random_.below(16));
  if (random_.chance(0.1)) {
    log_read_factor_ = 20;
    faults_left_ += 15;
  }
  job_.rows = 300 + random_.below(600);
  job_.splits = 1 + static_cast<int>(random_.below(3));
  job_.shards = random_.chance(0.6) ? 2 : 1;
  if (random_.chance(0.2)) {
    job_.sinks = {"out", "copy"};
    if (random_.chance(0.5)) job_.other_pace = {.bytes = 4096, .delay = 20ms};
  }
  batch_rows_ = 2 + static_cast<int>(random_.below(8));
  interval_ = Duration{static_cast<std::int64_t>(500 + random_.below(6000))};
  steps_per_request_ = kStepsPerRequest;
  if (random_.chance(0.05)) {
    interval_ = {};
    steps_per_request_ = kStepsPerRequestOnly;
  }
  tolerable_failure_ = random_.chance(0.2) ? Duration{15s} : Duration{10min};
  if (random_.chance(0.2)) {
    job_.pace = {.bytes = 4096, .delay = 5ms};
    static constexpr Duration kDelays[] = {5ms, 5ms, 100ms, 2s, 1h};
    job_.pace.delay = kDelays[random_.below(std::size(kDelays))];
  }
  if (random_.chance(0.1)) log_age_ = Duration{static_cast<std::int64_t>(1000 + random_.below(30'000))};
  if (meets(SimulatedFault::kSmallLog)) log_bytes_ = 1500 + random_.below(4000);
  if (random_.chance(0.01)) {
    job_.padding = 10'000 + random_.below(30'000);
    interval_ *= 8;
    log_bytes_ = 0;
  }
  if (random_.chance(0.03)) {
    job_.state_bytes = 10'000 + random_.below(20'000);  // too much for manifests
    disk_.set_links(random_.chance(0.5));
  }
  move_to("simulated", "/jobs");
}

ExactlyOnceRun World::run() {
  live();
  if (run_.wrong.empty() && !run_.refused) settle();
  for (int rounds = 3; rounds > 0 && run_.wrong.empty() && !run_.refused && begin_again(); --rounds) {
    if (run_.wrong.empty() && !run_.refused) settle();
  }
  while (!processes_.empty()) destroy(*processes_.back());
  run_.trace = trace_;
  run_.checkpoints += static_cast<std::uint32_t>(manifests_->commits());
  run_.incarnations = static_cast<std::uint32_t>(starts_);
  return run_;
}

// ---- processes

EnvironmentOptions World::options_of_start() {
  EnvironmentOptions options{
      .parallelism = parallelism_,
      .checkpoint = {.interval = interval_, .directory = root_, .timeout = 3s,
                     .tolerable_failure = tolerable_failure_, .retained = static_cast<int>(kRetained)},
      .epoch_log = {.bytes = log_bytes_, .age = log_age_},
      .restart = fixed_delay({.attempts = kRestarts, .delay = 1ms}),
      .memory = std::size_t{64} << 20,
      .batch_rows = batch_rows_};
  if (hits(SimulatedFault::kRescale)) {
    options.parallelism = 1 + static_cast<int>(random_.below(3));
    if (options.parallelism != parallelism_) hit(SimulatedFault::kRescale);
    parallelism_ = options.parallelism;
    job_.shards = 1 + static_cast<int>(random_.below(2));  // which what is there overrules
  }
  return options;
}

void World::start() {
  if (manifests_->newest_committed() > ordered_after_) execute_ = {};  // it goes on from its own
  // What a dead process has named, and nobody counts, may still come to be committed.
  if (execute_.new_sink_generation || processes_.empty()) ordered_after_ = newest_id();
  if (!execute_.restore.empty() && !rows_at(execute_.restore)) return;
  auto process = std::make_unique<Process>();
  const int id = process->id = ++starts_;
  ++life_starts_;
  process->began = process->committed_at = clock_.steady_now();
  process->anew = execute_.new_sink_generation;
  process->claims = execute_.claim;
  process->restored = execute_.restore;
  process->files = std::make_unique<ProcessFiles>(id, disk_, static_cast<FileFates&>(*this), *manifests_, locks_);
  EnvironmentOptions options = options_of_start();
  if (say_) {
    options.log = [this, id](LogLevel, std::string_view text) {
      say("process " + std::to_string(id) + ": " + std::string(text));
    };
  }
  StreamEnvironment env(options);
  job_.build(env, postgres_, id);
  process->faults_before = run_.faults();
  Process* const raw = process.get();
  process->run = std::make_unique<SimulatedProcess>(
      name_, env,
      JobHost{.clock = &clock_, .files = process->files.get(), .make_executor = {},
              .owner = static_cast<std::uint64_t>(id)},
      random_, trace_, execute_);
  process->run->job().on_attempt([this, raw](Attempt&) { begin_attempt(*raw); });
  say("process " + std::to_string(id) + " starts with parallelism " + std::to_string(options.parallelism) +
      (execute_.restore.empty() ? "" : " from '" + execute_.restore + "'") +
      (execute_.new_sink_generation ? " in a new sink generation" : ""));
  note(static_cast<std::uint64_t>(id));
  output_.note_process(id);
  current_ = raw;
  processes_.push_back(std::move(process));
}

// The process is gone. One in the middle of a call of ours dies when that returns.
void World::destroy(Process& process) {
  process.files->die();
  if (process.in_step) {
    process.doomed = true;
    return;
  }
  process.run.reset();
  std::erase_if(locks_, [&](const auto& lock) { return lock.second == process.id; });
  if (current_ == &process) current_ = nullptr;
  std::erase_if(processes_, [&](const auto& other) { return other.get() == &process; });
}

Process* World::zombie() const {
  for (const auto& process : processes_) {
    if (process.get() != current_) return process.get();
  }
  return nullptr;
}

Process* World::find(int id) const {
  for (const auto& process : processes_) {
    if (process->id == id) return process.get();
  }
  return nullptr;
}

bool World::nested() const {
  return std::any_of(processes_.begin(), processes_.end(), [](const auto& process) { return process->in_step; });
}

// ---- time goes on

void World::live() {
  over_ = false;
  life_began_ = run_.steps;
  life_starts_ = starts_without_faults_ = 0;
  while (!over_) step_world();
}

void World::step_world() {
  const std::uint64_t age = ++run_.steps - life_began_;
  if (age >= kStepsMax) return wrong("the job did not end within the steps allowed");
  if (age >= kStepsWithFaults || life_starts_ >= kStartsWithFaults) faults_left_ = 0;
  if (current_ == nullptr) {
    if (faults_left_ <= 0 && ++starts_without_faults_ > kStartsWithout) {
      return wrong("the job fails although nothing else does any more: " + last_failure_);
    }
    return start();
  }
  clock_.advance(std::chrono::microseconds{random_.below(40) == 0 ? 2000 : 10});
  if (random_.below(50) == 0 && postgres_.end_an_orphan()) say("an orphan has ended");
  if (over_) return;
  happen();
  if (over_ || current_ == nullptr) return;
  Process* stepped = current_;
  if (Process* const other = zombie();
      other != nullptr && !other->in_step && run_.steps >= other->wakes_at && random_.below(6) == 0) {
    stepped = other;
  }
  if (!step(*stepped) && stepped == current_ && !let_time_pass()) {
    Process* const other = zombie();
    if (other == nullptr || other->in_step || !step(*other)) {
      wrong("nothing can make progress any more: " + stepped->run->waiting());
    }
  }
}

// What happens to the process, the machine and the server between two steps.
void World::happen() {
  if (meets(SimulatedFault::kKill)) {
    say("kill -9");
    if (random_.chance(0.7)) {
      destroy(*current_);
    } else if (Process* const other = zombie()) {
      destroy(*other);
    }
    return;
  }
  if (!nested() && meets(SimulatedFault::kPowerLoss)) return lose_power();
  if (meets(SimulatedFault::kWallClockJump)) {
    const auto by = Duration{static_cast<std::int64_t>(random_.below(172'800'000'000))};
    clock_.set(clock_.now() + by - Duration{86'400'000'000});
    say("the wall clock jumps");
  }
  if (meets(SimulatedFault::kPause)) {
    static constexpr std::int64_t kSeconds[] = {1, 4, 30, 3600};
    clock_.advance(std::chrono::seconds{kSeconds[random_.below(std::size(kSeconds))]});
    say("the machine was paused");
  }
  // A failover that brings an owner back who was fenced lets him publish: nothing can be done then.
  if (zombie() == nullptr && !markers_removed_ && meets(SimulatedFault::kFailover)) {
    // Nor can it be where it takes back that a generation has ended.
    const bool ends_generation = current_->anew && !current_->noted_attempt;
    const std::size_t commits = postgres_.commits().size();
    const std::size_t most = ends_generation ? 0 : commits - std::min(commits, commits_before_);
    const int lost = postgres_.fail_over(static_cast<int>(std::min<std::size_t>(random_.below(6), most)));
    say("failover, " + std::to_string(lost) + " transactions are lost");
    failed_over_ = true;
    look_again();
  }
  if (zombie() == nullptr && marker_may_go() && meets(SimulatedFault::kMarkerRemoved)) {
    postgres_.remove_markers();
    output_.forget_owners();
    markers_removed_ = true;
    savepoint_.reset();  // those of generations that are over are gone, too
    say("somebody removes the markers");
  }
  if (!nested() && zombie() == nullptr && meets(SimulatedFault::kLogDamaged)) {
    destroy(*current_);
    return damage_log();
  }
  if (random_.below(steps_per_request_) == 0) ask(*current_);
  if (current_ == nullptr || zombie() != nullptr) return;
  if (!nested() && faults_left_ > 0 && generations_left_ > 0 && random_.below(kStepsPerGeneration) == 0) {
    destroy(*current_);
    return order_new_generation();
  }
  if (meets(SimulatedFault::kZombieKeepsLock)) {
    freeze(*current_, true);
  } else if (meets(SimulatedFault::kZombieLosesLock)) {
    freeze(*current_, false);
  }
}

void World::damage_log() {
  std::vector<std::string> segments = disk_.all_files();
  std::erase_if(segments, [&](const std::string& path) {
    return !path.starts_with(directory_) || !path.ends_with(".log");
  });
  if (segments.empty() || !damaged_segment_.empty()) return;
  damaged_segment_ = segments[random_.below(segments.size())];
  disk_.flip_bit(damaged_segment_, random_.below(disk_.size(damaged_segment_)),
                 static_cast<unsigned>(random_.below(8)));
  say("'" + damaged_segment_ + "' is damaged");
}

// Nobody holds one, and every checkpoint knows that there was one.
bool World::marker_may_go() const {
  const auto retained = manifests_->retained();
  if (markers_removed_ || postgres_.is_locked() || retained.size() < kRetained) return false;
  return std::all_of(retained.begin(), retained.end(), [](const Manifest* manifest) {
    return std::all_of(manifest->sinks.begin(), manifest->sinks.end(), [](const SinkState& sink) {
      return std::find(sink.published.begin(), sink.published.end(), 0) == sink.published.end();
    });
  });
}

void World::freeze(Process& process, bool keeps_lock) {
  process.wakes_at = run_.steps + random_.below(1500);
  if (!keeps_lock) {
    std::erase_if(locks_, [&](const auto& lock) { return lock.second == process.id; });
    process.robbed = true;
  }
  say("process " + std::to_string(process.id) + " is frozen and " +
      (keeps_lock ? "keeps its lock" : "loses its lock"));
  start();
}

// The process stands still in the middle of a call, and others go on.
void World::freeze_within(int id) {
  Process* const process = find(id);
  if (process == nullptr || !process->in_step || zombie() != nullptr || process != current_) return;
  if (!meets(SimulatedFault::kZombieInCall)) return;
  freeze(*process, random_.chance(0.2));
  for (std::uint64_t i = 100 + random_.below(1500); i > 0 && !over_ && current_ != process; --i) {
    step_world();
  }
  say("process " + std::to_string(id) + " goes on");
  process->wakes_at = 0;
  if (process->doomed) throw SimulatedCrash{};
}

void World::lose_power() {
  say("the power goes");
  while (!processes_.empty()) destroy(*processes_.back());
  disk_.crash(random_.next());
  manifests_->read_again();
}

// One step of a process; false when there was nothing to do.
bool World::step(Process& process) {
  process.in_step = true;
  bool progress = true;
  bool died = false;
  try {
    progress = process.run->step();
  } catch (const SimulatedCrash&) {
    died = true;
  }
  process.in_step = false;
  if (died || process.doomed || process.files->is_dead()) {
    say("process " + std::to_string(process.id) + " is dead");
    destroy(process);
    return true;
  }
  if (!manifests_->violation().empty()) wrong(manifests_->violation());
  note_step(process);
  if (process.ran && process.run->leaves_output()) wrong("output waits, and nobody is woken to publish it");
  look_at_requests(process);
  if (!progress) check_claimed(process);
  if (process.run->job().ended()) take_end(process);
  return progress;
}

bool World::let_time_pass() {
  SteadyTime next = kNever;
  for (const auto& process : processes_) {
    if (process->in_step || (process.get() != current_ && run_.steps < process->wakes_at)) continue;
    next = std::min(next, process->run->next_time());
  }
  if (next == kNever) return false;
  clock_.advance_to(next);
  return true;
}

// ---- fates

bool World::hits(SimulatedFault fault, double factor) {
  const double rate = std::min(1.0, factor * rates_[static_cast<std::size_t>(fault)]);
  return faults_left_ > 0 && !over_ && rate > 0 && random_.chance(rate);
}

void World::hit(SimulatedFault fault) {
  ++run_.hits[static_cast<std::size_t>(fault)];
  --faults_left_;
  note(static_cast<std::uint64_t>(fault));
}

bool World::meets(SimulatedFault fault, double factor) {
  if (!hits(fault, factor)) return false;
  hit(fault);
  return true;
}

FileFate World::fate(int id, FileOperation operation, const std::string& path) {
  const FileFate drawn = draw_fate(id, operation, path);
  Process* const process = find(id);
  if (process == nullptr) return drawn;
  if (operation == FileOperation::kOpen && path.ends_with("/INCARNATION")) {
    manifests_->owner_read(id, drawn == FileFate::kFine);
  }
  if (drawn != FileFate::kFine) note_trouble(*process, operation, path);
  const bool done = drawn == FileFate::kFine || drawn == FileFate::kDiesAfter;
  if (done && operation == FileOperation::kRename && path.ends_with("/INCARNATION")) output_.note_start(id);
  return drawn;
}

FileFate World::draw_fate(int id, FileOperation operation, const std::string& path) {
  // A directory is not defended against one who loses his lock while he takes it, or between a look at
  // the incarnation and the removal of a file.
  const Process* const process = find(id);
  const bool defended = operation != FileOperation::kRemove;
  if (process != nullptr && process->run && process->run->has_executor() && defended) freeze_within(id);
  if (operation != FileOperation::kOpen && operation != FileOperation::kList &&
      meets(SimulatedFault::kDeathInFileOperation)) {
    say("process " + std::to_string(id) + " dies at '" + path + "'");
    return random_.chance(0.5) ? FileFate::kDiesBefore : FileFate::kDiesAfter;
  }
  if (meets(SimulatedFault::kDiskError)) {
    say("the disk fails at '" + path + "'");
    return FileFate::kFails;
  }
  if (operation != FileOperation::kOpen) return FileFate::kFine;
  const bool manifest = path.find("/manifest-") != std::string::npos;
  const FileFate fate = draw_open(manifest ? 6 : path.ends_with(".log") ? log_read_factor_ : 1);
  if (fate != FileFate::kFine) say("'" + path + "' is read damaged");
  return fate;
}

FileFate World::draw_open(double factor) {
  if (meets(SimulatedFault::kDamagedRead, factor)) return FileFate::kDamaged;
  return meets(SimulatedFault::kShortRead, factor) ? FileFate::kShort : FileFate::kFine;
}

PostgresFault World::fate(int id, const MarkerKey& key, PostgresCall call) {
  freeze_within(id);
  Process* const process = find(id);
  if (process == nullptr || process->files->is_dead()) return PostgresFault::kCut;
  const PostgresFault fault = draw_fault(call);
  note_log_was_read(*process, key, call, fault);
  note(static_cast<std::uint64_t>(call) * 8 + static_cast<std::uint64_t>(fault));
  return fault;
}

// All that is published has been read before the marker moves; what the server refuses does not count.
void World::note_log_was_read(Process& process, const MarkerKey& key, PostgresCall call, PostgresFault fault) {
  Troubles& troubles = process.troubles;
  if (call == PostgresCall::kAdvance) {
    troubles.read_for = key;
  } else if (call != PostgresCall::kCommit) {
    troubles.read_for.reset();
  } else if (troubles.read_for == key && fault != PostgresFault::kConflict) {
    troubles.log_reads.erase({VisibleOutput::uid_of(key), static_cast<std::size_t>(std::get<2>(key))});
  }
}

PostgresFault World::draw_fault(PostgresCall call) {
  if (call == PostgresCall::kBegin) {
    return meets(SimulatedFault::kRefusedConnection) ? PostgresFault::kRefused : PostgresFault::kNone;
  }
  if (meets(SimulatedFault::kConflict)) return PostgresFault::kConflict;
  if (meets(SimulatedFault::kCut)) return PostgresFault::kCut;
  if (call != PostgresCall::kCommit) return PostgresFault::kNone;
  if (meets(SimulatedFault::kDeathAroundCommit)) {
    dies_when_sent_ = true;
    static constexpr PostgresFault kWays[] = {PostgresFault::kReplyLost, PostgresFault::kOrphan};
    return kWays[random_.below(std::size(kWays))];
  }
  if (meets(SimulatedFault::kReplyLost)) return PostgresFault::kReplyLost;
  if (meets(SimulatedFault::kOrphan)) return PostgresFault::kOrphan;
  return PostgresFault::kNone;
}

void World::cut_off(int id) {
  if (Process* const process = find(id)) ++process->troubles.unreachable;
}

void World::sent(int id) {
  if (std::exchange(dies_when_sent_, false)) {
    say("process " + std::to_string(id) + " dies around COMMIT");
    find(id)->files->die();
    throw SimulatedCrash{};
  }
  freeze_within(id);
}

bool World::waits(int id, bool holder_is_orphan) {
  if (holder_is_orphan) {
    if (!meets(SimulatedFault::kLockTimeout)) return true;
    say("process " + std::to_string(id) + " waits for the marker in vain");
    clock_.advance(std::chrono::seconds{10});
    return false;
  }
  clock_.advance(std::chrono::seconds{10});
  if (!meets(SimulatedFault::kIdleSessionEnded) && faults_left_ > 0) return false;
  say("the server ends the session of the frozen process");
  return true;
}

// ---- what is visible

void World::committed(const PostgresCommit& commit) {
  if (commit.after) note(commit.after->epoch);
  if (say_) {
    say("commit of shard " + std::to_string(std::get<2>(commit.key)) + " of '" + std::get<1>(commit.key) + "': " +
        std::to_string(commit.rows.size()) + " rows" +
        (commit.after ? ", marker " + std::to_string(commit.after->epoch) + " of incarnation " +
                            std::to_string(commit.after->owner.incarnation)
                      : std::string(", no marker")));
  }
  Process* const process = find(commit.client);
  if (process != nullptr && commit.after && commit.after->epoch != 0) process->published.insert(commit.key);
  if (!commit.rows.empty()) {
    ++run_.publishes;
    check_epochs(commit);
  }
  if (failed_over_ && is_made_anew(commit)) {
    say("the target has lost what a job that has ended well had published");
    run_.refused = over_ = true;
  }
  if (const std::string found = output_.take(); !found.empty()) wrong(found);
}

// A transaction shows whole epochs of this shard, in their order, each of a manifest, after all shards are fenced.
void World::check_epochs(const PostgresCommit& commit) {
  std::map<CheckpointId, std::uint64_t> rows;
  CheckpointId last = 0;
  for (const PostgresCommit::Row& row : commit.rows) {
    if (row.epoch < last) return wrong("epochs are published out of order");
    last = row.epoch;
    ++rows[row.epoch];
  }
  const std::string uid = VisibleOutput::uid_of(commit.key);
  for (const auto& [epoch, count] : rows) {
    const std::optional<std::uint64_t> whole = manifests_->rows_of(uid, epoch, std::get<2>(commit.key));
    if (!whole) return wrong("epoch " + std::to_string(epoch) + " is published, but no manifest has it");
    if (*whole == count) continue;
    return wrong("of epoch " + std::to_string(epoch) + " " + std::to_string(count) + " rows of " +
                 std::to_string(*whole) + " are published");
  }
  if (output_.markers_of(commit.client) < manifests_->shards_at(last)) {
    wrong("process " + std::to_string(commit.client) + " publishes before it has taken over all markers");
  }
}

void World::look_again() {
  if (const std::string found = output_.look_again(); !found.empty()) wrong(found);
}

void World::wrong(const std::string& what) {
  over_ = true;
  if (!run_.wrong.empty()) return;
  run_.wrong = what;
  say("WRONG: " + what);
}

void World::say(const std::string& text) const {
  if (say_) say_("step " + std::to_string(run_.steps) + ": " + text);
}

std::string_view to_string(SimulatedFault fault) { return kKinds[static_cast<std::size_t>(fault)].name; }

ExactlyOnceRun simulate_exactly_once(std::uint64_t seed, const std::function<void(const std::string&)>& say) {
  return World(seed, say).run();
}

}  // namespace levada::testing
