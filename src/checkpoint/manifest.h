// Manifest: the file that makes a checkpoint exist. It names the nodes of the job, for every subtask of
// every chain where its snapshot is and to which older files that refers, and for every exactly-once sink what
// is not published yet.
//
// Threads:  plain data.
// Failures: decode() throws StateError naming the file and what is wrong with it; its input may be
//           anything.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "levada/bytes.h"
#include "levada/state_backend.h"
#include "levada/time.h"

#include "checkpoint/epoch_log.h"
#include "checkpoint/state_file.h"

namespace levada {

/// A transformation with state, as it was when the checkpoint was taken.
struct NodeState {
  std::string uid;
  std::string name;  ///< for messages
  std::uint32_t parallelism = 1;
  bool operator==(const NodeState&) const = default;
};

/// The snapshot of one subtask of one chain.
struct SubtaskState {
  std::string chain;  ///< for messages: "source → filter"
  std::uint32_t subtask = 0;
  StateHandle state;
  std::vector<StateHandle> older = {};  ///< files that `state` refers to for what had not changed
  bool operator==(const SubtaskState&) const = default;
};

/// An epoch of a sink: the segments sealed since the manifest before, those of checkpoints that were given
/// up included; without those that their shard had already published.
struct SinkEpoch {
  CheckpointId id = 0;  ///< of its manifest
  std::vector<EpochSegment> segments;  ///< by subtask, then in the order of sealing
  bool operator==(const SinkEpoch&) const = default;
};

/// An exactly-once sink. Shard s publishes the segments of the subtasks i with i mod shards = s.
struct SinkState {
  std::string uid;
  std::string name;              ///< for messages
  std::uint64_t generation = 0;  ///< 0: the first
  /// Of each shard the newest epoch known to be published; 0: none.
  std::vector<CheckpointId> published;
  std::vector<SinkEpoch> epochs;  ///< not published by all shards, oldest first
  bool operator==(const SinkState&) const = default;
};

struct Manifest {
  std::string job_name;
  CheckpointId id = 0;
  CheckpointId previous = 0;  ///< the newest checkpoint when this one was committed; 0: none
  std::uint64_t incarnation = 0;
  std::uint32_t max_parallelism = 0;
  Timestamp created{};
  bool final = false;  ///< the job had reached the end of its input, or was stopped
  /// It belongs to the user, in a directory of its own; all output before it was published.
  bool savepoint = false;
  std::vector<NodeState> nodes;
  /// The subtasks of one chain stand together, in subtask order.
  std::vector<SubtaskState> subtasks;
  std::vector<SinkState> sinks;  ///< those that are exactly once
  bool operator==(const Manifest&) const = default;
};

Bytes encode(const Manifest& manifest);
/// `file` is for messages.
Manifest decode_manifest(std::string_view bytes, const std::string& file);

}  // namespace levada
