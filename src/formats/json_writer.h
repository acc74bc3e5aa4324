// Rows to JSON: members in the order of the fields, no spaces; an empty std::optional is left out.
//
// Threads: a writer may be used from several threads.
#pragma once

#include <memory>

#include "levada/formats.h"

namespace levada::formats {

/// Errors: FormatError naming the first field of `type` that JSON cannot hold.
std::unique_ptr<RecordWriter> make_json_writer(const TypeInfo& type);

}  // namespace levada::formats
