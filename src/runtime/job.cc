#include "levada/job.h"

#include <utility>

#include "runtime/job_control.h"

namespace levada {

namespace {

using Kind = CheckpointRequests::Request::Kind;

}  // namespace

std::string_view to_string(JobState state) {
  switch (state) {
    case JobState::kStarting: return "starting";
    case JobState::kRunning: return "running";
    case JobState::kRestarting: return "restarting";
    case JobState::kStopping: return "stopping";
    case JobState::kFinished: return "finished";
    case JobState::kFailed: return "failed";
    case JobState::kCancelled: return "cancelled";
  }
  return "unknown";
}

Job::Job(std::shared_ptr<detail::JobControl> control) : control_(std::move(control)) {}
Job::Job(Job&&) noexcept = default;

Job& Job::operator=(Job&& other) noexcept {
  if (this != &other) {
    if (control_) control_->shut_down();
    control_ = std::move(other.control_);
  }
  return *this;
}

Job::~Job() {
  if (control_) control_->shut_down();
}

void Job::wait() { control_->wait(); }
bool Job::wait_for(Duration timeout) { return control_->wait_for(timeout); }
JobStatus Job::status() const { return control_->status(); }
std::string Job::explain() const { return control_->explain(); }
void Job::check_query(const std::string& uid, const StateSpec& wanted) const {
  control_->check_query(uid, wanted);
}
void Job::cancel() noexcept { control_->cancel(); }
void Job::request_stop() noexcept { control_->request_stop(); }

CheckpointStatus Job::checkpoint() {
  return control_->requests().wait(control_->ask({.kind = Kind::kCheckpoint}));
}

std::string Job::savepoint(const std::string& path) {
  return control_->requests().wait(control_->ask({.kind = Kind::kSavepoint, .path = path})).path;
}

std::string Job::stop_with_savepoint(const std::string& path, const StopOptions& options) {
  const auto ticket =
      control_->ask({.kind = Kind::kStopWithSavepoint, .path = path, .drain = options.drain});
  const CheckpointStatus status = control_->requests().wait(ticket);
  control_->wait();
  return status.path;
}

}  // namespace levada
