// The exactly-once face of a sink. The rows between two checkpoints, an epoch, are encoded into records
// and appended to a log that belongs to the checkpoint; once the checkpoint is complete the records are
// published in the target, together with a marker that says which epoch came last.
//
// A sink brings three things, made by its SinkFactory:
//   EpochEncoder   turns the rows of a batch into records; one per subtask
//   EpochTarget    claims, reads and publishes; one per shard. A database whose rows can be locked
//                  implements MarkerDatabase instead, and gets its target from make_marker_target()
//   what its records mean: the engine never looks into their bodies
//
// The contract of a target:
// 1. The marker changes in the same atomic step in which the records become visible, and in no other.
// 2. After fence() returned kDone no other instance of the job publishes: not one that started before,
//    and nothing that this one sent before on another connection.
// 3. An answer other than kDone and kUnknown means that nothing of the call is visible, now or later.
// 4. A call may block for its server, for a time that is bounded. It is never retried inside: the
//    publisher decides by the marker.
//
// Threads:  of its publisher; interrupt() from any.
// Failures: the answer's status. ConnectorError only from fence(), for what trying again cannot mend
//           (a missing table); StateError passes through from the records.
// Source:   src/checkpoint/epoch_publisher.h has the protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "levada/batch.h"
#include "levada/bytes.h"
#include "levada/clock.h"
#include "levada/log.h"
#include "levada/state_backend.h"

namespace levada {

class FileSystem;
struct OperatorContext;

// ---- records

/// What a sink's encoder writes: records one after the other, framed as the log stores them.
///
/// Threads: one at a time.
class EpochRecordBuffer {
 public:
  /// More does not fit into one record.
  static constexpr std::size_t kRecordBytesMax = std::size_t{1} << 30;
  /// What a record takes beyond its body.
  static constexpr std::size_t kFrameBytes = 9;

  /// Begins a record; its body is what is appended to body() until end(). `kind` is the sink's own.
  Bytes& begin(std::uint8_t kind);
  Bytes& body() noexcept { return bytes_; }
  /// Ends the record. Throws ConnectorError, not retryable, when it is too large; it is dropped then.
  void end();
  /// Drops the record that was begun and not ended, if any.
  void cancel() noexcept;

  std::uint64_t records() const noexcept { return records_; }
  std::size_t size_bytes() const noexcept { return bytes_.size(); }
  /// The framed records; the buffer is empty afterwards.
  Bytes take();

 private:
  static constexpr std::size_t kNone = ~std::size_t{0};

  Bytes bytes_;
  std::size_t begun_at_ = kNone;
  std::uint64_t records_ = 0;
};

/// A record read back; `body` is valid until the next one is read.
struct EpochRecord {
  CheckpointId epoch = 0;  ///< of those published together, the one it belongs to
  std::uint8_t kind = 0;
  std::string_view body;
};

/// The records that are to be published, in their order.
class EpochRecords {
 public:
  virtual ~EpochRecords() = default;
  /// Reads the next record; false after the last one, when everything is known to be whole. A target
  /// must have seen false before it commits. Throws StateError for a log that is damaged.
  virtual bool next(EpochRecord& record) = 0;
  virtual std::uint64_t count() const = 0;
  virtual std::uint64_t size_bytes() const = 0;
};

/// Encodes rows. What cannot be published must be refused here, before it is part of a checkpoint.
///
/// Threads: of its task; never blocks.
class EpochEncoder {
 public:
  virtual ~EpochEncoder() = default;
  /// Appends the records of rows [first_row, batch.size()); may stop early when the buffer holds
  /// `bytes_wanted`, and returns the next row.
  virtual std::size_t encode(const Batch& batch, std::size_t first_row, std::size_t bytes_wanted,
                             EpochRecordBuffer& out) = 0;
  /// What a reader of the records must agree with: columns, format. Part of every segment of the log; a
  /// target refuses a log whose schema is not its own.
  virtual std::string schema() const = 0;
};

// ---- the target

/// Who publishes: grows with every start of the job; `owner` tells apart two that were started from
/// copies of one directory.
struct EpochOwner {
  std::uint64_t incarnation = 0;
  std::uint64_t owner = 0;
  bool operator==(const EpochOwner&) const = default;
};

/// What the target remembers of a shard.
struct EpochMarker {
  CheckpointId epoch = 0;  ///< the last one published; 0: none yet
  EpochOwner owner;
  bool operator==(const EpochMarker&) const = default;
};

enum class TargetStatus {
  kDone,         ///< claimed, or published
  kAlreadyThere, ///< publish: the marker is at that epoch or later; nothing was done
  kGap,          ///< publish: the marker is not at `previous`; nothing was done
  kMissing,      ///< there is no marker, and none may be made
  kFenced,       ///< the marker belongs to a later owner
  kUnknown,      ///< publish: it may have been done
  kConflict,     ///< another transaction was in the way: worth trying again at once
  kLocked,       ///< somebody holds the marker: nothing is known until he lets go
  kUnavailable,  ///< the server is away or short of something
  kRefused,      ///< the target will never take it as it is
};
/// "done", "already there", …
std::string_view to_string(TargetStatus status);

struct TargetAnswer {
  TargetStatus status = TargetStatus::kDone;
  std::string reason;  ///< what went wrong or is waited for; for people
  EpochMarker marker;  ///< fence: as it was found, also when fenced; publish: where known
  bool created = false;  ///< fence: the marker was not there and has been made
};

struct FenceRequest {
  EpochOwner self;
  /// Whether a marker that is not there may be made, and the epoch that it then gets.
  bool may_create = true;
  CheckpointId initial = 0;
};

struct PublishRequest {
  EpochOwner self;
  CheckpointId previous = 0;  ///< where the marker must be
  CheckpointId epoch = 0;     ///< where it goes
  EpochRecords* records = nullptr;
};

class EpochTarget {
 public:
  virtual ~EpochTarget() = default;
  /// What it is, for messages: "PostgreSQL table public.totals".
  virtual std::string name() const = 0;
  /// The encoder's schema that it understands; known once fence() succeeded.
  virtual std::string schema() const = 0;
  /// Checks the target, takes the shard over and reads its marker, waiting for what may still change it.
  /// An owner of the same incarnation may claim its own shard again, and does so after every doubt.
  virtual TargetAnswer fence(const FenceRequest& request) = 0;
  virtual TargetAnswer publish(const PublishRequest& request) = 0;
  /// Drops the connection: after a doubt nothing of it is used again.
  virtual void disconnect() noexcept {}
  /// Makes a call under way return soon; called from any thread, also when there is none.
  virtual void interrupt() noexcept {}
};

/// What a target is made for.
struct EpochTargetContext {
  std::string job;
  std::string sink;  ///< uid, and the generation if there is one; with job and shard the marker's name
  int shard = 0;
  const Clock* clock = nullptr;
  FileSystem* files = nullptr;
  std::function<void(LogLevel, std::string_view)> log;
};

// ---- databases with rows that can be locked

/// What a database call failed with. `status` is one of kUnavailable, kConflict, kLocked, kRefused.
class TargetError final : public std::runtime_error {
 public:
  TargetError(TargetStatus status, const std::string& what)
      : std::runtime_error(what), status_(status) {}
  TargetStatus status() const noexcept { return status_; }

 private:
  TargetStatus status_;
};

/// One transaction, READ COMMITTED. Destroyed without commit(), or after an error, it is rolled back.
class MarkerTransaction {
 public:
  virtual ~MarkerTransaction() = default;
  struct Claimed {
    EpochMarker marker;  ///< as it was
    bool created = false;
  };
  /// In one statement: makes the marker at `initial` when there is none, else takes it over if its owner
  /// is `self` or of an earlier incarnation; else empty. Waits for whoever holds the row.
  virtual std::optional<Claimed> claim(const EpochOwner& self, CheckpointId initial) = 0;
  /// Reads the marker, locking its row (`lock`) or not; empty when there is none.
  virtual std::optional<EpochMarker> read(bool lock) = 0;
  /// Writes all records.
  virtual void write(EpochRecords& records) = 0;
  /// Moves the marker of `self` from `previous` to `epoch`; false when no such row was changed.
  virtual bool advance(const EpochOwner& self, CheckpointId previous, CheckpointId epoch,
                       std::uint64_t rows) = 0;
  virtual void commit() = 0;
};

/// A database that keeps the marker as a row. Everything throws TargetError.
class MarkerDatabase {
 public:
  virtual ~MarkerDatabase() = default;
  virtual std::string name() const = 0;
  virtual std::string schema() const = 0;
  /// Connects if there is no connection, checks the table if it was not yet (ConnectorError when it will
  /// not do), and begins a transaction.
  virtual std::unique_ptr<MarkerTransaction> begin() = 0;
  virtual void disconnect() noexcept = 0;
  virtual void interrupt() noexcept {}
};

/// The target that publishes in one transaction of `database`: the marker's row is locked first, the
/// records are written, the marker is moved, all is committed.
std::unique_ptr<EpochTarget> make_marker_target(std::unique_ptr<MarkerDatabase> database);

}  // namespace levada
