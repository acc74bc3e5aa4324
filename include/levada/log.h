// Where the library's messages go. It prints nothing by itself: librdkafka's log lines, libpqxx's
// notices and the library's own words all reach the LogSink of EnvironmentOptions.
#pragma once

#include <functional>
#include <string_view>

namespace levada {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// Takes one message without a line end.
///
/// Threads: called from any thread of the job, one call at a time per job.
/// Errors:  an exception thrown by the sink is swallowed.
using LogSink = std::function<void(LogLevel, std::string_view)>;

/// "debug", "info", "warning" or "error".
std::string_view to_string(LogLevel level);

}  // namespace levada
