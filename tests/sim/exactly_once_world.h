// The machine, the server and the host of one seed of the exactly-once simulation. What goes wrong in it is in
// exactly_once_simulation.cc, what its host wants of the job in exactly_once_host.cc, and how processes end, and
// whether they may, in exactly_once_ends.cc.
//
// Threads: one.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/manual_clock.h"
#include "base/random.h"
#include "levada/levada.h"
#include "sim/exactly_once_simulation.h"
#include "sim/process_files.h"
#include "sim/simulated_job.h"
#include "sim/simulated_postgres.h"
#include "sim/visible_output.h"
#include "testing/simulated_process.h"

namespace levada::testing {

inline constexpr std::size_t kRetained = 2;  // checkpoints
inline constexpr int kRestarts = 5;          // within a process

/// What a process met that may explain how it ends.
struct Troubles {
  int files = 0;  ///< operations that failed
  int files_since_commit = 0;
  int restarts = 0;         ///< those that end an attempt, or the making of one
  int restarts_before = 0;  ///< as many when the attempt began
  int manifests = 0;        ///< manifests and the like that could not be read
  bool restored_another = false;  ///< so was one when it was to be restored
  bool state_damaged = false;     ///< as it was opened for the attempt that is being made
  bool begins_damaged = false;    ///< so is the state with which the attempt began
  int unreachable = 0;            ///< how often the server was away
  /// By sink and shard, those that failed since it published.
  std::map<std::pair<std::string, std::size_t>, int> log_reads;
  std::optional<MarkerKey> read_for;  ///< the shard whose log was read to its end by the transaction under way
  bool lost_log = false;       ///< it could not be read too often
  bool lost_too_much = false;  ///< a failover took back more than the manifests still have
};

struct Process {
  int id = 0;
  bool in_step = false;  // its stack is below ours
  bool doomed = false;   // killed while it was
  bool robbed = false;   // of its lock, without its knowledge
  bool stops = false;    // it was asked to
  bool alone = true;     // when it committed last
  bool anew = false;     // it begins a new sink generation
  bool claims = false;
  bool noted_attempt = false;
  bool ran = false;
  int attempts = 0;
  std::uint32_t faults_before = 0;  // that there have been when it began
  SteadyTime began{};
  SteadyTime committed_at{};  // or the attempt began
  std::uint64_t commits = 0;
  std::uint64_t wakes_at = 0;
  std::set<MarkerKey> published;  // markers that said so, when it took them over or later
  Troubles troubles;
  std::unique_ptr<ProcessFiles> files;
  std::unique_ptr<SimulatedProcess> run;
  std::vector<CheckpointRequests::Ticket> asked;  // by the host, not answered yet
  std::string restored;      // the savepoint that it was given
  std::string stopped_with;  // the savepoint
  CheckpointId held = 0;     // the checkpoint of a savepoint that is not answered yet
  std::uint64_t commits_at_answer = 0;  // to the last savepoint
};

class World final : private PostgresFates, private FileFates {
 public:
  World(std::uint64_t seed, const std::function<void(const std::string&)>& say);
  ExactlyOnceRun run();

 private:
  struct Savepoint {
    std::string path;
    std::string directory;  // of the job that took it
    std::string job;
  };

  // ---- processes
  void start();
  EnvironmentOptions options_of_start();
  void begin_attempt(Process& process);
  void destroy(Process& process);
  Process* zombie() const;
  Process* find(int id) const;
  bool nested() const;

  // ---- time goes on
  void live();
  void step_world();
  void happen();
  void damage_log();
  bool marker_may_go() const;
  void freeze(Process& process, bool keeps_lock);
  void freeze_within(int id);
  void lose_power();
  bool step(Process& process);
  bool let_time_pass();

  // ---- the host
  void ask(Process& process);
  void look_at_requests(Process& process);
  bool check_savepoint(const std::string& path);
  void order(const ExecuteOptions& execute);
  CheckpointId newest_id() const;
  void order_new_generation();
  void move_to(const std::string& job, const std::string& root);
  void go_on_after_stop(const std::string& savepoint);
  bool begin_again();
  void restore_savepoint();
  void lose_directory();
  bool marker_is_of_later_start(const std::string& savepoint) const;
  void restore_from(const std::string& savepoint, const RowCounts& rows);
  void expect_refusal(const ExecuteOptions& execute, const char* when);
  void bring_target_back(CheckpointId id);
  bool is_over(const std::string& savepoint) const;
  std::optional<RowCounts> rows_at(const std::string& path);
  void note_first_attempt(Process& process);
  void settle();
  void check_all_visible();

  // ---- how a process ends
  void take_end(Process& process);
  void go_on_after(JobErrorCode code, bool lost_too_much);
  bool has_reason(const Process& process, JobErrorCode code, const JobStatus& status) const;
  bool may_lose_log(const Process& process) const;
  bool could_go_back(const Process& process) const;
  bool may_lose_marker(const Process& process) const;
  // Nothing has gone wrong, and nobody else was there.
  bool was_calm(const Process& process) const {
    return run_.faults() == process.faults_before && processes_.size() == 1;
  }
  bool is_overtaken(const Process& process) const { return output_.is_overtaken(process.id); }
  void check_finish(const Process& process, const JobStatus& status);
  void check_recorded();
  void check_left_over(const Process& process);
  void check_memory(const Process& process);
  void check_claimed(const Process& process);
  void note_step(Process& process);
  MarkerKey key_of(const SinkState& sink, std::size_t shard) const;
  template <class F>
  static bool any_shard(const Manifest& manifest, F f) {
    for (const SinkState& sink : manifest.sinks) {
      for (std::size_t shard = 0; shard < sink.published.size(); ++shard) {
        if (f(sink, shard)) return true;
      }
    }
    return false;
  }
  bool marker_is_too_old(const Process& process) const;
  bool is_made_anew(const PostgresCommit& commit) const;
  bool lacks_marker() const;
  bool lacks_marker(const Manifest& manifest) const;
  bool marker_is_on_a_branch() const;
  std::vector<const Manifest*> chain() const;

  // ---- fates
  bool hits(SimulatedFault fault, double factor = 1);
  void hit(SimulatedFault fault);
  bool meets(SimulatedFault fault, double factor = 1);
  std::uint64_t draw(std::uint64_t n) override { return random_.below(n); }
  FileFate fate(int id, FileOperation operation, const std::string& path) override;
  FileFate draw_fate(int id, FileOperation operation, const std::string& path);
  FileFate draw_open(double factor);
  void note_trouble(Process& process, FileOperation operation, const std::string& path);
  void note_log_read(Process& process, const std::string& path);
  PostgresFault fate(int id, const MarkerKey& key, PostgresCall call) override;
  PostgresFault draw_fault(PostgresCall call);
  void note_log_was_read(Process& process, const MarkerKey& key, PostgresCall call, PostgresFault fault);
  void cut_off(int id) override;
  void sent(int id) override;
  bool waits(int id, bool holder_is_orphan) override;
  bool orphan_commits() override { return random_.chance(0.6); }

  // ---- what is visible
  void committed(const PostgresCommit& commit) override;
  void check_epochs(const PostgresCommit& commit);
  void look_again();

  void wrong(const std::string& what);
  void note(std::uint64_t value) { trace_ = detail::hash_combine(trace_, value); }
  void say(const std::string& text) const;

  const std::function<void(const std::string&)>& say_;
  Random random_;
  ManualClock clock_;
  mutable SimulatedFileSystem disk_;
  std::unique_ptr<RetainedManifests> manifests_;
  HeldLocks locks_;
  SimulatedPostgres postgres_;
  std::uint64_t trace_ = 0;
  ExactlyOnceRun run_;

  std::array<double, kSimulatedFaults> rates_{};
  int faults_left_ = 0;
  double log_read_factor_ = 1;  // how much likelier the log is read damaged than other files
  SimulatedJob job_;
  int batch_rows_ = 1;
  Duration interval_{};
  Duration tolerable_failure_{};
  Duration log_age_{};
  std::uint64_t log_bytes_ = 0;
  std::uint64_t steps_per_request_ = 0;  // in the mean, for a checkpoint or a savepoint

  std::string name_;
  std::string root_;
  std::string directory_;
  VisibleOutput output_;

  std::vector<std::unique_ptr<Process>> processes_;  // the current one, and at most one older
  Process* current_ = nullptr;
  int parallelism_ = 2;
  int starts_ = 0;
  bool over_ = false;
  bool dies_when_sent_ = false;

  // Of the life that the job leads: from an order of its host to its end.
  std::uint64_t life_began_ = 0;  // the step
  int life_starts_ = 0;
  int starts_without_faults_ = 0;
  ExecuteOptions execute_;          // of the next start
  CheckpointId ordered_after_ = 0;  // the newest checkpoint when it was ordered
  std::size_t commits_before_ = 0;  // of the server, which no failover takes back
  bool refusal_expected_ = false;
  std::optional<JobErrorCode> ended_with_;
  std::string last_failure_;
  bool failed_over_ = false;
  bool target_lost_too_much_ = false;
  bool markers_removed_ = false;
  std::string damaged_segment_;
  int unreadable_manifests_ = 0;
  std::size_t commits_when_moved_ = 0;  // of the server, to this directory
  bool brought_back_ = false;  // the target, so that the directory has a branch that is over

  int directories_ = 0;
  int stops_left_ = 2;
  int generations_left_ = 2;  // that begin while the job lives
  int paths_ = 0;  // of savepoints
  std::optional<Savepoint> savepoint_;  // the newest
};

}  // namespace levada::testing
