// TaskSnapshot: the snapshot of one subtask on its way to its state file. The task fills it between
// batches; everything that touches files happens on the background queue, in order. Namespaces that have not
// changed since the snapshot of the newest committed checkpoint began are not captured: the state file refers
// to what has them.
//
// Threads:  of its task, except for the jobs on the background queue, which own what they use. The buffers of
// written blocks come back from them, for this and for the next snapshots.
#pragma once

#include <atomic>
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
  ~TaskSnapshot();

  CheckpointId checkpoint() const noexcept { return checkpoint_; }
  /// For the result: how long inputs were held back for it, and how long the task stood still.
  void set_times(Duration aligned, Duration synchronous) noexcept {
    aligned_ = aligned;
    synchronous_ = synchronous;
  }
  /// Takes the files of the cold tier, as it is behind all changes so far, into the checkpoint. Called once all
  /// tables have been put, in the same step.
  void put_cold(detail::ColdQueue& queue, std::shared_ptr<ColdFilesWriter> writer);
  /// What the next snapshots can refer to once this checkpoint is committed.
  std::shared_ptr<const SnapshotBase> as_base() const noexcept;
  /// Where the operator with state id `node` writes; valid until the next call.
  SnapshotContext& context(std::string_view node);
  enum class Scan {
    kMore,           ///< a slice was captured, more is left
    kWaitingWriter,  ///< the background is behind: try again a little later
    kDone,           ///< everything is handed to the background, which will call `done`
  };
  /// Captures a slice of what is left, some 20 µs long.
  Scan scan();
  /// Those that were put. REQUIRES: scan() has returned kDone.
  std::vector<StateTable*> tables() const;
  /// The checkpoint is not wanted any more: `done` is never called.
  void abort();

 private:
  struct Writing;
  class Held;
  class Context;
  class Blocks;
  struct Kept {
    std::int64_t name_space;
    StateHandle file;
    std::uint64_t bytes;
  };

  void put_operator_state(std::string_view name, std::string_view bytes);
  void put_table(StateTable& table);
  void put_block(std::uint32_t table, StateBlock&& block);
  Held& held();
  void hand_over();
  void keep(std::uint32_t table, std::vector<Kept> kept);
  void submit(std::function<void(StateFileWriter&)> write);
  void finish();

  const CheckpointId checkpoint_;
  const std::shared_ptr<const SnapshotBase> base_;
  std::shared_ptr<Writing> writing_;
  BackgroundQueue& background_;
  MemoryShare& memory_;
  std::unique_ptr<Context> context_;
  std::string node_;
  struct Capturing {
    StateTable* table;
    std::unique_ptr<Blocks> blocks;
    bool done = false;
  };
  std::vector<Capturing> tables_;
  std::shared_ptr<Held> held_;  // not handed to the background yet; null: nothing is
  Duration aligned_{};
  Duration synchronous_{};
  bool finished_ = false;
};

}  // namespace levada
