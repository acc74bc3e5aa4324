// throw_file_error: how every FileSystem words its errors.
//
// Threads: pure.
#pragma once

#include <string_view>

namespace levada {

/// Throws StateError "cannot <operation> '<path>': <the system's words for error_number>".
[[noreturn]] void throw_file_error(std::string_view operation, std::string_view path,
                                   int error_number);

}  // namespace levada
