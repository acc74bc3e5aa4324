// TaskSnapshot: the snapshot of one subtask on its way to its state file. The task puts what there is at the barrier,
// and goes on; the background queue scans the tables a little at a time, and writes what it captures and what rows
// capture meanwhile. Namespaces that have not changed since the snapshot of the newest committed checkpoint began are
// not captured: the state file refers to what has them.
//
// Threads:    of its task, except for the jobs on the background queue, which own what they use but for the tables: a
//             snapshot that ends waits until they have left those.
// Invariants: the background holds the blocks of one step, and of what rows captured one of each key group of the
//             namespaces that are not scanned; what waits for it is at most the whole state. All are charged.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/snapshot_result.h"
#include "checkpoint/state_file.h"
#include "checkpoint/state_layout.h"
#include "levada/memory.h"
#include "levada/state_backend.h"
#include "checkpoint/background.h"
#include "levada/detail/cold_queue.h"
#include "runtime/spare_buffers.h"

namespace levada {

/// What a snapshot leaves for the next ones to refer to. `layout` is written in the background before the
/// snapshot's `done` is called, and read only when the checkpoint is known to be committed.
struct SnapshotBase {
  const CheckpointId checkpoint;
  StateLayout layout;
};

class TaskSnapshot final {
 public:
  using Done = std::function<void(SnapshotResult)>;

  /// `base` is that of the newest committed checkpoint; null: there is none, everything is written.
  TaskSnapshot(CheckpointId checkpoint, std::shared_ptr<const SnapshotBase> base,
               std::unique_ptr<StateFileWriter> writer, BackgroundQueue& background,
               MemoryShare& memory, std::shared_ptr<SpareBuffers> spares, Done done);
  /// A checkpoint that is not started, or not captured, is not wanted any more: `done` is never called.
  ~TaskSnapshot();

  CheckpointId checkpoint() const noexcept { return checkpoint_; }
  /// For the result: how long inputs were held back for it, and how long the task stood still.
  void set_times(Duration aligned, Duration synchronous) noexcept;
  /// Takes the files of the cold tier, as it is behind all changes so far, into the checkpoint. Called once all
  /// tables have been put, in the same step.
  void put_cold(detail::ColdQueue& queue, std::shared_ptr<ColdFilesWriter> writer);
  /// What the next snapshots can refer to once this checkpoint is committed.
  std::shared_ptr<const SnapshotBase> as_base() const noexcept;
  /// Where the operator with state id `node` writes; valid until the next call.
  SnapshotContext& context(std::string_view node);
  /// Has the background go on: it scans the tables, writes everything, and calls `done`. Nothing more is put.
  void start();
  bool started() const noexcept { return started_; }
  /// Whether the background should leave the task the memory, for some time: rows wait.
  void give_way(bool rows_wait) noexcept;
  /// The tables are captured.
  bool captured() const noexcept;
  /// Ends the snapshots of the tables, and returns those. REQUIRES: captured().
  std::vector<StateTable*> end();

 private:
  class Writing;
  class Context;
  class Blocks;

  void put_table(StateTable& table);

  const CheckpointId checkpoint_;
  const std::shared_ptr<const SnapshotBase> base_;
  const std::shared_ptr<Writing> writing_;
  BackgroundQueue& background_;
  std::unique_ptr<Context> context_;
  std::string node_;
  std::vector<StateTable*> tables_;
  std::vector<std::unique_ptr<Blocks>> blocks_;  // of each
  bool started_ = false;
};

}  // namespace levada
