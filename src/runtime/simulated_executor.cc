#include "runtime/simulated_executor.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "levada/serde.h"

namespace levada {

void SimulatedExecutor::start(const std::vector<Task*>& tasks, ExecutorListener& listener) {
  listener_ = &listener;
  for (Task* task : tasks) tasks_.push_back({task});
}

void SimulatedExecutor::start_publishers(const std::vector<EpochPublisher*>& publishers) {
  for (EpochPublisher* publisher : publishers) publishers_.push_back({publisher});
}

void SimulatedExecutor::note(std::uint64_t value) { trace_ = detail::hash_combine(trace_, value); }

bool SimulatedExecutor::step() {
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (!tasks_[i].waits) ready.push_back(i);
  }
  std::vector<std::size_t> publishing;
  for (std::size_t i = 0; i < publishers_.size(); ++i) {
    if (!publishers_[i].waits) publishing.push_back(i);
  }
  const std::size_t stepped = ready.size() + publishing.size();
  const std::size_t choices = stepped + (has_job() ? 1 : 0);
  if (choices == 0) return false;
  const std::uint64_t choice = random_.below(choices);
  note(choice);
  if (choice < ready.size()) {
    step_task(ready[choice]);
    return true;
  }
  if (choice < stepped) {
    step_publisher(publishing[choice - ready.size()]);
    return true;
  }
  run_job();
  anything_changed();
  return true;
}

bool SimulatedExecutor::has_job() const {
  return !jobs_.empty() || (!limited_.empty() && clock_.steady_now() >= limit_.ready_at());
}

void SimulatedExecutor::run_job() {
  if (jobs_.empty()) {
    const auto job = std::move(limited_.front());
    limited_.pop_front();
    limit_.take(job(), clock_.steady_now());
    return;
  }
  const auto job = std::move(jobs_.front());
  jobs_.pop_front();
  job();
}

void SimulatedExecutor::step_task(std::size_t index) {
  Task& task = *tasks_[index].task;
  StepResult result = StepResult::kFinished;
  try {
    result = task.step();
    if (result == StepResult::kFinished) listener_->task_finished(task);
  } catch (const std::exception&) {
    listener_->task_failed(task, std::current_exception());
  }
  note(static_cast<std::uint64_t>(task.id()) * 16 + static_cast<std::uint64_t>(result));
  if (result == StepResult::kProgress) {
    anything_changed();
  } else if (result == StepResult::kFinished) {
    tasks_.erase(tasks_.begin() + static_cast<std::ptrdiff_t>(index));
  } else {
    tasks_[index].waits = true;
  }
}

void SimulatedExecutor::step_publisher(std::size_t index) {
  const bool progress = publishers_[index].publisher->step();
  note((index << 1) + (progress ? 1 : 0));
  if (progress) {
    anything_changed();
  } else {
    publishers_[index].waits = true;
  }
}

void SimulatedExecutor::anything_changed() {
  for (Runnable& runnable : tasks_) runnable.waits = false;
  for (Publishing& publishing : publishers_) publishing.waits = false;
}

SteadyTime SimulatedExecutor::next_time() const {
  SteadyTime next = kNever;
  for (const Runnable& runnable : tasks_) next = std::min(next, runnable.task->next_time());
  for (const Publishing& publishing : publishers_) {
    next = std::min(next, publishing.publisher->next_time());
  }
  if (!limited_.empty() && !has_job()) next = std::min(next, limit_.ready_at());
  return next;
}

}  // namespace levada
