// Event time and durations: the standard's own types, in microseconds.
#pragma once

#include <chrono>

namespace levada {

using namespace std::chrono_literals;

/// A point of event time (or of wall-clock time), in microseconds since 1970-01-01 UTC.
using Timestamp = std::chrono::sys_time<std::chrono::microseconds>;
/// A span of time in microseconds; any std::chrono duration that is no finer converts to it.
using Duration = std::chrono::microseconds;
/// A point of the monotonic clock: for timeouts and intervals, never for event time.
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

/// The time of a row that has none.
inline constexpr Timestamp kNoTimestamp = Timestamp::min();
/// The watermark before any was seen: every row may still come.
inline constexpr Timestamp kMinWatermark = Timestamp::min();
/// The watermark after the last row: nothing more will come.
inline constexpr Timestamp kMaxWatermark = Timestamp::max();
/// No wake-up is wanted.
inline constexpr SteadyTime kNever = SteadyTime::max();

}  // namespace levada
