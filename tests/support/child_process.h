// run_in_child: what a function does in a process of its own, when that process may be killed.
#pragma once

#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

namespace levada::testing {

struct ChildExit {
  int code = -1;   ///< -1: ended by a signal
  int signal = 0;  ///< 0: ended by itself
};

inline ChildExit wait_for(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child) throw std::runtime_error("waitpid failed");
  ChildExit exit;
  if (WIFEXITED(status)) exit.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) exit.signal = WTERMSIG(status);
  return exit;
}

/// Forks; the child returns what `f` returns as its exit code, or 99 when it throws.
template <class F>
pid_t start_child(F f) {
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child > 0) return child;
  int code = 99;
  try {
    code = f();
  } catch (...) {
  }
  ::_exit(code);
}

template <class F>
ChildExit run_in_child(F f) {
  return wait_for(start_child(std::move(f)));
}

}  // namespace levada::testing
