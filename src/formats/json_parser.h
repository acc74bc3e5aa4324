// JSON to rows; see json() in levada/formats.h for what is read and what is refused.
//
// Threads: a parser belongs to one thread.
#pragma once

#include <memory>

#include "levada/formats.h"

namespace levada::formats {

/// Errors: FormatError naming the first field of `type` that JSON cannot hold.
std::unique_ptr<RecordParser> make_json_parser(const TypeInfo& type);

}  // namespace levada::formats
