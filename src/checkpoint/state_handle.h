// StateHandle: where a subtask's snapshot is.
//
// Threads:  plain data.
// Failures: StateError when bytes end too early.
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

/// The handle of a file with this content.
StateHandle handle_of(const ContentHash& hash, std::uint64_t length);

/// Length and hash, as manifests and state files have them:
///   content := length:u64 hash_high:u64 hash_low:u64
void put_content(Bytes& out, const StateHandle& state);
/// Takes them off the front; neither a name nor bytes yet.
StateHandle take_content(View& in);
/// The same of a file. The name is made, not read: nothing can point out of the state directory.
StateHandle take_file(View& in);

}  // namespace levada
