#include "testing/simulated_process.h"

#include <algorithm>
#include <utility>

#include "graph/validation.h"
#include "plan/planner.h"

namespace levada::testing {

SimulatedProcess::SimulatedProcess(std::string job_name, const StreamEnvironment& env, JobHost host,
                                   Random& random, std::uint64_t& trace, const ExecuteOptions& execute)
    : clock_(host.clock), random_(random) {
  validate(*env.graph(), env.options());
  auto plan = make_plan(std::make_shared<const LogicalGraph>(*env.graph()), env.options());
  host.make_executor = [this, &random, &trace, clock = host.clock,
                        limit = env.options().checkpoint.bytes_per_second] {
    auto executor = std::make_unique<SimulatedExecutor>(random, trace, limit, *clock);
    executor_ = executor.get();
    return executor;
  };
  job_ = std::make_unique<detail::JobControl>(std::move(job_name), std::move(plan), env.options(),
                                              std::move(host), execute);
}

bool SimulatedProcess::step() {
  const bool control_first = random_.below(4) == 0;
  if (control_first && step_control()) return true;
  if (executor_ != nullptr && executor_->step()) return true;
  if (!control_first && step_control()) return true;
  return executor_ != nullptr && executor_->step();  // the control may have woken somebody
}

bool SimulatedProcess::step_control() {
  if (job_->take_wakes()) control_.wake();
  const SteadyTime now = clock_->steady_now();
  if (!control_.is_ready(job_->next_time(), now)) return false;
  control_.begin_step(now);
  const bool progress = job_->control_step();
  if (progress) control_.wake();
  if (job_->ended()) executor_ = nullptr;
  return progress;
}

SteadyTime SimulatedProcess::next_time() const {
  SteadyTime next = job_->next_time();
  if (executor_ != nullptr) next = std::min(next, executor_->next_time());
  return std::max(next, clock_->steady_now() + 1us);
}

std::string SimulatedProcess::waiting() const {
  const JobStatus status = job_->status();
  std::string text{to_string(status.state)};
  for (const NodeStatus& node : status.nodes) {
    text += ", " + node.node + " " + std::to_string(node.rows_in) + " in " +
            std::to_string(node.rows_out) + " out";
  }
  return text;
}

}  // namespace levada::testing
