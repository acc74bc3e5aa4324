// RestoredCheckpoint: an opened checkpoint, read by every task of a new attempt at once.
// RestoredNodeState: what one node finds in it, whatever the parallelism was that wrote it.
//
// Threads:  both immutable after construction; read from any thread.
// Lifetime: a RestoredNodeState borrows its RestoredCheckpoint, which borrows the FileSystem.
// Failures: StateError naming file and damage, or node, table and both schemas.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "levada/operator.h"
#include "levada/state_backend.h"

#include "base/file_system.h"
#include "checkpoint/manifest.h"
#include "checkpoint/state_file.h"
#include "core/state_migration.h"

namespace levada {

/// Where the checkpoint that a start of a job begins with comes from.
enum class RestoreOrigin {
  kOwn,        ///< the job's own directory, or nowhere: a fresh start
  kElsewhere,  ///< a savepoint, or a checkpoint in another directory, of a job of this name
  kOtherJob,   ///< a job of another name: its markers are not ours, so exactly-once sinks begin anew
};

/// A block of a table, and the file that has both: a subtask's own or an older one.
using BlockVisitor = std::function<void(const StateFileReader&, const StateFileReader::Table&,
                                        const StateFileReader::Block&)>;

class RestoredCheckpoint {
 public:
  /// The snapshot of one subtask.
  struct Subtask {
    std::shared_ptr<const StateFileReader> state;
    std::vector<std::shared_ptr<const StateFileReader>> older;  ///< in the order of state->older_files()
    std::shared_ptr<const RestoredColdImage> cold;              ///< null: all of its state is in these

    /// Calls f for every block of a table, those in older files too.
    void each_block(std::string_view node, std::string_view table, const BlockVisitor& f) const;

   private:
    void each_kept_block(const StateFileReader::Table& written, const BlockVisitor& f) const;
  };

  /// Opens the snapshot of every subtask, and once each older file that they refer to, and reads the indexes.
  RestoredCheckpoint(FileSystem& files, const std::string& state_directory, Manifest manifest);

  const Manifest& manifest() const noexcept { return manifest_; }
  /// In the manifest's order.
  const std::vector<Subtask>& subtasks() const noexcept { return subtasks_; }
  /// The node as it was, or null when the checkpoint has no such uid.
  const NodeState* node(std::string_view uid) const noexcept;

 private:
  Manifest manifest_;
  std::vector<Subtask> subtasks_;
};

/// How entries of a table written under one schema are read under another; StateError where they cannot be, showing
/// both and what is to blame.
StateMigration require_migration(const std::pair<std::string, std::string>& node_and_table, CheckpointId checkpoint,
                                 const std::string& written, const std::string& wanted,
                                 const std::vector<const StateType*>& types);

class RestoredNodeState final : public RestoredState {
 public:
  RestoredNodeState(const RestoredCheckpoint& checkpoint, std::string uid);

  CheckpointId checkpoint() const override;
  std::vector<View> operator_states(std::string_view name) const override;
  void read_table(StateTable& table, std::uint32_t first_key_group,
                  std::uint32_t last_key_group) const override;

 private:
  bool reads(const StateFileReader::Table& written, std::string_view table) const {
    return written.node == uid_ && written.name == table;
  }

  using Migrations = std::map<std::string, StateMigration, std::less<>>;  // by the schema written
  Migrations plan(const StateTable& table) const;
  void plan(const StateFileReader& file, const StateTable& table, Migrations& into) const;

  const RestoredCheckpoint& checkpoint_;
  std::string uid_;
};

}  // namespace levada
