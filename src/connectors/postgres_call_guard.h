// CallGuard: bounds calls of libpq, which has no timeouts of its own once connected. When a call takes
// too long its socket is shut down, and the call returns with a lost connection.
//
// Threads:  one thread makes the calls; the guard has one of its own, asleep while nothing is late.
// Lifetime: of a connection. The guard holds a duplicate of the socket, so that a descriptor that libpq
//           closed and the process uses anew is never touched.
// Failures: the constructor throws std::system_error when descriptors or threads have run out.
#pragma once

#include <thread>

#include "base/mutex.h"
#include "levada/time.h"

namespace levada::postgres {

class CallGuard {
 public:
  explicit CallGuard(int socket);
  ~CallGuard();
  CallGuard(const CallGuard&) = delete;
  CallGuard& operator=(const CallGuard&) = delete;

  /// Bounds the calls made while it exists.
  class Scope {
   public:
    Scope(CallGuard& guard, Duration timeout) : guard_(guard) { guard.arm(timeout); }
    ~Scope() { guard_.disarm(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    CallGuard& guard_;
  };

  /// Loses the connection now, whether a call is under way or not; from any thread.
  void expire() noexcept LEVADA_EXCLUDES(mutex_);
  /// Whether a call was too long; the connection is then lost.
  bool expired() LEVADA_EXCLUDES(mutex_);

 private:
  void arm(Duration timeout) LEVADA_EXCLUDES(mutex_);
  void disarm() LEVADA_EXCLUDES(mutex_);
  void watch() LEVADA_EXCLUDES(mutex_);

  const int socket_;
  Mutex mutex_;
  CondVar changed_;
  SteadyTime deadline_ LEVADA_GUARDED_BY(mutex_) = kNever;
  // What the guard's thread waits for, so that arming before it does needs no wake-up.
  SteadyTime sleeps_until_ LEVADA_GUARDED_BY(mutex_) = kNever;
  bool expired_ LEVADA_GUARDED_BY(mutex_) = false;
  bool ended_ LEVADA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace levada::postgres
