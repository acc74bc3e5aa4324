// append_json: a value in bytes as JSON text, by its schema alone.
//
// Numbers are numbers (NaN and infinities strings), an empty optional is null, tuples are lists, maps are lists of
// [key, value], times are ISO-8601 text as far as years have four digits and else microseconds, durations are
// numbers of their own unit. Bytes in strings that are not UTF-8 become U+FFFD.
//
// Threads:  pure.
// Failures: StateError where the bytes end early, or at a type that only its own Serde can read.
#pragma once

#include <string>

#include "levada/bytes.h"

#include "core/schema.h"

namespace levada {

/// Takes one encoding off the front.
void append_json(const Schema& schema, View& in, std::string& out);
/// Appends a JSON string.
void append_json_text(std::string_view text, std::string& out);

}  // namespace levada
