// AssertScope: tells LEVADA_ASSERT, for a scope of one thread, to which log it speaks and which
// node and subtask runs. Task::step sets one; scopes nest.
//
// Threads:  acts on the calling thread only.
// Lifetime: borrows the log and the node's name.
#pragma once

#include <string_view>

#include "base/log.h"

namespace levada {

class AssertScope {
 public:
  AssertScope(Log& log, std::string_view node, int subtask) noexcept;
  ~AssertScope();
  AssertScope(const AssertScope&) = delete;
  AssertScope& operator=(const AssertScope&) = delete;

  Log& log() const noexcept { return log_; }
  std::string_view node() const noexcept { return node_; }
  int subtask() const noexcept { return subtask_; }
  /// The innermost scope of this thread; null outside of any.
  static const AssertScope* current() noexcept;

 private:
  Log& log_;
  std::string_view node_;
  int subtask_;
  const AssertScope* outer_;
};

}  // namespace levada
