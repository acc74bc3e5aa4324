#include "levada/assert.h"

#include <cstdlib>
#include <string>

#include "base/assert_scope.h"

namespace levada {
namespace {

thread_local const AssertScope* current_scope = nullptr;

}  // namespace

AssertScope::AssertScope(Log& log, std::string_view node, int subtask) noexcept
    : log_(log), node_(node), subtask_(subtask), outer_(current_scope) {
  current_scope = this;
}

AssertScope::~AssertScope() {
  current_scope = outer_;
}

const AssertScope* AssertScope::current() noexcept {
  return current_scope;
}

namespace detail {

void assert_failed(const char* expression, const char* file, int line, std::string_view message) {
  if (const AssertScope* scope = AssertScope::current()) {
    // An invariant broken inside the log sink must not come back here.
    current_scope = nullptr;
    std::string text = "broken invariant: ";
    text.append(message).append(" (").append(expression).append(", ").append(file).append(":");
    text.append(std::to_string(line)).append(", node '").append(scope->node());
    text.append("', subtask ").append(std::to_string(scope->subtask())).append(")");
    scope->log().error(text);
  }
  std::abort();
}

}  // namespace detail
}  // namespace levada
