// The one decision of exactly-once output: what the marker that a target was found at means, given the
// epochs that manifests name. Made when a job starts, and by a publisher after every doubt.
//
//   marker = the newest published      publish what comes after it
//   marker at another epoch we know    publish what comes after that one: the last answer was not heard,
//                                      or a failover lost the target's newest transactions
//   anything else                      refuse, and say what can be done
//
// Threads:  pure.
// Failures: JobError with code kFenced, kSinkAhead, kMarkerLost or kEpochLogLost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/epoch_log.h"
#include "levada/epoch_target.h"
#include "levada/time.h"

namespace levada {

/// What one shard has to publish for one manifest; never empty.
struct ShardEpoch {
  CheckpointId id = 0;
  std::vector<EpochSegment> segments;  ///< in the order of publishing
  SteadyTime since{};                  ///< when it was committed, or read back
  std::uint64_t bytes() const noexcept;
};

/// Everything manifests say about one shard.
struct ShardHistory {
  CheckpointId newest = 0;     ///< the newest manifest; 0: none
  CheckpointId published = 0;  ///< the newest epoch known to be published; 0: none
  CheckpointId base = 0;       ///< `epochs` has every epoch after this one, itself known to be one or 0
  std::vector<ShardEpoch> epochs;
  /// The job ended well and everything was published: a marker that is gone can be made again.
  bool clean = false;
  /// There are newer checkpoints, which were not restored: what they knew to be published is not known.
  bool newer_unread = false;
};

/// Where the marker of a generation ends when start `incarnation` begins another: past every checkpoint before,
/// and no checkpoint itself.
constexpr CheckpointId generation_end(std::uint64_t incarnation) { return incarnation << 32; }

/// May a marker be made that is not there?
bool may_create_marker(const ShardHistory& history);

/// The index in history.epochs of the first epoch to publish; epochs.size(): none. `target` and `sink` are
/// for messages.
std::size_t first_to_publish(const ShardHistory& history, const TargetAnswer& fenced,
                             const std::string& sink, const std::string& target);

}  // namespace levada
