// JobRestore: what the attempts of a job begin with: the newest checkpoint of its own that verifies, or the one
// that its start was given, until it has taken one itself.
//
// Threads:  of the job's control.
// Lifetime: borrows what it is made of.
// Failures: StateError naming path and reason; what a source throws when it looks for its splits.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/log.h"
#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/job_directory.h"
#include "checkpoint/restore.h"
#include "levada/clock.h"
#include "levada/options.h"
#include "levada/source.h"
#include "operators/source_operator.h"
#include "plan/physical_plan.h"

namespace levada::detail {

class JobRestore {
 public:
  struct Parts {
    const std::string& job;
    const PhysicalPlan& plan;
    const EnvironmentOptions& options;
    const ExecuteOptions& execute;
    FileSystem& files;
    const Clock& clock;
    Log& log;
  };
  explicit JobRestore(const Parts& parts) : parts_(parts) {}

  /// Opens the job's directory and takes its lock; null without checkpoints.
  std::unique_ptr<JobDirectory> open_directory();
  /// What the next attempt begins with, checked as check_restore() does; null: nothing. `directory` may be null.
  std::shared_ptr<const RestoredCheckpoint> restore(JobDirectory* directory);
  /// Where the checkpoint that this start began with came from.
  RestoreOrigin origin() const noexcept { return origin_; }
  /// The manifests in which output may wait to be published, the one restored last.
  std::vector<Manifest> manifests_to_recover(JobDirectory& directory, const Manifest* restored) const;
  /// What was restored cannot be used after all. False: there is no other checkpoint to restore.
  bool set_aside(JobDirectory& directory, const RestoredCheckpoint& restored) const;
  /// The splits of each source, by its node: restored ones keep their positions, new ones start where the
  /// source says.
  std::map<int, std::vector<SplitState>> discover_splits(const RestoredCheckpoint* restored) const;
  /// What the manifests of an attempt have in common. REQUIRES: the job takes checkpoints.
  Manifest manifest_template(JobDirectory& directory, const RestoredCheckpoint* restored) const;

  /// A savepoint that this start owns.
  struct Claimed {
    std::string path;
    Manifest manifest;
  };
  /// That which it was told to claim, once.
  std::optional<Claimed> take_claimed() noexcept { return std::exchange(claimed_, std::nullopt); }

 private:
  std::shared_ptr<const RestoredCheckpoint> restore_own(JobDirectory& directory) const;
  std::shared_ptr<const RestoredCheckpoint> open_own(JobDirectory& directory, Manifest manifest) const;
  std::shared_ptr<const RestoredCheckpoint> restore_path(JobDirectory* directory);
  std::shared_ptr<const RestoredCheckpoint> checked(std::shared_ptr<const RestoredCheckpoint> restored,
                                                    RestoreOrigin origin) const;
  std::vector<SplitState> splits_of(int node, const RestoredCheckpoint* restored) const;

  const Parts parts_;
  RestoreOrigin origin_ = RestoreOrigin::kOwn;
  std::unique_ptr<const CheckpointReader> given_;  // of the path to begin with, until the first attempt does
  std::string own_;  // what it led to, if that is ours: others may come there until the next attempt
  std::optional<Claimed> claimed_;
};

}  // namespace levada::detail
