#include "levada/testing/simulation.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <utility>

#include "base/manual_clock.h"
#include "base/percent_encoding.h"
#include "base/random.h"
#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/manifest_file.h"
#include "testing/simulated_file_system.h"
#include "testing/simulated_process.h"

namespace levada::testing {
namespace {

// A step takes some virtual time, so that intervals and timeouts pass in busy phases as well.
constexpr std::chrono::microseconds kStepTime{10};

class Simulation {
 public:
  Simulation(EnvironmentOptions options, const std::function<void(StreamEnvironment&)>& build,
             const SimulationOptions& simulation)
      : options_(std::move(options)),
        build_(build),
        simulation_(simulation),
        random_(simulation.seed),
        clock_(Timestamp{Duration{1'000'000'000}}) {}

  SimulationResult run() {
    for (int start = 0;; ++start) {
      start_process(start);
      const bool crashed = run_process();
      if (crashed) {
        crash();
      } else if (!take_move()) {
        break;
      }
    }
    note_end();
    result_.trace = trace_;
    return result_;
  }

 private:
  void start_process(int start) {
    EnvironmentOptions options = options_;
    if (!simulation_.parallelism.empty()) {
      options.parallelism =
          simulation_.parallelism[static_cast<std::size_t>(start) % simulation_.parallelism.size()];
    }
    StreamEnvironment env(options);
    build_(env);
    ExecuteOptions execute;
    // A path that is given wins, so it is given once.
    if (!restore_.empty() && !has_checkpoints()) execute.restore = restore_;
    process_ = std::make_unique<SimulatedProcess>(
        name(), env,
        JobHost{.clock = &clock_, .files = &files_, .make_executor = {},
                .owner = static_cast<std::uint64_t>(start) + 1},
        random_, trace_, execute);
    if (!simulation_.align_barriers) process_->job().on_attempt(&switch_alignment_off);
    crash_in_ = crashes_left() ? 1 + random_.below(2 * simulation_.steps_per_crash) : 0;
    move_in_ = result_.moves < simulation_.moves ? 1 + random_.below(2 * simulation_.steps_per_crash) : 0;
    plan_disk_fault();
  }

  static void switch_alignment_off(Attempt& attempt) {
    for (Task* task : attempt.tasks()) {
      if (BarrierAligner* aligner = task->aligner()) aligner->set_alignment(false);
    }
  }

  bool crashes_left() const { return result_.crashes < simulation_.crashes; }

  // Runs until the job ends or the process dies. True when it died.
  bool run_process() {
    while (!process_->job().ended()) {
      if (result_.steps++ >= simulation_.steps_max) {
        result_.error = "the job did not end within the steps allowed";
        return false;
      }
      if (crash_in_ > 0 && --crash_in_ == 0) return true;
      clock_.advance(kStepTime);
      ask();
      if (!check_savepoints()) return false;
      if (!process_->step() && !let_time_pass()) {
        result_.error = "nothing can make progress any more: " + process_->waiting();
        return false;
      }
    }
    return false;
  }

  std::string name() const {
    return result_.moves == 0 ? "simulated" : "simulated " + std::to_string(result_.moves);
  }

  bool has_checkpoints() {
    const std::string directory = join_path(options_.checkpoint.directory, percent_encode(name()));
    return files_.exists(directory) && !manifest_ids(files_, directory).empty();
  }

  // What the host asks the job for now, if anything.
  void ask() {
    using Kind = CheckpointRequests::Request::Kind;
    if (move_in_ > 0 && --move_in_ == 0) {
      ask({.kind = Kind::kStopWithSavepoint}, move_);
    }
    if (simulation_.steps_per_request == 0 || random_.below(simulation_.steps_per_request) > 0) return;
    if (random_.chance(0.5)) {
      ask({.kind = Kind::kCheckpoint}, requests_.emplace_back());
    } else {
      ask({.kind = Kind::kSavepoint}, requests_.emplace_back());
    }
  }

  void ask(CheckpointRequests::Request request, CheckpointRequests::Ticket& ticket) {
    if (request.kind != CheckpointRequests::Request::Kind::kCheckpoint) {
      request.path = "/savepoints/" + std::to_string(++paths_);
    }
    try {
      ticket = process_->job().ask(std::move(request));
    } catch (const StateError&) {
      // The disk did not let it have a directory.
    }
  }

  // Reads every savepoint back that has been taken. False: one was not as it must be.
  bool check_savepoints() {
    bool right = true;
    std::erase_if(requests_, [&](const CheckpointRequests::Ticket& ticket) {
      if (!ticket) return true;
      const CheckpointRequests& requests = process_->job().requests();
      if (!requests.is_answered(ticket)) return false;
      try {
        requests.wait(ticket);
        if (!ticket->path.empty()) right = is_whole(ticket->path) && right;
      } catch (const std::exception&) {
        // It failed, and said so.
      }
      return true;
    });
    return right;
  }

  bool is_whole(const std::string& path) {
    try {
      CheckpointReader(files_, path).verify();
      ++result_.savepoints;
      return true;
    } catch (const StateError& error) {
      result_.error = error.what();
      return false;
    }
  }

  // The job has ended. True: it was stopped, to go on under another name, or where it is when there is no
  // savepoint of it.
  bool take_move() {
    const CheckpointRequests::Ticket ticket = std::exchange(move_, nullptr);
    const bool finished = process_->job().status().state == JobState::kFinished;
    if (!ticket || !finished || !result_.error.empty()) return false;
    note_process();
    files_.clear_faults();
    try {
      process_->job().requests().wait(ticket);
      if (!is_whole(ticket->path)) return false;
      ++result_.moves;
      restore_ = ticket->path;
    } catch (const std::exception&) {
      // The disk failed.
    }
    process_.reset();
    requests_.clear();
    return true;
  }

  bool let_time_pass() {
    const SteadyTime next = process_->next_time();
    if (next == kNever) return false;
    clock_.advance_to(next);
    return true;
  }

  void crash() {
    note_process();
    ++result_.crashes;
    process_.reset();  // before the disk forgets: its files and its lock are gone with it
    requests_.clear();
    move_ = nullptr;
    if (random_.chance(0.5)) {
      files_.kill();
    } else {
      files_.crash(random_.next());
    }
  }

  // Disk faults end with the last crash: from then on the job must get to its end.
  void plan_disk_fault() {
    files_.clear_faults();
    if (simulation_.operations_per_disk_fault == 0 || !crashes_left()) return;
    static constexpr FileOperation kKinds[] = {FileOperation::kCreate, FileOperation::kAppend,
                                               FileOperation::kSync, FileOperation::kRename,
                                               FileOperation::kSyncDirectory};
    const FileOperation kind = kKinds[random_.below(std::size(kKinds))];
    const std::uint64_t nth = 2 + random_.below(simulation_.operations_per_disk_fault);
    files_.fail(kind, nth, random_.chance(0.5) ? EIO : ENOSPC);
    ++result_.disk_faults;
  }

  void note_process() {
    const JobStatus status = process_->job().status();
    result_.checkpoints += status.checkpoints_completed;
    if (status.restored_from) ++result_.restores;
  }

  void note_end() {
    note_process();
    const JobStatus status = process_->job().status();
    result_.finished = status.state == JobState::kFinished;
    if (!result_.finished && result_.error.empty()) result_.error = status.last_error;
  }

  const EnvironmentOptions options_;
  const std::function<void(StreamEnvironment&)>& build_;
  const SimulationOptions simulation_;
  Random random_;
  ManualClock clock_;
  SimulatedFileSystem files_;
  std::uint64_t trace_ = 0;
  SimulationResult result_;
  std::uint64_t crash_in_ = 0;
  std::uint64_t move_in_ = 0;
  int paths_ = 0;          // of savepoints
  std::string restore_;    // that of the last move
  CheckpointRequests::Ticket move_;
  std::vector<CheckpointRequests::Ticket> requests_;
  std::unique_ptr<SimulatedProcess> process_;
};

}  // namespace

SimulationResult run_simulated(EnvironmentOptions options,
                               const std::function<void(StreamEnvironment&)>& build,
                               const SimulationOptions& simulation) {
  return Simulation(std::move(options), build, simulation).run();
}

}  // namespace levada::testing
