#include "runtime/simulated_executor.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "levada/serde.h"

namespace levada {

void SimulatedExecutor::start(const std::vector<Task*>& tasks, ExecutorListener& listener) {
  listener_ = &listener;
  threads_.clear();
  for (Task* task : tasks) {
    threads_.push_back(std::make_unique<SimulatedThread>());
    task->set_waker(threads_.back().get());
    tasks_.push_back({task, threads_.back().get()});
  }
}

void SimulatedExecutor::start_publishers(const std::vector<EpochPublisher*>& publishers) {
  for (EpochPublisher* publisher : publishers) {
    publishers_.push_back({publisher, std::make_unique<SimulatedThread>()});
    publisher->set_waker(publishers_.back().thread.get());
  }
}

void SimulatedExecutor::stop_publishers() noexcept {
  for (const Publishing& publishing : publishers_) publishing.publisher->set_waker(nullptr);
  publishers_.clear();
}

void SimulatedExecutor::note(std::uint64_t value) { trace_ = detail::hash_combine(trace_, value); }

bool SimulatedExecutor::step() {
  const SteadyTime now = clock_.steady_now();
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i].thread->is_ready(tasks_[i].task->next_time(), now)) ready.push_back(i);
  }
  if (shares_threads_ && !ready.empty() && random_.below(8) == 0) {
    step_task(random_.below(tasks_.size()));
    return true;
  }
  std::vector<std::size_t> publishing;
  for (std::size_t i = 0; i < publishers_.size(); ++i) {
    if (publishers_[i].thread->is_ready(publishers_[i].publisher->next_time(), now)) publishing.push_back(i);
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
  SimulatedThread& thread = *tasks_[index].thread;
  thread.begin_step(clock_.steady_now());
  StepResult result = StepResult::kFinished;
  try {
    result = task.step();
    if (result == StepResult::kFinished) listener_->task_finished(task);
  } catch (const std::exception&) {
    listener_->task_failed(task, std::current_exception());
  }
  note(static_cast<std::uint64_t>(task.id()) * 16 + static_cast<std::uint64_t>(result));
  if (result == StepResult::kProgress) thread.wake();
  if (result == StepResult::kFinished) tasks_.erase(tasks_.begin() + static_cast<std::ptrdiff_t>(index));
}

void SimulatedExecutor::step_publisher(std::size_t index) {
  SimulatedThread& thread = *publishers_[index].thread;
  thread.begin_step(clock_.steady_now());
  const bool progress = publishers_[index].publisher->step();
  note((index << 1) + (progress ? 1 : 0));
  if (progress) thread.wake();
}

bool SimulatedExecutor::leaves_output() const {
  return std::any_of(publishers_.begin(), publishers_.end(), [&](const Publishing& publishing) {
    const EpochPublisher& publisher = *publishing.publisher;
    const SteadyTime next = publisher.next_time();
    return next == kNever && !publishing.thread->is_ready(next, clock_.steady_now()) && !publisher.failure() &&
           publisher.status().waiting_epochs > 0;
  });
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
