// PendingSavepoint: a savepoint from when its checkpoint is complete until its directory is: first the output
// before it is published, then the background makes the directory.
//
// States:   waits for output → started → done.
// Threads:  of the job's control; what runs in the background owns what it uses.
// Lifetime: destroyed before it is done, the directory is taken away again.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/file_system.h"
#include "checkpoint/background.h"
#include "checkpoint/canonical_state.h"
#include "checkpoint/manifest.h"
#include "levada/clock.h"
#include "runtime/checkpoint_requests.h"

namespace levada {

class PendingSavepoint {
 public:
  /// `manifest` and `status` are those of the checkpoint.
  PendingSavepoint(CheckpointRequests::Ticket ticket, Manifest manifest, CheckpointStatus status,
                   SteadyTime publish_by);
  ~PendingSavepoint();
  PendingSavepoint(const PendingSavepoint&) = delete;
  PendingSavepoint& operator=(const PendingSavepoint&) = delete;

  const CheckpointRequests::Ticket& ticket() const noexcept { return ticket_; }
  CheckpointId checkpoint() const noexcept { return status_.id; }
  const CheckpointStatus& status() const noexcept { return status_; }
  bool waits_for_output() const noexcept { return making_ == nullptr; }
  /// The job ends with it.
  bool stops() const noexcept { return publish_by_ == kNever; }
  /// When the output has to be published at the latest.
  SteadyTime publish_by() const noexcept { return publish_by_; }
  /// What to note the published output in. REQUIRES: waits_for_output().
  Manifest& manifest() noexcept { return manifest_; }
  /// The output is published. `done` is called when done() becomes true, from the background.
  void start(FileSystem& files, const std::string& state_path, ColdReading cold, BackgroundQueue& background,
             std::function<void()> done);
  bool done() const noexcept;
  /// Why it failed; empty: it is there. REQUIRES: done().
  std::string error() const;

 private:
  struct Making;

  const CheckpointRequests::Ticket ticket_;
  Manifest manifest_;
  const CheckpointStatus status_;
  const SteadyTime publish_by_;
  std::shared_ptr<Making> making_;
};

}  // namespace levada
