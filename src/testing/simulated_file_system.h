// SimulatedFileSystem: files in memory that behave as badly as a real disk may. Content is durable
// after WritableFile::sync(), names after sync_directory(); crash() keeps a random part of
// everything else.
//
//   files.crash_at(17);                        // the 17th operation from now does not return
//   try { checkpoint(files); } catch (const SimulatedCrash&) {}
//   files.crash(seed);                         // what was not synced is partly gone; locks are
//   free recover(files);
//
// Threads:  from any thread; every operation is one critical section.
// Lifetime: files and locks opened before crash() fail afterwards.
// Failures: StateError as of the real one; SimulatedCrash, which is no std::exception, when it
// crashes.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "base/mutex.h"
#include "base/random.h"

namespace levada::testing {

/// Thrown by the operation at which the machine stopped and by all later ones until crash().
struct SimulatedCrash {};

/// What a power loss leaves of bytes and names that were not synced.
enum class PowerLoss {
  kNothing,   ///< all of them are gone
  kNames,     ///< the names are there, of files whose bytes are gone
  kAnyPart,   ///< bytes in part (torn, short, with holes of zeros), each name on its own, renames in part
};

/// The kinds of operations that faults can be asked for.
enum class FileOperation {
  kCreate,
  kOpen,
  kAppend,
  kSync,
  kRead,
  kList,
  kRename,
  kLink,
  kRemove,
  kSyncDirectory,
  kCreateDirectories,
  kLock,
};

class SimulatedFileSystem final : public FileSystem {
 public:
  SimulatedFileSystem();
  ~SimulatedFileSystem() override;

  // ---- faults

  /// Stops at the `nth` operation (from 1, counted from now) that changes anything, or never (0).
  /// An append that is stopped at may have written any first part of its bytes.
  void crash_at(std::uint64_t nth, std::uint64_t seed = 0);
  /// The power goes; then the machine is back. `seed` is for kAnyPart.
  void crash(std::uint64_t seed, PowerLoss loss = PowerLoss::kAnyPart);
  /// The process alone dies: nothing is lost but open files and locks.
  void kill();
  /// Operations so far that change anything: what crash_at() counts.
  std::uint64_t operations() const;
  /// The `nth` (from 1, counted from now) operation of that kind fails with `error_number` (EIO,
  /// ENOSPC, EROFS …). A failed append may have written a part; a failed sync drops what was not
  /// synced.
  void fail(FileOperation operation, std::uint64_t nth, int error_number);
  /// How many of the faults that were asked for did not happen yet.
  std::size_t faults_left() const;
  /// Forgets the faults that were asked for and did not happen yet.
  void clear_faults();
  /// Appends fail with ENOSPC once all files together hold more.
  void set_capacity_bytes(std::uint64_t bytes);
  /// Whether files can have a second name here; they can until it is said.
  void set_links(bool possible);

  // ---- damage and inspection

  /// Flips bit `bit` (0..7) of byte `at` of a file, as synced and as read.
  void flip_bit(const std::string& path, std::uint64_t at, unsigned bit);
  /// Cuts a file to its first `size` bytes.
  void truncate(const std::string& path, std::uint64_t size);
  /// Makes an existing directory writable for others, or owned by another user.
  void set_directory_access(const std::string& path, bool owned_by_us, bool others_may_write);
  /// All files, with their full paths, sorted.
  std::vector<std::string> all_files() const;

  // ---- FileSystem

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
  class OpenFile;
  class Lock;
  struct Inode;
  struct Directory;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace levada::testing
