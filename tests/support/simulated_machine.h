// One simulated process after the other on one simulated disk, each stepped by a seed until its job ends or the power
// goes.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/manual_clock.h"
#include "base/random.h"
#include "levada/levada.h"
#include "testing/simulated_file_system.h"
#include "testing/simulated_process.h"

namespace levada::testing {

class SimulatedMachine {
 public:
  enum class End { kFinished, kFailed, kPowerLost, kStopped };

  /// `make_options` is asked before each start, and `build` describes the job then.
  SimulatedMachine(std::function<EnvironmentOptions()> make_options,
                   std::function<void(StreamEnvironment&)> build, std::uint64_t seed)
      : make_options_(std::move(make_options)), build_(std::move(build)), random_(seed) {}

  /// Runs a process to its end, until the power goes, or until `stop` holds.
  End run(const std::function<bool()>& stop = {}, const ExecuteOptions& execute = {}) {
    StreamEnvironment env(make_options_());
    build_(env);
    SimulatedProcess process(
        "job", env, JobHost{.clock = &clock_, .files = &disk_, .make_executor = {}, .owner = ++starts_}, random_,
        trace_, execute);
    while (!(stop && stop())) {
      clock_.advance(std::chrono::microseconds(10));
      bool progress = true;
      try {
        progress = process.step();
      } catch (const SimulatedCrash&) {
      }
      if (is_dark()) return End::kPowerLost;
      if (process.job().ended()) {
        const JobStatus status = process.job().status();
        restarts_ = status.restarts;
        error_ = status.last_error;
        return status.state == JobState::kFinished ? End::kFinished : End::kFailed;
      }
      if (!progress && !let_time_pass(process)) throw std::runtime_error("nothing can make progress");
    }
    return End::kStopped;
  }

  SimulatedFileSystem& disk() { return disk_; }
  /// Of the last process that ended by itself.
  const std::string& error() const { return error_; }
  int restarts() const { return restarts_; }

  /// The files with that in their path, sorted.
  std::vector<std::string> files(const std::string& with) const {
    std::vector<std::string> found = disk_.all_files();
    std::erase_if(found, [&](const std::string& path) { return path.find(with) == path.npos; });
    return found;
  }

 private:
  bool let_time_pass(SimulatedProcess& process) {
    const SteadyTime next = process.next_time();
    if (next == kNever) return false;
    clock_.advance_to(next);
    return true;
  }

  bool is_dark() {
    try {
      static_cast<void>(disk_.exists("/"));
      return false;
    } catch (const SimulatedCrash&) {
      return true;
    }
  }

  const std::function<EnvironmentOptions()> make_options_;
  const std::function<void(StreamEnvironment&)> build_;
  Random random_;
  ManualClock clock_{Timestamp{Duration{1'000'000'000}}};
  SimulatedFileSystem disk_;
  std::uint64_t trace_ = 0;
  std::uint64_t starts_ = 0;
  std::string error_;
  int restarts_ = 0;
};

}  // namespace levada::testing
