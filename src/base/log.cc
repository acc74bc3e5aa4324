#include "base/log.h"

namespace levada {

void Log::write(LogLevel level, std::string_view message) noexcept {
  try {
    MutexLock lock(mutex_);
    if (sink_) sink_(level, message);
  } catch (...) {
    // A host whose sink fails must not lose its job for it.
  }
}

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "?";
}

}  // namespace levada
