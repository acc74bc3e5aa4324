// FileSystem: the only way to files. The real one is local_file_system(); tests hand in one that
// forgets what was not synced (testing/simulated_file_system.h).
//
// Threads:  a FileSystem from any thread; a file or lock from one at a time, a ReadableFile from
// any. Lifetime: files and locks must not outlive their FileSystem. Failures: StateError naming the
// operation, the path and the system's reason. Nothing is retried:
//           after a failed append() or sync() the file's content is unknown, and only remove() is
//           left.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "levada/bytes.h"

namespace levada {

/// A new file that is written from its start to its end.
class WritableFile {
 public:
  /// Closes without syncing.
  virtual ~WritableFile() = default;
  virtual void append(std::string_view bytes) = 0;
  /// Returns when the content survives a power loss (its name: sync_directory()).
  virtual void sync() = 0;
  /// Closes; nothing but the destructor may follow.
  virtual void close() = 0;
};

/// An open file that does not change.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  virtual std::uint64_t size() const = 0;
  /// Replaces `into` by bytes [offset, offset + count); StateError when the file is shorter.
  virtual void read(std::uint64_t offset, std::size_t count, Bytes& into) const = 0;
};

/// Holds an exclusive lock until it is destroyed or the process ends.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

struct FileStatus {
  bool is_directory = false;
  bool is_regular = false;        ///< false for a symbolic link: links are never followed
  bool owned_by_us = false;       ///< by the effective user
  bool others_may_write = false;  ///< the group or everybody
  std::uint64_t size = 0;
};

class FileSystem {
 public:
  /// As much as disks take at once, and more; they want multiples of their blocks, from such addresses.
  static constexpr std::size_t kLargeBytes = 1024 * 1024;
  static constexpr std::size_t kLargeAlignment = 4096;

  virtual ~FileSystem() = default;

  /// Creates a file (0600). Fails when anything has that name.
  virtual std::unique_ptr<WritableFile> create(const std::string& path) = 0;
  /// The same, but readable for others as far as the process's umask lets it: for output, not state.
  virtual std::unique_ptr<WritableFile> create_readable(const std::string& path) {
    return create(path);
  }
  /// Creates a file (0600) of which many megabytes are written, and not soon read: past the system's cache of files,
  /// where the file system can, so that nothing of the host's leaves that cache. append() may keep some of it until
  /// sync() or close(); kLargeBytes at a time, from an address that is a multiple of kLargeAlignment, it does not copy.
  virtual std::unique_ptr<WritableFile> create_large(const std::string& path) { return create(path); }
  /// Opens a regular file; follows no symbolic link in the last part of the path.
  virtual std::unique_ptr<ReadableFile> open(const std::string& path) = 0;
  /// What has that name; empty when nothing has.
  virtual std::optional<FileStatus> status(const std::string& path) = 0;
  /// The names in a directory, sorted, without "." and "..".
  virtual std::vector<std::string> list(const std::string& directory) = 0;
  /// Replaces what `to` named, atomically.
  virtual void rename(const std::string& from, const std::string& to) = 0;
  /// Gives the file `from` a second name; false when the two places cannot share a file: then copy it.
  virtual bool link(const std::string& from, const std::string& to) = 0;
  /// Removes a file.
  virtual void remove(const std::string& path) = 0;
  /// Removes a directory that is empty.
  virtual void remove_directory(const std::string& directory) = 0;
  /// Returns when creations, renames and removals in `directory` survive a power loss.
  virtual void sync_directory(const std::string& directory) = 0;
  /// Creates what of the path is missing (0700) and syncs the parents.
  virtual void create_directories(const std::string& directory) = 0;
  /// Bytes that an unprivileged user may still write there.
  virtual std::uint64_t free_bytes(const std::string& directory) = 0;
  /// Takes the exclusive lock on `path`, creating the file (0600); null when another holds it.
  virtual std::unique_ptr<FileLock> try_lock(const std::string& path) = 0;

  // ---- made of the above

  bool exists(const std::string& path) { return status(path).has_value(); }
  /// The size of a file; StateError when there is none.
  std::uint64_t size(const std::string& path);
  /// The whole content; StateError when it has more than `size_max` bytes.
  Bytes read_file(const std::string& path, std::uint64_t size_max = std::uint64_t{1} << 32);
};

/// The files of the machine.
FileSystem& local_file_system();

/// `directory` + "/" + `name`.
std::string join_path(std::string_view directory, std::string_view name);

}  // namespace levada
