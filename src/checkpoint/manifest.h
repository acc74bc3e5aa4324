// Manifest: the file that makes a checkpoint exist. It names the nodes of the job and, for every
// subtask of every chain, where its snapshot is.
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
  bool operator==(const SubtaskState&) const = default;
};

struct Manifest {
  std::string job_name;
  CheckpointId id = 0;
  CheckpointId previous = 0;  ///< the newest checkpoint when this one was committed; 0: none
  std::uint64_t incarnation = 0;
  std::uint32_t max_parallelism = 0;
  Timestamp created{};
  bool final = false;  ///< the job had reached the end of its input, or was stopped
  std::vector<NodeState> nodes;
  /// The subtasks of one chain stand together, in subtask order.
  std::vector<SubtaskState> subtasks;
  bool operator==(const Manifest&) const = default;
};

Bytes encode(const Manifest& manifest);
/// `file` is for messages.
Manifest decode_manifest(std::string_view bytes, const std::string& file);

}  // namespace levada
