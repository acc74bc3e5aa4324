// SimulatedProcess: a process of a simulated machine and the job in it, stepped by who simulates the machine:
// its control and its executor, in an order that the machine's random numbers say.
//
// Threads:  one.
// Lifetime: borrows random numbers and trace, and what the host has. Destroyed, the process is dead.
// Failures: GraphError. What the simulated files throw passes through step().
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/random.h"
#include "levada/levada.h"
#include "runtime/job_control.h"
#include "runtime/simulated_executor.h"

namespace levada::testing {

class SimulatedProcess {
 public:
  /// Starts the job that `env` describes. The executors are ours, the rest of the host is given.
  SimulatedProcess(std::string job_name, const StreamEnvironment& env, JobHost host, Random& random,
                   std::uint64_t& trace, const ExecuteOptions& execute = {});
  SimulatedProcess(const SimulatedProcess&) = delete;
  SimulatedProcess& operator=(const SimulatedProcess&) = delete;

  detail::JobControl& job() { return *job_; }
  const detail::JobControl& job() const { return *job_; }
  /// The job has begun to run and has not ended.
  bool has_executor() const { return executor_ != nullptr; }

  /// One step of the control or of the executor, whichever comes first; false: neither had any.
  bool step();
  /// After a step that did nothing: when there is something to do at the latest, which is later than now; kNever when
  /// nothing waits for a time.
  SteadyTime next_time() const;
  /// Nobody publishes what the job has committed, before there is more. REQUIRES: it has begun to run.
  bool leaves_output() const { return executor_ != nullptr && executor_->leaves_output(); }
  /// The states of job and nodes, for messages.
  std::string waiting() const;

 private:
  bool step_control();

  const Clock* clock_;
  Random& random_;
  SimulatedExecutor* executor_ = nullptr;  // the job's, from when it makes one until it has ended
  SimulatedThread control_;
  std::unique_ptr<detail::JobControl> job_;
};

}  // namespace levada::testing
