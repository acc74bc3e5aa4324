// CheckpointReader: a checkpoint or a savepoint, opened by its path to be read. It takes no lock and changes
// nothing; a job may be running on the directory, whose sweep may then take a checkpoint's files away, which
// shows as a StateError. A savepoint is never swept.
//
//   const CheckpointReader reader(local_file_system(), path);
//   for (const NodeState& node : reader.manifest().nodes) …        // uid, name, parallelism
//   if (!reader.verified()) reader.verify();                       // every state file is as it was written
//   const auto checkpoint = reader.open();                         // reads the indexes of all state files
//   for (const RestoredCheckpoint::Subtask& subtask : checkpoint->subtasks())
//     for (const StateFileReader::Table& table : subtask.state->tables())
//       for (const StateFileReader::Block& block : table.blocks) subtask.state->read_block(block, bytes);
//   RestoredNodeState(*checkpoint, uid).read_table(table, 0, max_parallelism);   // kept namespaces included
//
// `path` is one of
//   a savepoint's directory
//   a job's directory in the checkpoint directory    its newest checkpoint that is whole
//   "<job's directory>/manifest-<20-digit id>"       that checkpoint: CheckpointStatus::path
//
// Threads:  immutable after construction. Lifetime: borrows the FileSystem; what open() gives does not
//           borrow the reader.
// Failures: StateError naming the path and what is wrong with it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/file_system.h"
#include "checkpoint/manifest.h"
#include "checkpoint/restore.h"

namespace levada {

class CheckpointReader {
 public:
  CheckpointReader(FileSystem& files, std::string_view path);

  const Manifest& manifest() const noexcept { return manifest_; }
  bool is_savepoint() const noexcept { return manifest_.savepoint; }
  /// The directory that holds the manifest, and where its state files are.
  const std::string& directory() const noexcept { return directory_; }
  const std::string& state_path() const noexcept { return state_path_; }

  /// To find it every state file has been read already: of a directory the newest whole one is looked for.
  bool verified() const noexcept { return verified_; }
  /// Reads every state file to its end and compares length and hash.
  void verify() const;
  std::shared_ptr<const RestoredCheckpoint> open() const;

 private:
  Manifest newest(std::string_view path) const;

  FileSystem& files_;
  std::string directory_;
  std::string state_path_;
  Manifest manifest_;
  bool verified_ = false;
};

}  // namespace levada
