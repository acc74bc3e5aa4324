#include "checkpoint/epoch_recovery.h"

#include <algorithm>

#include "levada/error.h"

#include "base/planted_bug.h"

namespace levada {
namespace {

[[noreturn]] void refuse(JobErrorCode code, const std::string& sink, const std::string& what) {
  throw JobError(code, sink, -1, what);
}

constexpr const char* kNewGeneration =
    "execute it with new_sink_generation, which begins anew under a new marker";

}  // namespace

std::uint64_t ShardEpoch::bytes() const noexcept {
  std::uint64_t sum = 0;
  for (const EpochSegment& segment : segments) sum += segment.bytes;
  return sum;
}

bool may_create_marker(const ShardHistory& history) {
  if (LEVADA_PLANTED("recovery.marker_made_anew")) return true;
  return !history.newer_unread && (history.published == 0 || history.clean);
}

std::size_t first_to_publish(const ShardHistory& history, const TargetAnswer& fenced,
                             const std::string& sink, const std::string& target) {
  if (fenced.status == TargetStatus::kFenced && history.newest == 0) {
    refuse(JobErrorCode::kSinkAhead, sink,
           "the marker in " + target + " says that epoch " + std::to_string(fenced.marker.epoch) +
               " was published by start " + std::to_string(fenced.marker.owner.incarnation) +
               " of a job of this name, but this checkpoint directory is new: the job's own is "
               "elsewhere or lost, or another job has its name. Start it from its own directory, give "
               "this one another name, or, if output may be there twice, " + kNewGeneration);
  }
  if (fenced.status == TargetStatus::kFenced) {
    refuse(JobErrorCode::kFenced, sink,
           "a later instance of this job publishes to " + target +
               "; this one has ended and published nothing more. If no other instance should run, "
               "start this one again from its own checkpoint directory");
  }
  if (fenced.status == TargetStatus::kMissing) {
    refuse(JobErrorCode::kMarkerLost, sink,
           "the marker in " + target + " is gone, although " +
               (history.newer_unread ? "a checkpoint after " + std::to_string(history.newest) +
                                           ", which is not restored, may know of output that"
                                     : "epoch " + std::to_string(history.published)) +
               " was published under it; nobody can tell what else was. Restore the marker (a backup "
               "of the target has it), or, if output may be there twice, " + kNewGeneration);
  }
  const CheckpointId marker = fenced.marker.epoch;
  const auto& epochs = history.epochs;
  if (marker > history.newest && marker == generation_end(marker >> 32)) {
    refuse(JobErrorCode::kSinkAhead, sink,
           "start " + std::to_string(marker >> 32) + " of this job began a new sink generation in " + target +
               ", and checkpoint " + std::to_string(history.newest) +
               " is older: going on would write the output since then a second time. Restore a checkpoint "
               "taken since, or, if output may be there twice, " + kNewGeneration);
  }
  if (marker > history.newest && !LEVADA_PLANTED("recovery.sink_ahead_is_done")) {
    refuse(JobErrorCode::kSinkAhead, sink,
           "the marker in " + target + " says that epoch " + std::to_string(marker) +
               " was published, but the newest checkpoint is " + std::to_string(history.newest) +
               ": going on would write the output since then a second time. Bring the checkpoint "
               "directory back that has epoch " + std::to_string(marker) +
               ", or, if output may be there twice, " + kNewGeneration);
  }
  if (marker < history.base) {
    refuse(JobErrorCode::kEpochLogLost, sink,
           "the marker in " + target + " went back to epoch " + std::to_string(marker) +
               " (a failover or a backup?), and the log has only what came after " +
               std::to_string(history.base) +
               ". Bring the target back to that epoch, or, if what came between may be missing, " +
               kNewGeneration);
  }
  const auto next = std::find_if(epochs.begin(), epochs.end(),
                                 [&](const ShardEpoch& epoch) { return epoch.id > marker; });
  auto index = static_cast<std::size_t>(next - epochs.begin());
  const bool known = marker == history.base || marker == history.published ||
                     (index > 0 && epochs[index - 1].id == marker);
  if (!known && !LEVADA_PLANTED("recovery.sink_ahead_is_done")) {
    refuse(JobErrorCode::kEpochLogLost, sink,
           "the marker in " + target + " is at epoch " + std::to_string(marker) +
               ", which is none of this job's: it was changed by somebody else. Put it right, or, if "
               "output may be there twice or be missing, " + kNewGeneration);
  }
  if (LEVADA_PLANTED("recovery.marker_epoch_again") && index > 0) --index;
  return index;
}

}  // namespace levada
