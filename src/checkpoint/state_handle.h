// StateHandle: where a subtask's snapshot is.
//
// Threads: plain data.
#pragma once

#include <cstdint>
#include <string>

#include "levada/bytes.h"

#include "checkpoint/content_hash.h"

namespace levada {

/// A file of the state directory, or the bytes themselves.
struct StateHandle {
  std::string file;  ///< "state-<hash>-<length>"; empty: inline
  std::uint64_t length = 0;
  ContentHash hash;
  Bytes inline_bytes;
  bool is_inline() const noexcept { return file.empty(); }
  bool operator==(const StateHandle&) const = default;
};

/// The name that a state file with this content gets.
std::string state_file_name(const ContentHash& hash, std::uint64_t length);

}  // namespace levada
