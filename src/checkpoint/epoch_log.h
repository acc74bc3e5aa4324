// The epoch log: what the subtasks of exactly-once sinks wrote between two checkpoints, one file, a
// segment, for each subtask and epoch. EpochLogWriter appends and seals; EpochSegmentReader reads one
// back and accepts nothing that is not whole; EpochLogRecords reads several as one sequence.
//
// Invariants:
// 1. A segment gets its name when it is sealed: content synced, renamed, directory synced; and only then
//    it is reported. What a crash leaves of others has a temporary name that nobody ever reads.
// 2. Bytes leave in few large writes, on the background queue, in the order in which they were appended.
// 3. A segment without records is never made.
//
// Threads:  a writer of its task; its file belongs to the background queue. A reader of one thread.
// Lifetime: what a writer has submitted outlives it and touches only what it owns, the FileSystem and
//           the memory share. A writer destroyed before seal() leaves no file.
// Failures: writing: StateError from written() and seal() after the background met one; nothing of the
//           epoch can be trusted then, the attempt has to end. Reading: StateError naming file and
//           damage; lengths are checked before anything is allocated.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "checkpoint/background.h"
#include "checkpoint/content_hash.h"
#include "levada/epoch_target.h"
#include "levada/memory.h"

namespace levada {

/// A sealed segment, as the manifest knows it.
struct EpochSegment {
  std::uint32_t subtask = 0;
  CheckpointId epoch = 0;  ///< of the barrier that sealed it, whether that checkpoint was committed or not
  std::uint64_t bytes = 0;
  std::uint64_t records = 0;
  ContentHash hash;
  bool operator==(const EpochSegment&) const = default;
};

/// "<20 digits of the epoch>.log".
std::string segment_file_name(CheckpointId epoch);

class EpochLogWriter {
 public:
  struct Parts {
    FileSystem* files = nullptr;
    BackgroundQueue* background = nullptr;
    MemoryShare* memory = nullptr;
    std::string directory;       ///< of the subtask's segments; made when the first is
    std::string temporary_name;  ///< unique in the directory; a number is appended
    std::string sink;
    std::string schema;
    std::uint32_t subtask = 0;
    /// Called on the background queue, before anything submitted after seal() runs.
    std::function<void(const EpochSegment&)> sealed;
    /// Called there when a segment cannot be written: nothing that comes after it may be committed.
    std::function<void(const std::string& why)> failed;
    /// Called with the bytes that have been appended since the last call, on the task's thread.
    std::function<void(std::uint64_t bytes)> appended;
  };

  explicit EpochLogWriter(Parts parts);
  ~EpochLogWriter();
  EpochLogWriter(const EpochLogWriter&) = delete;
  EpochLogWriter& operator=(const EpochLogWriter&) = delete;

  /// How large the buffer may grow before written() is called.
  static constexpr std::size_t kWriteBytes = 512 * 1024;

  /// False while the background is too far behind: then nothing should be appended.
  bool has_room() const noexcept;
  EpochRecordBuffer& buffer() noexcept { return buffer_; }
  /// Throws when something of it could not be written.
  void check() const;
  /// Call after appending: hands a large buffer to the background.
  void written();
  /// Hands over what is left, and asks for the segment to be finished as that of `checkpoint`.
  void seal(CheckpointId checkpoint);

 private:
  struct Trouble;
  struct Writing;

  void hand_over();

  Parts parts_;
  EpochRecordBuffer buffer_;
  std::uint64_t records_ = 0;      // of the segment, handed over
  std::uint64_t counted_ = 0;      // bytes of the buffer that appended() knows
  std::uint64_t next_number_ = 0;  // of the temporary name
  const std::shared_ptr<Trouble> trouble_;  // of every segment so far
  std::shared_ptr<Writing> writing_;  // the segment under way; null: it has no bytes yet
};

class EpochSegmentReader {
 public:
  /// Opens the segment and checks its head and length.
  EpochSegmentReader(FileSystem& files, std::string path, std::string_view sink,
                     const EpochSegment& expected);

  /// Reads the next record; false after the last one, when footer, count and hash have been compared.
  bool next(EpochRecord& record);
  const std::string& schema() const noexcept { return schema_; }

 private:
  bool fill(std::size_t wanted);
  void need(std::size_t wanted);
  void read_head(std::string_view sink);
  void check_footer();
  [[noreturn]] void throw_damaged(std::string_view what) const;

  std::string path_;
  EpochSegment expected_;
  std::unique_ptr<ReadableFile> file_;
  std::string schema_;
  ContentHasher hasher_;
  Bytes buffer_;
  std::size_t at_ = 0;           // in the buffer
  std::uint64_t read_bytes_ = 0;  // of the file, into the buffer
  std::uint64_t records_ = 0;
  bool ended_ = false;
};

/// Segments of several epochs as one sequence. next() throws ConnectorError, not retryable, for rows of another
/// schema.
class EpochLogRecords final : public EpochRecords {
 public:
  struct Part {
    CheckpointId epoch = 0;  ///< of the manifest to which the segment belongs
    EpochSegment segment;
    std::string path;
  };
  /// `schema`: the one that every segment must have.
  EpochLogRecords(FileSystem& files, std::string sink, std::string schema, std::vector<Part> parts);

  bool next(EpochRecord& record) override;
  std::uint64_t count() const override { return count_; }
  std::uint64_t size_bytes() const override { return bytes_; }

 private:
  void open_next();

  FileSystem& files_;
  std::string sink_;
  std::string schema_;
  std::vector<Part> parts_;
  std::size_t at_ = 0;  // parts opened
  std::unique_ptr<EpochSegmentReader> reader_;
  std::uint64_t count_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace levada
