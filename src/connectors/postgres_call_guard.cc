#include "connectors/postgres_call_guard.h"

#include <cerrno>
#include <chrono>
#include <system_error>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread.h"

namespace levada::postgres {
namespace {

// A descriptor of the same socket.
int duplicate(int socket) {
  const int copy = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw std::system_error(errno, std::generic_category(), "duplicating a socket");
  return copy;
}

}  // namespace

CallGuard::CallGuard(int socket) : socket_(duplicate(socket)) {
  try {
    thread_ = start_thread("levada-pg-guard", {}, {}, [this] { watch(); });
  } catch (...) {
    ::close(socket_);
    throw;
  }
}

CallGuard::~CallGuard() {
  {
    const MutexLock lock(mutex_);
    ended_ = true;
  }
  changed_.notify_one();
  thread_.join();
  ::close(socket_);
}

bool CallGuard::expired() {
  const MutexLock lock(mutex_);
  return expired_;
}

void CallGuard::expire() noexcept {
  const MutexLock lock(mutex_);
  expired_ = true;
  ::shutdown(socket_, SHUT_RDWR);
}

// Real time, not the job's clock: what is bounded is a wait for the outside.
void CallGuard::arm(Duration timeout) {
  const MutexLock lock(mutex_);
  deadline_ = std::chrono::steady_clock::now() + timeout;
  if (deadline_ < sleeps_until_) changed_.notify_one();
}

void CallGuard::disarm() {
  const MutexLock lock(mutex_);
  deadline_ = kNever;
}

void CallGuard::watch() {
  const MutexLock lock(mutex_);
  while (!ended_) {
    if (deadline_ <= std::chrono::steady_clock::now()) {
      expired_ = true;
      deadline_ = kNever;
      ::shutdown(socket_, SHUT_RDWR);
    }
    sleeps_until_ = deadline_;
    changed_.wait_until(mutex_, sleeps_until_);
  }
}

}  // namespace levada::postgres
