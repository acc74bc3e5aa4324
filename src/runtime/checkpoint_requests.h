// CheckpointRequests: what host threads asked for, from the call to its answer. A request waits until a
// checkpoint begins that can serve it, rides on it, and is answered when that is over; a savepoint's only
// when its directory is complete.
//
// Threads:    ask(), is_answered() and wait() from any; the rest of the job's control.
// Invariants: 1. Every request is answered: at the latest by close(), and at once after it.
//             2. At most one savepoint rides on a checkpoint.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "levada/job.h"

namespace levada {

class CheckpointRequests {
 public:
  /// Why a request is not served: thrown where it is waited for, so that threads share no exception.
  struct Refusal {
    std::optional<JobErrorCode> code;  ///< of a JobError; empty: a StateError
    std::string what;
  };
  struct Request {
    enum class Kind { kCheckpoint, kSavepoint, kStopWithSavepoint };
    Kind kind = Kind::kCheckpoint;
    std::string path;    ///< of a savepoint
    bool drain = false;  ///< of kStopWithSavepoint

    // The answer, guarded by the mutex of CheckpointRequests.
    bool answered = false;
    CheckpointStatus status{};
    std::optional<Refusal> refusal{};
  };
  using Ticket = std::shared_ptr<Request>;

  // ---- who asks
  Ticket ask(Request request);
  bool is_answered(const Ticket& ticket) const;
  /// Waits for the answer, and throws it when it is an error.
  CheckpointStatus wait(const Ticket& ticket) const;

  // ---- the control
  /// Requests wait that the next checkpoint can serve; savepoints only if `savepoints`.
  bool any_waiting(bool savepoints) const;
  /// The first stop that waits; null: none.
  Ticket stop_waiting() const;
  /// A checkpoint begins: those that it can serve ride on it. A stop rides only on a `final` one, and before
  /// other savepoints. Returns whether a savepoint is among them.
  bool board(bool savepoints, bool final);
  /// The checkpoint they ride on is complete. Returns the savepoint that rode on it, still to be answered.
  Ticket committed(const CheckpointStatus& status);
  /// It failed; `again`: stops wait for the next one.
  void failed(const std::string& why, bool again);
  void answer(const Ticket& ticket, const CheckpointStatus& status);
  void refuse(const Ticket& ticket, const Refusal& refusal);
  /// The job has ended: refuses all there are and all to come.
  void close(const Refusal& refusal);

 private:
  void end(Request& request, CheckpointStatus status, std::optional<Refusal> refusal)
      LEVADA_REQUIRES(mutex_);

  mutable Mutex mutex_;
  mutable CondVar answered_;
  std::vector<Ticket> waiting_ LEVADA_GUARDED_BY(mutex_);
  std::vector<Ticket> riding_ LEVADA_GUARDED_BY(mutex_);
  std::optional<Refusal> closed_ LEVADA_GUARDED_BY(mutex_);
};

}  // namespace levada
