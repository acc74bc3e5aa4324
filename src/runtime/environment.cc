#include "levada/environment.h"

#include <utility>

#include "base/file_system.h"
#include "base/machine_random.h"
#include "graph/validation.h"
#include "plan/plan_printer.h"
#include "plan/planner.h"
#include "runtime/check_restore.h"
#include "runtime/job_control.h"
#include "runtime/threaded_executor.h"

namespace levada {

StreamEnvironment::StreamEnvironment(EnvironmentOptions options)
    : options_(std::move(options)), graph_(std::make_shared<LogicalGraph>()) {}

OutputRef StreamEnvironment::add_source(const std::string& name, const BatchType& type,
                                        std::shared_ptr<SourceFactory> factory,
                                        detail::WatermarkStrategy watermarks,
                                        std::source_location where) {
  Transformation node;
  node.kind = NodeKind::kSource;
  node.name = name;
  node.outputs = {{.tag = {}, .type = &type}};
  node.source = std::move(factory);
  node.watermarks = std::move(watermarks);
  node.where = where;
  return {graph_->add(std::move(node)), 0};
}

Job StreamEnvironment::execute_async(std::string_view job_name, const ExecuteOptions& execute) {
  validate(*graph_, options_);
  // The job keeps a graph of its own: the environment may be built on.
  auto plan = make_plan(std::make_shared<const LogicalGraph>(*graph_), options_);
  JobHost host{.clock = &system_clock(), .files = &local_file_system(), .make_executor = {},
               .owner = machine_random()};
  host.make_executor = [options = options_] {
    return std::make_unique<ThreadedExecutor>(options.threads, options.parallelism,
                                              options.checkpoint.bytes_per_second, system_clock());
  };
  auto control = std::make_shared<detail::JobControl>(std::string(job_name), std::move(plan), options_,
                                                      std::move(host), execute);
  control->start_thread();
  return Job(std::move(control));
}

void StreamEnvironment::execute(std::string_view job_name, const ExecuteOptions& options) {
  execute_async(job_name, options).wait();
}

RestoreReport StreamEnvironment::check_restore(std::string_view path, const ExecuteOptions& options) const {
  validate(*graph_, options_);
  return levada::check_restore(local_file_system(), path, *graph_, options_, options);
}

std::string StreamEnvironment::explain() const {
  validate(*graph_, options_);
  return print_plan(*make_plan(std::make_shared<const LogicalGraph>(*graph_), options_));
}

}  // namespace levada
