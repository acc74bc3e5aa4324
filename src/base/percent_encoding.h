// Job names and uids where they become part of a path or of an id.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace levada {

/// Keeps letters, digits, '_', '-' and '.' (but not as the first character); every other byte
/// becomes %XX. Different texts give different results; "", "." and ".." are never among them but
/// for "".
std::string percent_encode(std::string_view text);

}  // namespace levada
