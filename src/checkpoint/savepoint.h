// Savepoints on disk. A savepoint is a directory of the user's with everything that a restore needs in it:
//
//   <path>/state/state-<hash>-<length>
//   <path>/manifest-<20-digit id>         its rename makes the savepoint exist
//
// so it is laid out like a job's directory (manifest_file.h), and CheckpointReader reads both. Nothing in it
// refers outside: it may be moved. State files are those of the checkpoint that it is made of, with a second
// name where the disk allows it, else copied; of subtasks with a cold tier they are written anew, without one.
//
// Threads:  of whoever calls; one at a time.
// Failures: StateError naming path and reason.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "checkpoint/canonical_state.h"
#include "checkpoint/manifest.h"

namespace levada {

/// Creates the directory of a savepoint to be; throws when it is there and not empty.
void prepare_savepoint(FileSystem& files, const std::string& path);
/// Makes the savepoint exist, whose state files are all there.
void commit_savepoint(FileSystem& files, const std::string& path, const Manifest& manifest);
/// Removes a savepoint, the manifest first, and its directories when nothing else is in them.
void remove_savepoint(FileSystem& files, const std::string& path, const Manifest& manifest);

/// Makes a savepoint of a checkpoint, a little with each step. Destroyed before it is complete, it takes away
/// what it has made.
class SavepointExport {
 public:
  /// `manifest` is the checkpoint's, whose files are in `state_path` and stay there meanwhile. None of its
  /// output waits to be published.
  SavepointExport(FileSystem& files, std::string state_path, Manifest manifest, std::string path,
                  ColdReading cold = {});
  ~SavepointExport();
  SavepointExport(const SavepointExport&) = delete;
  SavepointExport& operator=(const SavepointExport&) = delete;

  bool complete() const noexcept { return complete_; }
  const std::string& path() const noexcept { return path_; }
  /// Links or creates a file, or writes a part of one, or does the last step. Returns the bytes written.
  std::size_t step();

 private:
  struct Copy;
  void begin();
  bool take_next_subtask();
  std::size_t write_part();
  bool take_next_file();
  std::size_t copy_part();
  void finish_copy();
  void commit();
  void remove_all() noexcept;

  FileSystem& files_;
  const std::string from_;
  const std::string path_;
  const std::string state_path_;
  Manifest manifest_;
  const ColdReading cold_;
  std::shared_ptr<const RestoredCheckpoint> checkpoint_;
  std::size_t next_subtask_ = 0;              // whose state may have to be written anew
  std::unique_ptr<CanonicalState> canonical_;  // under way
  std::vector<StateHandle> wanted_;  // state files, the last one next
  std::vector<std::string> made_;    // paths
  std::unique_ptr<Copy> copy_;       // under way
  bool begun_ = false;
  bool complete_ = false;
};

}  // namespace levada
