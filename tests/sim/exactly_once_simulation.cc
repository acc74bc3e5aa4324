#include "sim/exactly_once_simulation.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/manual_clock.h"
#include "base/random.h"
#include "checkpoint/checkpoint_reader.h"
#include "levada/levada.h"
#include "sim/process_files.h"
#include "sim/simulated_postgres.h"
#include "testing/simulated_process.h"

namespace levada::testing {

struct SimulatedRow {
  std::int64_t key = 0, number = 0, check = 0;
};
LEVADA_RECORD(SimulatedRow, key, number, check)

namespace {

constexpr std::int64_t kKeys = 6;  // a multiple of every number of splits, so a key has one split
constexpr const char* kJob = "simulated";
constexpr const char* kDirectory = "/jobs/simulated";
constexpr std::size_t kRetained = 2;
constexpr std::uint64_t kStepsMax = 60'000;
constexpr std::uint64_t kStepsWithFaults = 12'000;
constexpr std::uint64_t kStepsPerRequest = 700;  // in the mean, for a checkpoint or a savepoint
// One shard may wait for half a minute while another looks every 10 ms whether it has to go on waiting.
constexpr int kStepsOfOvertaken = 40'000;
constexpr int kStartsWithFaults = 20;
constexpr int kStartsWithout = 4;

SimulatedRow make_row(std::uint64_t i) {
  const auto number = static_cast<std::int64_t>(i);
  return {static_cast<std::int64_t>(i % kKeys), number, static_cast<std::int64_t>(detail::mix(i))};
}

// ---- the sink

class RowEncoder final : public EpochEncoder {
 public:
  std::size_t encode(const Batch& batch, std::size_t first_row, std::size_t bytes_wanted,
                     EpochRecordBuffer& out) override {
    std::size_t row = first_row;
    for (; row < batch.size() && out.size_bytes() < bytes_wanted; ++row) {
      batch.type().encode(batch.row(row), 1, out.begin(0));
      out.end();
    }
    return row;
  }
  std::string schema() const override { return "rows"; }
};

class SimulatedSink final : public SinkFactory {
 public:
  SimulatedSink(SimulatedPostgres& server, int client, int shards, PublishPace pace)
      : server_(server), client_(client), shards_(shards), pace_(pace) {}

  std::unique_ptr<SinkWriter> make_writer() override { return nullptr; }
  Guarantee best_guarantee() const override { return Guarantee::kExactlyOnce; }
  std::unique_ptr<EpochEncoder> make_encoder() override { return std::make_unique<RowEncoder>(); }
  std::unique_ptr<EpochTarget> make_target(const EpochTargetContext& context) override {
    return make_marker_target(server_.connect(client_, {context.job, context.sink, context.shard}));
  }
  int shards() const override { return shards_; }
  PublishPace pace() const override { return pace_; }
  std::shared_ptr<const detail::KeyHasher> partitioning() const override { return by_key_; }

 private:
  SimulatedPostgres& server_;
  const int client_;
  const int shards_;
  const PublishPace pace_;
  const std::shared_ptr<const detail::KeyHasher> by_key_ =
      detail::make_key_selector<SimulatedRow>(&SimulatedRow::key);
};

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
    {"failover", 1.0 / 1200},
    {"zombie keeps the lock", 1.0 / 2000},
    {"zombie loses the lock", 1.0 / 1500},
    {"zombie within a call", 1.0 / 100},
    {"marker removed", 1.0 / 8000},
    {"log damaged", 1.0 / 8000},
    {"small log", 0.3},
    {"rescale", 1.0},
}};

// Who took a marker over last.
struct MarkerHolder {
  int client = 0;
  std::uint64_t incarnation = 0;
};

struct Process {
  int id = 0;
  bool in_step = false;  // its stack is below ours
  bool doomed = false;   // killed while it was
  bool robbed = false;   // of its lock, without its knowledge
  int bad_reads = 0;     // and other operations of files that failed
  std::uint64_t wakes_at = 0;
  std::unique_ptr<ProcessFiles> files;
  std::unique_ptr<SimulatedProcess> run;
  std::vector<CheckpointRequests::Ticket> asked;  // by the host, not answered yet
};

class Simulation final : private PostgresFates, private FileFates {
 public:
  Simulation(std::uint64_t seed, const std::function<void(const std::string&)>& say)
      : say_(say),
        random_(seed),
        clock_(Timestamp{Duration{1'000'000'000}}),
        manifests_(disk_, kDirectory, kRetained),
        postgres_(*this) {
    for (std::size_t i = 0; i < kSimulatedFaults; ++i) {
      static constexpr double kFactors[] = {0, 0, 0.5, 1, 3};
      rates_[i] = kKinds[i].rate * kFactors[random_.below(std::size(kFactors))];
    }
    faults_left_ = 5 + static_cast<int>(random_.below(16));
    rows_ = 300 + random_.below(600);
    splits_ = 1 + static_cast<int>(random_.below(3));
    shards_ = 1 + static_cast<int>(random_.below(2));
    batch_rows_ = 2 + static_cast<int>(random_.below(8));
    interval_ = Duration{static_cast<std::int64_t>(500 + random_.below(6000))};
    if (random_.chance(0.2)) pace_ = {.bytes = 4096, .delay = 5ms};
    if (meets(SimulatedFault::kSmallLog)) log_bytes_ = 1500 + random_.below(4000);
  }

  ExactlyOnceRun run() {
    start();
    while (!over_) step_world();
    if (run_.wrong.empty() && !run_.refused) after_the_end();
    while (!processes_.empty()) destroy(*processes_.back());
    run_.trace = trace_;
    run_.checkpoints = static_cast<std::uint32_t>(manifests_.commits());
    run_.incarnations = static_cast<std::uint32_t>(starts_);
    return run_;
  }

 private:
  // ---- processes

  void start() {
    auto process = std::make_unique<Process>();
    process->id = ++starts_;
    process->files =
        std::make_unique<ProcessFiles>(process->id, disk_, static_cast<FileFates&>(*this), manifests_,
                                       locks_);
    EnvironmentOptions options{
        .parallelism = parallelism_,
        .checkpoint = {.interval = interval_, .directory = "/jobs", .timeout = 3s,
                       .retained = static_cast<int>(kRetained)},
        .epoch_log = {.bytes = log_bytes_},
        .restart = fixed_delay({.attempts = 5, .delay = 1ms}),
        .memory = std::size_t{64} << 20,
        .batch_rows = batch_rows_};
    if (hits(SimulatedFault::kRescale)) {
      options.parallelism = 1 + static_cast<int>(random_.below(3));
      if (options.parallelism != parallelism_) hit(SimulatedFault::kRescale);
      parallelism_ = options.parallelism;
    }
    const int id = process->id;
    if (say_) {
      options.log = [this, id](LogLevel, std::string_view text) {
        say("process " + std::to_string(id) + ": " + std::string(text));
      };
    }
    StreamEnvironment env(options);
    env.generate<SimulatedRow>(make_row, {.rows = rows_, .splits = splits_})
        .uid("rows")
        .sink_to(Sink<SimulatedRow>{
            std::make_shared<SimulatedSink>(postgres_, id, shards_, pace_), "simulated"})
        .uid("out");
    Process* const raw = process.get();
    process->run = std::make_unique<SimulatedProcess>(
        kJob, env,
        JobHost{.clock = &clock_, .files = process->files.get(), .make_executor = {},
                .owner = static_cast<std::uint64_t>(id)},
        random_, trace_, execute_);
    process->run->job().on_attempt([this, id, raw](Attempt&) {
      if (raw->robbed) return;
      const auto held = locks_.find(join_path(kDirectory, "LOCK"));
      if (held != locks_.end() && held->second != id) {
        wrong("process " + std::to_string(id) + " runs although process " +
              std::to_string(held->second) + " holds the lock");
      }
    });
    say("process " + std::to_string(id) + " starts with parallelism " +
        std::to_string(options.parallelism));
    note(static_cast<std::uint64_t>(id));
    current_ = raw;
    processes_.push_back(std::move(process));
  }

  // The process is gone. One in the middle of a call of ours dies when that returns.
  void destroy(Process& process) {
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

  Process* zombie() const {
    for (const auto& process : processes_) {
      if (process.get() != current_) return process.get();
    }
    return nullptr;
  }

  bool nested() const {
    return std::any_of(processes_.begin(), processes_.end(),
                       [](const auto& process) { return process->in_step; });
  }

  // ---- time goes on

  void step_world() {
    if (++run_.steps >= kStepsMax) return wrong("the job did not end within the steps allowed");
    if (run_.steps == kStepsWithFaults || starts_ == kStartsWithFaults) faults_left_ = 0;
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
    if (Process* const other = zombie(); other != nullptr && !other->in_step &&
                                         run_.steps >= other->wakes_at && random_.below(6) == 0) {
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
  void happen() {
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
    if (zombie() == nullptr && meets(SimulatedFault::kFailover)) {
      const int lost = postgres_.fail_over(static_cast<int>(random_.below(4)));
      say("failover, " + std::to_string(lost) + " transactions are lost");
      failed_over_ = true;
      look_again();
    }
    if (zombie() == nullptr && marker_may_go() && meets(SimulatedFault::kMarkerRemoved)) {
      postgres_.remove_markers();
      markers_removed_ = true;
      say("somebody removes the markers");
    }
    if (!nested() && zombie() == nullptr && meets(SimulatedFault::kLogDamaged)) {
      destroy(*current_);
      return damage_log();
    }
    if (random_.below(kStepsPerRequest) == 0) ask(*current_);
    if (current_ == nullptr || zombie() != nullptr) return;
    if (meets(SimulatedFault::kZombieKeepsLock)) {
      freeze(*current_, true);
    } else if (meets(SimulatedFault::kZombieLosesLock)) {
      freeze(*current_, false);
    }
  }

  void damage_log() {
    std::vector<std::string> segments = disk_.all_files();
    std::erase_if(segments, [](const std::string& path) { return !path.ends_with(".log"); });
    if (segments.empty()) return;
    const std::string& path = segments[random_.below(segments.size())];
    disk_.flip_bit(path, random_.below(disk_.size(path)), static_cast<unsigned>(random_.below(8)));
    log_damaged_ = true;
    say("'" + path + "' is damaged");
  }

  // Nobody holds one, and every checkpoint knows that there was one.
  bool marker_may_go() const {
    const auto retained = manifests_.retained();
    if (markers_removed_ || postgres_.is_locked() || retained.size() < kRetained) return false;
    return std::all_of(retained.begin(), retained.end(), [](const Manifest* manifest) {
      return std::all_of(manifest->sinks.begin(), manifest->sinks.end(), [](const SinkState& sink) {
        return std::find(sink.published.begin(), sink.published.end(), 0) == sink.published.end();
      });
    });
  }

  // The host of a process wants a checkpoint or a savepoint now.
  void ask(Process& process) {
    using Kind = CheckpointRequests::Request::Kind;
    if (process.in_step) return;
    CheckpointRequests::Request request{.kind = random_.chance(0.5) ? Kind::kCheckpoint : Kind::kSavepoint};
    if (request.kind == Kind::kSavepoint) request.path = "/savepoints/" + std::to_string(++paths_);
    process.in_step = true;
    bool died = false;
    try {
      process.asked.push_back(process.run->job().ask(std::move(request)));
      process.run->anything_changed();
    } catch (const StateError&) {
      // The disk did not let it have a directory.
    } catch (const SimulatedCrash&) {
      died = true;
    }
    process.in_step = false;
    if (died || process.doomed || process.files->is_dead()) destroy(process);
  }

  // A savepoint that was taken is whole, and all output before it is published.
  void check_savepoints(Process& process) {
    const CheckpointRequests& requests = process.run->job().requests();
    std::erase_if(process.asked, [&](const CheckpointRequests::Ticket& ticket) {
      if (!requests.is_answered(ticket)) return false;
      try {
        requests.wait(ticket);
      } catch (const std::exception&) {
        return true;  // it failed, and said so
      }
      if (!ticket->path.empty() && check_savepoint(ticket->path)) savepoint_ = ticket->path;
      return true;
    });
  }

  bool check_savepoint(const std::string& path) {
    try {
      const CheckpointReader reader(disk_, path);
      reader.verify();
      ++run_.savepoints;
      for (const SinkState& sink : reader.manifest().sinks) {
        if (!sink.epochs.empty()) wrong("savepoint '" + path + "' has output that waits");
      }
      return true;
    } catch (const StateError& error) {
      wrong(error.what());
      return false;
    }
  }

  void freeze(Process& process, bool keeps_lock) {
    process.wakes_at = run_.steps + random_.below(1500);
    if (!keeps_lock) {
      std::erase_if(locks_, [&](const auto& lock) { return lock.second == process.id; });
      process.robbed = true;
    }
    say("process " + std::to_string(process.id) + " is frozen and " +
        (keeps_lock ? "keeps its lock" : "loses its lock"));
    start();
  }

  void lose_power() {
    say("the power goes");
    while (!processes_.empty()) destroy(*processes_.back());
    disk_.crash(random_.next());
    manifests_.read_again();
  }

  // One step of a process; false when there was nothing to do.
  bool step(Process& process) {
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
    if (!manifests_.violation().empty()) wrong(manifests_.violation());
    check_savepoints(process);
    lost_too_much_ = lost_too_much_ || marker_is_too_old();
    if (process.run->job().ended()) take_end(process);
    return progress;
  }

  bool let_time_pass() {
    SteadyTime next = kNever;
    for (const auto& process : processes_) {
      if (process->in_step || (process.get() != current_ && run_.steps < process->wakes_at)) continue;
      next = std::min(next, process->run->next_time());
    }
    if (next == kNever) return false;
    clock_.advance_to(next);
    for (const auto& process : processes_) process->run->anything_changed();
    return true;
  }

  // ---- how a process ends

  void take_end(Process& process) {
    const bool is_current = current_ == &process;
    const bool troubled = process.bad_reads > 0;
    std::optional<JobErrorCode> code;
    try {
      process.run->job().wait();
    } catch (const JobError& error) {
      code = error.code();
      last_failure_ = std::string(to_string(error.code())) + ": " + error.what();
    }
    if (!code) check_nothing_waits(process);
    say("process " + std::to_string(process.id) + (code ? " fails, " + last_failure_ : " has finished"));
    destroy(process);
    if (!is_current) return;
    ended_with_ = code;
    if (!code) {
      over_ = true;
    } else if (!execute_.restore.empty()) {
      over_ = *code == JobErrorCode::kSinkAhead || *code == JobErrorCode::kFenced;
    } else if (*code == JobErrorCode::kAlreadyRunning && !processes_.empty()) {
      current_ = processes_.back().get();  // the frozen one goes on
    } else if ((*code == JobErrorCode::kEpochLogLost &&
                (lost_too_much_ || log_damaged_ || marker_is_on_a_branch())) ||
               (*code == JobErrorCode::kMarkerLost && (failed_over_ || markers_removed_) && lacks_marker())) {
      run_.refused = true;
      over_ = true;
    } else if ((*code == JobErrorCode::kEpochLogLost || *code == JobErrorCode::kMarkerLost ||
                *code == JobErrorCode::kSinkAhead) &&
               !troubled && !log_damaged_ && !lost_too_much_ && !(failed_over_ && lacks_marker()) &&
               !marker_is_on_a_branch()) {
      wrong("a start refuses without a reason: " + last_failure_);
    }
  }

  void check_nothing_waits(const Process& process) {
    for (const SinkStatus& sink : process.run->job().status().sinks) {
      if (sink.waiting_bytes == 0 && sink.waiting_epochs == 0) continue;
      wrong("a job has finished, and " + std::to_string(sink.waiting_bytes) + " bytes wait to be published");
    }
  }

  // A failover took back more than the retained checkpoints still have.
  bool marker_is_too_old() const {
    const auto retained = manifests_.retained();
    if (!failed_over_ || retained.empty()) return false;
    for (const SinkState& sink : retained.back()->sinks) {
      for (std::size_t shard = 0; shard < sink.published.size(); ++shard) {
        const auto marker = postgres_.marker({kJob, sink.uid, static_cast<int>(shard)});
        if (marker && marker->epoch < sink.published[shard]) return true;
      }
    }
    return false;
  }

  // A failover took back even that there was a marker.
  bool lacks_marker() const {
    for (int shard = 0; shard < shards_; ++shard) {
      if (!postgres_.marker({kJob, "out", shard})) return true;
    }
    return false;
  }

  // Two starts went on from different manifests, for one could not be read at a time or was not counted by who named
  // it, and the output went the way of the older one.
  bool marker_is_on_a_branch() const {
    std::map<CheckpointId, CheckpointId> before;
    manifests_.each([&](const Manifest& manifest) { before[manifest.id] = manifest.previous; });
    if (unreadable_manifests_ == 0 || before.empty()) return false;
    std::set<CheckpointId> chain;
    CheckpointId id = before.rbegin()->first;
    while (before.contains(id) && chain.insert(id).second) id = before[id];  // a planted bug makes rings
    for (int shard = 0; shard < shards_; ++shard) {
      const auto marker = postgres_.marker({kJob, "out", shard});
      if (marker && before.contains(marker->epoch) && !chain.contains(marker->epoch)) return true;
    }
    return false;
  }

  // The job has finished: who was frozen then wakes up, and whoever starts it again finds it done.
  void after_the_end() {
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
    if (!failed_over_) check_all_visible();
    if (!run_.wrong.empty() || (!failed_over_ && random_.below(4) != 0)) return;
    // After a clean stop a marker that is gone counts as forgotten by the target, and all as published.
    if (failed_over_ && lacks_marker()) return;
    say("the job is started once more");
    start_again({});
    if (!run_.refused && run_.wrong.empty()) check_all_visible();
    if (run_.wrong.empty() && !run_.refused && !savepoint_.empty() && !failed_over_ && !markers_removed_ &&
        !log_damaged_) {
      restore_savepoint();
    }
  }

  void start_again(const ExecuteOptions& execute) {
    execute_ = execute;
    start();
    over_ = false;
    starts_without_faults_ = 0;
    while (!over_) step_world();
  }

  // All output is published. From a savepoint it would come again, in part; under a new sink generation it does.
  void restore_savepoint() {
    const std::string path = savepoint_;  // others may be taken meanwhile
    CheckpointId id = 0;
    try {
      id = CheckpointReader(disk_, path).manifest().id;
    } catch (const StateError& error) {
      return wrong(error.what());
    }
    std::array<std::int64_t, kKeys> before{};
    for (const PostgresCommit& commit : postgres_.commits()) {
      for (const PostgresCommit::Row& row : commit.rows) {
        View in(row.body);
        SimulatedRow got;
        Serde<SimulatedRow>::read(in, got);
        if (row.epoch <= id) ++before[static_cast<std::size_t>(got.key)];
      }
    }
    // The target, too, may be brought back to where it was.
    if (random_.chance(0.5)) bring_target_back(id);
    const auto expect_refusal = [&](const char* when) {
      const std::size_t publishes = run_.publishes;
      start_again({.restore = path});
      if (run_.wrong.empty() && (!ended_with_ || run_.publishes != publishes)) {
        wrong(std::string("a savepoint whose rows were published again is restored ") + when);
      }
    };
    if (seen_ != before) expect_refusal("after the end");
    if (!run_.wrong.empty()) return;
    say("a new sink generation begins at checkpoint " + std::to_string(id));
    seen_ = before;
    const bool more_to_come = rows_visible() != rows_;
    ++run_.generations;
    start_again({.restore = path, .new_sink_generation = true});
    if (run_.wrong.empty()) check_all_visible();
    if (run_.wrong.empty() && more_to_come) expect_refusal("after a new generation");
  }

  // Where one transaction has what came before and after it, or a shard was late, it cannot be.
  void bring_target_back(CheckpointId id) {
    const auto& commits = postgres_.commits();
    const auto first = std::find_if(commits.begin(), commits.end(), [&](const PostgresCommit& commit) {
      return !commit.rows.empty() && commit.rows.back().epoch > id;
    });
    const bool clean = std::all_of(first, commits.end(), [&](const PostgresCommit& commit) {
      return commit.rows.empty() || commit.rows.front().epoch > id;
    });
    if (!clean) return;
    postgres_.fail_over(static_cast<int>(commits.end() - first));
    look_again();
    say("the target is brought back to checkpoint " + std::to_string(id));
  }

  std::uint64_t rows_visible() const {
    std::uint64_t visible = 0;
    for (const std::int64_t count : seen_) visible += static_cast<std::uint64_t>(count);
    return visible;
  }

  void check_all_visible() {
    const std::uint64_t visible = rows_visible();
    if (visible == rows_) return;
    wrong(std::to_string(visible) + " of " + std::to_string(rows_) + " rows are visible in the end");
  }

  // ---- fates

  bool hits(SimulatedFault fault, double factor = 1) {
    const double rate = std::min(1.0, factor * rates_[static_cast<std::size_t>(fault)]);
    return faults_left_ > 0 && !over_ && rate > 0 && random_.chance(rate);
  }
  void hit(SimulatedFault fault) {
    ++run_.hits[static_cast<std::size_t>(fault)];
    --faults_left_;
    note(static_cast<std::uint64_t>(fault));
  }
  bool meets(SimulatedFault fault, double factor = 1) {
    if (!hits(fault, factor)) return false;
    hit(fault);
    return true;
  }

  std::uint64_t draw(std::uint64_t n) override { return random_.below(n); }

  Process* find(int id) const {
    for (const auto& process : processes_) {
      if (process->id == id) return process.get();
    }
    return nullptr;
  }

  // The process stands still in the middle of a call, and others go on.
  void freeze_within(int id) {
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

  FileFate fate(int id, FileOperation operation, const std::string& path) override {
    const FileFate drawn = draw_fate(id, operation, path);
    Process* const process = find(id);
    if (process != nullptr && drawn != FileFate::kFine) ++process->bad_reads;
    return drawn;
  }

  FileFate draw_fate(int id, FileOperation operation, const std::string& path) {
    // A directory is not defended against one who loses his lock while he takes it, or between a look at
    // the incarnation and the removal of a file.
    const Process* const process = find(id);
    const bool defended = operation != FileOperation::kRemove && operation != FileOperation::kList;
    if (process != nullptr && process->run && process->run->has_executor() && defended) {
      freeze_within(id);
    }
    if (operation != FileOperation::kOpen && operation != FileOperation::kList &&
        meets(SimulatedFault::kDeathInFileOperation)) {
      say("process " + std::to_string(id) + " dies at '" + path + "'");
      return random_.chance(0.5) ? FileFate::kDiesBefore : FileFate::kDiesAfter;
    }
    if (meets(SimulatedFault::kDiskError)) {
      say("the disk fails at '" + path + "'");
      note_unreadable(path);
      return FileFate::kFails;
    }
    if (operation != FileOperation::kOpen) return FileFate::kFine;
    const int before = faults_left_;
    const FileFate fate = draw_open(path.find("/manifest-") == std::string::npos ? 1 : 6);
    if (faults_left_ != before) {
      say("'" + path + "' is read damaged");
      note_unreadable(path);
    }
    return fate;
  }

  // Starts may go on from different manifests then. Without the incarnation, too: a manifest is named, and not
  // counted by who named it.
  void note_unreadable(const std::string& path) {
    if (path.find("/manifest-") != std::string::npos || path.ends_with("/INCARNATION")) ++unreadable_manifests_;
  }

  FileFate draw_open(double factor) {
    if (meets(SimulatedFault::kDamagedRead, factor)) return FileFate::kDamaged;
    return meets(SimulatedFault::kShortRead, factor) ? FileFate::kShort : FileFate::kFine;
  }

  PostgresFault fate(int id, PostgresCall call) override {
    freeze_within(id);
    const Process* const process = find(id);
    if (process == nullptr || process->files->is_dead()) return PostgresFault::kCut;
    const PostgresFault fault = draw_fault(call);
    note(static_cast<std::uint64_t>(call) * 8 + static_cast<std::uint64_t>(fault));
    return fault;
  }

  PostgresFault draw_fault(PostgresCall call) {
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

  void sent(int id) override {
    if (std::exchange(dies_when_sent_, false)) {
      say("process " + std::to_string(id) + " dies around COMMIT");
      find(id)->files->die();
      throw SimulatedCrash{};
    }
    freeze_within(id);
  }

  bool waits(int id, bool holder_is_orphan) override {
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

  bool orphan_commits() override { return random_.chance(0.6); }

  // ---- what is visible

  void committed(const PostgresCommit& commit) override {
    if (commit.after) note(commit.after->epoch);
    if (say_) {
      say("commit of shard " + std::to_string(std::get<2>(commit.key)) + ": " +
          std::to_string(commit.rows.size()) + " rows" +
          (commit.after ? ", marker " + std::to_string(commit.after->epoch) + " of incarnation " +
                              std::to_string(commit.after->owner.incarnation)
                        : std::string(", no marker")));
    }
    if (commit.after && owners_[commit.key].incarnation > commit.after->owner.incarnation) {
      wrong("incarnation " + std::to_string(commit.after->owner.incarnation) +
            " publishes after a later one took the marker over");
    }
    note_owner(commit);
    if (commit.client != owners_[commit.key].client) {
      wrong("process " + std::to_string(commit.client) + " publishes after process " +
            std::to_string(owners_[commit.key].client) + " took the marker over");
    }
    if (!commit.rows.empty()) {
      ++run_.publishes;
      check_epochs(commit);
    }
    look_at(commit);
  }

  // A transaction shows whole epochs of this shard, in their order, each of a manifest.
  void check_epochs(const PostgresCommit& commit) {
    std::map<CheckpointId, std::uint64_t> rows;
    CheckpointId last = 0;
    for (const PostgresCommit::Row& row : commit.rows) {
      if (row.epoch < last) return wrong("epochs are published out of order");
      last = row.epoch;
      ++rows[row.epoch];
    }
    for (const auto& [epoch, count] : rows) {
      const std::optional<std::uint64_t> whole =
          manifests_.rows_of(epoch, std::get<2>(commit.key), shards_);
      if (!whole) return wrong("epoch " + std::to_string(epoch) + " is published, but no manifest has it");
      if (*whole == count) continue;
      return wrong("of epoch " + std::to_string(epoch) + " " + std::to_string(count) + " rows of " +
                   std::to_string(*whole) + " are published");
    }
  }

  // Per key the rows must be the next ones of the source.
  void look_at(const PostgresCommit& commit) {
    for (const PostgresCommit::Row& row : commit.rows) {
      SimulatedRow got;
      try {
        View in(row.body);
        Serde<SimulatedRow>::read(in, got);
      } catch (const std::exception& error) {
        return wrong("a row that cannot be read is visible: " + std::string(error.what()));
      }
      const SimulatedRow right = make_row(static_cast<std::uint64_t>(got.number));
      if (got.key != right.key || got.check != right.check || got.number < 0) {
        return wrong("a row that the source never had is visible");
      }
      const auto key = static_cast<std::size_t>(got.key);
      const std::int64_t expected = got.key + kKeys * seen_[key];
      if (got.number != expected) {
        return wrong("row " + std::to_string(got.number) + " of key " + std::to_string(key) +
                     " is visible where " + std::to_string(expected) + " was to come");
      }
      ++seen_[key];
    }
  }

  void note_owner(const PostgresCommit& commit) {
    if (!commit.after || (commit.before && commit.before->owner == commit.after->owner)) return;
    owners_[commit.key] = {commit.client, commit.after->owner.incarnation};
  }

  void look_again() {
    seen_.fill(0);
    owners_.clear();
    for (const PostgresCommit& commit : postgres_.commits()) {
      note_owner(commit);
      look_at(commit);
    }
  }

  void wrong(const std::string& what) {
    over_ = true;
    if (!run_.wrong.empty()) return;
    run_.wrong = what;
    say("WRONG: " + what);
  }

  void note(std::uint64_t value) { trace_ = detail::hash_combine(trace_, value); }
  void say(const std::string& text) const {
    if (say_) say_("step " + std::to_string(run_.steps) + ": " + text);
  }

  const std::function<void(const std::string&)>& say_;
  Random random_;
  ManualClock clock_;
  SimulatedFileSystem disk_;
  RetainedManifests manifests_;
  HeldLocks locks_;
  SimulatedPostgres postgres_;
  std::uint64_t trace_ = 0;
  ExactlyOnceRun run_;

  std::array<double, kSimulatedFaults> rates_{};
  int faults_left_ = 0;
  std::uint64_t rows_ = 0;
  int splits_ = 1;
  int shards_ = 1;
  int batch_rows_ = 1;
  Duration interval_{};
  PublishPace pace_;
  std::uint64_t log_bytes_ = 0;

  std::vector<std::unique_ptr<Process>> processes_;  // the current one, and at most one older
  Process* current_ = nullptr;
  int parallelism_ = 2;
  int starts_ = 0;
  int starts_without_faults_ = 0;
  bool over_ = false;
  bool dies_when_sent_ = false;
  bool failed_over_ = false;
  bool markers_removed_ = false;
  bool log_damaged_ = false;
  bool lost_too_much_ = false;
  int unreadable_manifests_ = 0;
  int paths_ = 0;  // of savepoints
  std::string savepoint_;  // the newest
  ExecuteOptions execute_;  // of the next start
  std::optional<JobErrorCode> ended_with_;
  std::string last_failure_;

  std::array<std::int64_t, kKeys> seen_{};
  std::map<MarkerKey, MarkerHolder> owners_;
};

}  // namespace

std::string_view to_string(SimulatedFault fault) {
  return kKinds[static_cast<std::size_t>(fault)].name;
}

ExactlyOnceRun simulate_exactly_once(std::uint64_t seed,
                                     const std::function<void(const std::string&)>& say) {
  return Simulation(seed, say).run();
}

}  // namespace levada::testing
