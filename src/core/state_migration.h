// StateMigration: whether state that was written under one schema can be read under another, what that
// changes, and the program that makes the old bytes into those that the typed code of today would have
// written. Both the restore and its dry run decide by plan_migration().
//
// Records are matched by the names of their fields: fields may be added (they begin with what T{} has),
// removed and put into another order; integers may grow wider within their signedness, or from unsigned to a
// wider signed; a T may become an optional<T>. That holds at any depth. Keys must be the same, for their hash
// decides where an entry belongs; so must types with a Serde of their own.
//
// Threads:  immutable after planning; any thread.
// Failures: transcode() throws StateError on bytes that do not have the written schema; what it makes is at
//           most as long as what is there, and once each default for each place where it belongs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "levada/bytes.h"
#include "levada/state_type.h"

namespace levada {

/// Makes entries of the written schema into entries of the wanted one.
class Transcoder {
 public:
  virtual ~Transcoder() = default;
  /// Appends `entries` entries to `out`; StateError when bytes are left over.
  virtual void transcode(View in, std::uint64_t entries, Bytes& out) const = 0;
};

struct StateMigration {
  /// Why it cannot be read, each with the path of what is to blame: "amount: int64 -> int32 narrows".
  std::vector<std::string> problems;
  /// What changes: "note: added". Empty when the schemas are the same.
  std::vector<std::string> changes;
  /// Null when the schemas are the same, or when it cannot be read.
  std::shared_ptr<const Transcoder> transcoder;

  bool refused() const noexcept { return !problems.empty(); }
};

/// Compares the schemas of state, "key -> value" or one of a single value. `types` are those of the wanted
/// schema's parts in order; where they are not given, no field can be added.
StateMigration plan_migration(std::string_view written, std::string_view wanted,
                              std::span<const StateType* const> types);

/// The words for state that cannot be read: both schemas and what is to blame.
std::string refusal_of(const std::string& written, const std::string& wanted,
                       const std::vector<std::string>& problems);

}  // namespace levada
