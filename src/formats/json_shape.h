// What JSON can hold, asked once when a parser or writer is made.
//
// Threads: pure functions.
#pragma once

#include <cstddef>

#include "levada/type_info.h"

namespace levada::formats {

/// Fields of one struct, at most.
inline constexpr std::size_t kJsonFieldsMax = 256;

/// Errors: FormatError naming the first field of `type` that JSON cannot hold, or `type` itself if it
///         is not a described struct.
void check_json_shape(const TypeInfo& type);

}  // namespace levada::formats
