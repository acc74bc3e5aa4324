// Log: hands messages to the host's LogSink, one call at a time, and survives a sink that throws.
//
// Threads:  from any thread; the sink is called under a mutex, so it must not log through the same
// Log. Lifetime: of the job; everything that logs borrows it. Failures: none; what the sink throws
// is swallowed.
#pragma once

#include <string_view>
#include <utility>

#include "levada/log.h"

#include "base/mutex.h"

namespace levada {

class Log {
 public:
  /// An empty sink drops every message.
  explicit Log(LogSink sink) : sink_(std::move(sink)) {}
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void write(LogLevel level, std::string_view message) noexcept;

  void debug(std::string_view message) noexcept { write(LogLevel::kDebug, message); }
  void info(std::string_view message) noexcept { write(LogLevel::kInfo, message); }
  void warning(std::string_view message) noexcept { write(LogLevel::kWarning, message); }
  void error(std::string_view message) noexcept { write(LogLevel::kError, message); }

 private:
  Mutex mutex_;
  LogSink sink_ LEVADA_GUARDED_BY(mutex_);
};

}  // namespace levada
