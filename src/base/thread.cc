#include "base/thread.h"

#include <exception>
#include <future>
#include <memory>
#include <utility>

#include <pthread.h>
#include <signal.h>

namespace levada {
namespace {

// Blocks, for a scope, the signals that are sent to a process; a new thread inherits that. Those
// that a thread causes itself stay: a crash must reach the host's handler.
class SignalBlock {
 public:
  SignalBlock() noexcept {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF}) {
      sigdelset(&blocked, own);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

// False when the hook threw; `started` then carries the exception.
bool run_start_hook(const std::function<void()>& on_start, std::promise<void>& started) {
  try {
    if (on_start) on_start();
  } catch (...) {
    started.set_exception(std::current_exception());
    return false;
  }
  started.set_value();
  return true;
}

void run_stop_hook(const std::function<void()>& on_stop) noexcept {
  try {
    if (on_stop) on_stop();
  } catch (...) {
    // There is nobody left on this thread to tell.
  }
}

}  // namespace

std::thread start_thread(const std::string& name, const std::function<void()>& on_start,
                         const std::function<void()>& on_stop, std::function<void()> body) {
  std::promise<void> started;
  std::future<void> outcome = started.get_future();
  std::thread thread = [&] {
    const SignalBlock block;
    return std::thread([name = name.substr(0, 15), on_start, on_stop, body = std::move(body),
                        started = std::move(started)]() mutable {
      pthread_setname_np(pthread_self(), name.c_str());
      if (!run_start_hook(on_start, started)) return;
      body();
      run_stop_hook(on_stop);
    });
  }();
  try {
    outcome.get();
  } catch (...) {
    thread.join();
    throw;
  }
  return thread;
}

}  // namespace levada
