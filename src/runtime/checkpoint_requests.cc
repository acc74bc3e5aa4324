#include "runtime/checkpoint_requests.h"

#include <algorithm>
#include <utility>

#include "levada/error.h"

namespace levada {

using Kind = CheckpointRequests::Request::Kind;

CheckpointRequests::Ticket CheckpointRequests::ask(Request request) {
  auto ticket = std::make_shared<Request>(std::move(request));
  MutexLock lock(mutex_);
  if (closed_) {
    end(*ticket, {}, closed_);
  } else {
    waiting_.push_back(ticket);
  }
  return ticket;
}

bool CheckpointRequests::is_answered(const Ticket& ticket) const {
  MutexLock lock(mutex_);
  return ticket->answered;
}

CheckpointStatus CheckpointRequests::wait(const Ticket& ticket) const {
  MutexLock lock(mutex_);
  while (!ticket->answered) answered_.wait(mutex_);
  if (ticket->error) std::rethrow_exception(ticket->error);
  return ticket->status;
}

bool CheckpointRequests::any_waiting(bool savepoints) const {
  MutexLock lock(mutex_);
  return std::any_of(waiting_.begin(), waiting_.end(), [&](const Ticket& ticket) {
    return ticket->kind == Kind::kCheckpoint || (savepoints && ticket->kind == Kind::kSavepoint);
  });
}

CheckpointRequests::Ticket CheckpointRequests::stop_waiting() const {
  MutexLock lock(mutex_);
  const auto stop = std::find_if(waiting_.begin(), waiting_.end(), [](const Ticket& ticket) {
    return ticket->kind == Kind::kStopWithSavepoint;
  });
  return stop == waiting_.end() ? nullptr : *stop;
}

bool CheckpointRequests::board(bool savepoints, bool final) {
  MutexLock lock(mutex_);
  const auto first = [&](Kind kind) {
    return std::find_if(waiting_.begin(), waiting_.end(),
                        [kind](const Ticket& ticket) { return ticket->kind == kind; });
  };
  auto chosen = final ? first(Kind::kStopWithSavepoint) : waiting_.end();
  if (chosen == waiting_.end()) chosen = first(Kind::kSavepoint);
  const Ticket savepoint = savepoints && chosen != waiting_.end() ? *chosen : nullptr;
  std::erase_if(waiting_, [&](const Ticket& ticket) {
    if (ticket != savepoint && ticket->kind != Kind::kCheckpoint) return false;
    riding_.push_back(ticket);
    return true;
  });
  return savepoint != nullptr;
}

CheckpointRequests::Ticket CheckpointRequests::committed(const CheckpointStatus& status) {
  Ticket savepoint;
  MutexLock lock(mutex_);
  for (const Ticket& ticket : std::exchange(riding_, {})) {
    if (ticket->kind == Kind::kCheckpoint) {
      end(*ticket, status, nullptr);
    } else {
      savepoint = ticket;
    }
  }
  return savepoint;
}

void CheckpointRequests::failed(const std::string& why, bool again) {
  const auto error = std::make_exception_ptr(StateError(why));
  MutexLock lock(mutex_);
  for (const Ticket& ticket : std::exchange(riding_, {})) {
    if (again && ticket->kind == Kind::kStopWithSavepoint) {
      waiting_.push_back(ticket);
    } else {
      end(*ticket, {}, error);
    }
  }
}

void CheckpointRequests::answer(const Ticket& ticket, const CheckpointStatus& status) {
  MutexLock lock(mutex_);
  end(*ticket, status, nullptr);
}

void CheckpointRequests::refuse(const Ticket& ticket, std::exception_ptr error) {
  MutexLock lock(mutex_);
  end(*ticket, {}, std::move(error));
}

void CheckpointRequests::close(std::exception_ptr error) {
  MutexLock lock(mutex_);
  closed_ = error;
  for (std::vector<Ticket>* tickets : {&waiting_, &riding_}) {
    for (const Ticket& ticket : std::exchange(*tickets, {})) end(*ticket, {}, error);
  }
}

void CheckpointRequests::end(Request& request, CheckpointStatus status, std::exception_ptr error) {
  request.answered = true;
  request.status = std::move(status);
  request.error = std::move(error);
  answered_.notify_all();
}

}  // namespace levada
