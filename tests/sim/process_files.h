// ProcessFiles: the disk as one process of a simulation sees it. Several may be alive at a time, and each
// can die at any operation, hold or lose the lock, and read what is damaged. RetainedManifests watches all of
// them for the removal of a file that a retained manifest names.
//
// Threads:  one.
// Failures: StateError as of the file system beneath; SimulatedCrash from the operation at which the process
//           dies, once; StateError from everything that is done on its way down, which changes nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/manifest.h"
#include "testing/simulated_file_system.h"

namespace levada::testing {

/// What becomes of an operation.
enum class FileFate { kFine, kFails, kDiesBefore, kDiesAfter, kDamaged, kShort };

/// Decides; may run other processes before it returns.
class FileFates {
 public:
  virtual ~FileFates() = default;
  virtual FileFate fate(int process, FileOperation operation, const std::string& path) = 0;
  /// A number below `n`, for the details.
  virtual std::uint64_t draw(std::uint64_t n) = 0;
};

/// The manifests of one job directory that are known to have been committed.
class RetainedManifests {
 public:
  RetainedManifests(SimulatedFileSystem& disk, std::string directory, std::size_t retained)
      : disk_(disk), directory_(std::move(directory)), retained_(retained) {}

  void renamed(int process, const std::string& to);
  void synced(const std::string& directory);
  void removed(int process, const std::string& path);
  /// The process reads, or cannot read, whose the directory is. What it named last counts for it only when it could.
  void owner_read(int process, bool could);
  /// Everything as the disk has it after a crash.
  void read_again();

  /// The newest committed ones, newest first, as many as are retained; without those that do not count for a process.
  std::vector<const Manifest*> retained(int process = 0) const;
  /// Calls `f` with every manifest that is there.
  template <class F>
  void each(F&& f) const {
    for (const auto& [id, known] : known_) f(known.manifest);
  }
  /// The newest that is there and can be read; null: none.
  const Manifest* newest() const { return known_.empty() ? nullptr : &known_.rbegin()->second.manifest; }
  /// That of a checkpoint; null: it is not there.
  const Manifest* find(CheckpointId id) const;
  const std::string& directory() const noexcept { return directory_; }
  /// The rows of an epoch in one shard, as the manifests say that there are or were; empty: none had it.
  std::optional<std::uint64_t> rows_of(const std::string& sink, CheckpointId epoch, int shard) const;
  /// How many shards the sinks have together, as the manifest of an epoch says.
  std::size_t shards_at(CheckpointId epoch) const;
  std::uint64_t commits() const noexcept { return commits_; }
  /// Those that one process named and counts.
  std::uint64_t commits_of(int process) const;
  /// The newest that was committed, whether it is still there or not; 0: none.
  CheckpointId newest_committed() const noexcept { return newest_committed_; }
  /// Whether the manifest, or any that is there, names the file.
  bool names(const Manifest& manifest, const std::string& path) const;
  bool names(const std::string& path) const;
  /// The first removal of a file that a retained manifest names; empty: none.
  const std::string& violation() const noexcept { return violation_; }

 private:
  struct Known {
    Manifest manifest;
    int process = 0;       // that named it
    int overtaken_by = 0;  // which had taken the directory then, and does not count it; 0: nobody
    bool committed = false;
    bool in_doubt = false;  // for that process
    bool owner_read = false;
  };
  // An epoch of a sink: subtask and sealing checkpoint of its segments, and their records.
  struct Named {
    std::size_t shards = 1;
    std::map<std::pair<std::uint32_t, CheckpointId>, std::uint64_t> segments;
  };
  std::optional<Manifest> read(const std::string& path) const;

  SimulatedFileSystem& disk_;
  const std::string directory_;
  const std::size_t retained_;
  std::map<CheckpointId, Known> known_;
  std::map<std::pair<std::string, CheckpointId>, Named> named_;  // every epoch of a sink that ever was
  std::map<CheckpointId, std::size_t> shards_;                   // of every manifest that ever was
  std::map<int, std::uint64_t> commits_of_;
  int owner_ = 0;  // the process that took the directory last
  CheckpointId newest_committed_ = 0;
  std::uint64_t commits_ = 0;
  std::string violation_;
};

/// Who holds which lock; a lock may be lost without its holder's knowledge.
using HeldLocks = std::map<std::string, int>;

class ProcessFiles final : public FileSystem {
 public:
  ProcessFiles(int process, SimulatedFileSystem& disk, FileFates& fates, RetainedManifests& manifests,
               HeldLocks& locks)
      : process_(process), disk_(disk), fates_(fates), manifests_(manifests), locks_(locks) {}

  bool is_dead() const noexcept { return dead_; }
  /// From now on nothing that the process does has an effect.
  void die() noexcept { dead_ = true; }

  std::unique_ptr<WritableFile> create(const std::string& path) override;
  std::unique_ptr<ReadableFile> open(const std::string& path) override;
  std::optional<FileStatus> status(const std::string& path) override;
  std::vector<std::string> list(const std::string& directory) override;
  void rename(const std::string& from, const std::string& to) override;
  bool link(const std::string& from, const std::string& to) override;
  void remove(const std::string& path) override;
  void remove_directory(const std::string& directory) override;
  void sync_directory(const std::string& directory) override;
  void create_directories(const std::string& directory) override;
  std::uint64_t free_bytes(const std::string& directory) override;
  std::unique_ptr<FileLock> try_lock(const std::string& path) override;

 private:
  class File;
  class Damaged;
  class Lock;

  void require_alive() const;
  template <class Do>
  auto run(FileOperation operation, const std::string& path, Do&& f) const;

  const int process_;
  SimulatedFileSystem& disk_;
  FileFates& fates_;
  RetainedManifests& manifests_;
  HeldLocks& locks_;
  mutable bool dead_ = false;
};

}  // namespace levada::testing
