// Times as JSON writes them: ISO-8601 text and milliseconds with a fraction.
//
// Threads: pure functions.
#pragma once

#include <optional>
#include <string_view>

#include "levada/time.h"

namespace levada::formats {

/// Reads `YYYY-MM-DD` and optionally `T` (or a space) `HH:MM[:SS[.fraction]]` and `Z` or `±HH[[:]MM]`;
/// no offset means UTC. A fraction finer than microseconds is cut off. Empty if `text` is none.
std::optional<Timestamp> parse_iso8601(std::string_view text);

/// Microseconds of a whole or fractional number of milliseconds; empty if they do not fit 64 bits.
std::optional<Duration> micros_of_millis(std::int64_t millis);
std::optional<Duration> micros_of_millis(double millis);

}  // namespace levada::formats
