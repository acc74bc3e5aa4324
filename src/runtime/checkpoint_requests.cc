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
  if (!ticket->refusal) return ticket->status;
  const Refusal& refusal = *ticket->refusal;
  if (refusal.code) throw JobError(*refusal.code, {}, -1, refusal.what);
  throw StateError(refusal.what);
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
  Ticket savepoint;
  for (const Ticket& ticket : waiting_) {
    if (!savepoints || ticket->kind == Kind::kCheckpoint) continue;
    const bool stop = ticket->kind == Kind::kStopWithSavepoint;
    if (stop && final) {
      savepoint = ticket;
      break;
    }
    if (!stop && !savepoint) savepoint = ticket;
  }
  std::vector<Ticket> left;
  for (Ticket& ticket : waiting_) {
    const bool rides = ticket == savepoint || ticket->kind == Kind::kCheckpoint;
    (rides ? riding_ : left).push_back(std::move(ticket));
  }
  waiting_ = std::move(left);
  return savepoint != nullptr;
}

CheckpointRequests::Ticket CheckpointRequests::committed(const CheckpointStatus& status) {
  Ticket savepoint;
  MutexLock lock(mutex_);
  for (const Ticket& ticket : std::exchange(riding_, {})) {
    if (ticket->kind == Kind::kCheckpoint) {
      end(*ticket, status, std::nullopt);
    } else {
      savepoint = ticket;
    }
  }
  return savepoint;
}

void CheckpointRequests::failed(const std::string& why, bool again) {
  MutexLock lock(mutex_);
  for (const Ticket& ticket : std::exchange(riding_, {})) {
    if (again && ticket->kind == Kind::kStopWithSavepoint) {
      waiting_.push_back(ticket);
    } else {
      end(*ticket, {}, Refusal{.code = {}, .what = why});
    }
  }
}

void CheckpointRequests::answer(const Ticket& ticket, const CheckpointStatus& status) {
  MutexLock lock(mutex_);
  end(*ticket, status, std::nullopt);
}

void CheckpointRequests::refuse(const Ticket& ticket, const Refusal& refusal) {
  MutexLock lock(mutex_);
  end(*ticket, {}, refusal);
}

void CheckpointRequests::close(const Refusal& refusal) {
  MutexLock lock(mutex_);
  closed_ = refusal;
  for (const Ticket& ticket : std::exchange(waiting_, {})) end(*ticket, {}, refusal);
  for (const Ticket& ticket : std::exchange(riding_, {})) end(*ticket, {}, refusal);
}

void CheckpointRequests::end(Request& request, CheckpointStatus status,
                             std::optional<Refusal> refusal) {
  request.answered = true;
  request.status = std::move(status);
  request.refusal = std::move(refusal);
  answered_.notify_all();
}

}  // namespace levada
