// RestoreReport: what a restore of a graph takes over from a checkpoint, and what not. The same decision that
// lets a job start, as data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "levada/state_backend.h"

namespace levada {

enum class RestoreVerdict : std::uint8_t {
  kRestored,  ///< as it was written
  kMigrated,  ///< its schema has changed; `details` says what becomes of the values
  kNew,       ///< not in the checkpoint: it begins empty
  kDropped,   ///< in the checkpoint and not in the graph; left behind because that was allowed
  kRefused,   ///< it cannot be restored: `details` says why
};
/// "restored", "migrated", ...
std::string_view to_string(RestoreVerdict verdict);

enum class RestoredKind : std::uint8_t { kCheckpoint, kKeyedState, kOperatorState, kSource, kSink };
/// "checkpoint", "keyed state", "operator state", "source", "sink"
std::string_view to_string(RestoredKind kind);

/// What becomes of one state, of the positions of one source, or of the output of one exactly-once sink.
struct RestoreItem {
  RestoredKind kind = RestoredKind::kKeyedState;
  std::string uid;    ///< of the step; empty where the checkpoint as a whole is meant
  std::string state;  ///< its name in the step; empty where the step has no more than one thing
  RestoreVerdict verdict = RestoreVerdict::kRestored;
  std::vector<std::string> details;
};

struct RestoreReport {
  CheckpointId checkpoint = 0;
  std::string job_name;  ///< of the job that wrote it
  bool savepoint = false;
  std::vector<RestoreItem> items;

  /// True when a restore would fail before a row is read.
  bool refused() const;
  /// One line an item, for people.
  std::string text() const;
};

}  // namespace levada
