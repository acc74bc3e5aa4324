// The erased faces through which state is snapshotted and restored: checkpoints, restore and rescaling
// never know a key or value type, and the hot path never sees bytes.
//
// A snapshot never stops the task. After a barrier, begin_snapshot() flips the meaning of each entry's captured bit;
// the first write of an entry not yet captured appends its old value to a log (CapturedRows), a new entry is born
// captured, and meanwhile the thread that writes the blocks calls scan() until all entries are captured. A namespace
// that an earlier checkpoint has as it is now is kept, that is, neither captured nor written again, when the sink says
// so.
//
// Threads: a table belongs to its task, but for scan(). Keys and values are encoded by either, so two values must not
// share what one of them changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "levada/bytes.h"

namespace levada {

struct StateType;

/// Identifies a checkpoint: strictly increasing in a job's directory, never used twice.
using CheckpointId = std::uint64_t;

/// Entries of one table, namespace and key group, encoded one after the other.
struct StateBlock {
  std::int64_t name_space = 0;  ///< the table's own: a slice's end for windows, else 0
  std::uint32_t key_group = 0;
  std::uint32_t entries = 0;
  Bytes bytes;
  bool removed = false;  ///< keys only: those that the cold tier has and that are gone
};

/// Entries of one table and namespace that rows captured, in the order in which they did, of whatever key groups: the
/// way of a row has one place to write to. Each is a header, and so many bytes.
struct CapturedRows {
  static constexpr std::size_t kHeaderBytes = sizeof(std::uint64_t);
  struct Entry {
    std::uint32_t index;  ///< of its key group, from the first
    bool removed;         ///< as that of a block
    std::string_view bytes;
  };

  /// Of an entry, which has so many bytes with the header. There are at most 2^15 key groups.
  static void put_header(char* at, std::size_t bytes, std::size_t index, bool removed) {
    const std::uint64_t header = std::uint64_t{bytes - kHeaderBytes} << 16 | std::uint64_t{removed} << 15 | index;
    std::memcpy(at, &header, kHeaderBytes);
  }
  /// Takes the first entry of what is left.
  static Entry take(View& left);

  std::int64_t name_space = 0;
  std::uint32_t first_key_group = 0;
  Bytes bytes;
  bool last = false;  ///< rows capture nothing more of the namespace
};

/// Takes the blocks of one table's snapshot.
///
/// Threads: block(), captured() and spare() are called by the table's task and by who scans it; keep() by the task.
class BlockSink {
 public:
  virtual ~BlockSink() = default;
  virtual void block(StateBlock&& block) = 0;
  /// Makes blocks of them. A task's sink has other threads do so.
  virtual void captured(CapturedRows&& rows);
  /// A buffer for the next block, with the memory of one that is written already where there is such, and anything
  /// in it.
  virtual Bytes spare() { return {}; }
  /// True: the namespace is not wanted, the sink knows where it is. Asked by begin_snapshot() once for each
  /// namespace, ascending. `changed_after` is the newest checkpoint whose snapshot had begun when it was last
  /// changed; 0: none had.
  virtual bool keep(std::int64_t name_space, CheckpointId changed_after) {
    static_cast<void>(name_space), static_cast<void>(changed_after);
    return false;
  }
};

/// A block read back; `bytes` borrows.
struct RestoredBlock {
  std::int64_t name_space = 0;
  std::uint32_t key_group = 0;
  std::uint32_t entries = 0;
  View bytes;
  bool removed = false;  ///< keys only: those that are gone from what was restored of the cold tier
};

/// What a query asks of a keyed state.
class StateLookUp {
 public:
  virtual ~StateLookUp() = default;
  /// Unique in its operator, e.g. "windows"; part of the checkpoint.
  virtual std::string_view name() const = 0;
  /// Appends the value of a key, both encoded, as it is now; false when there is none.
  virtual bool find_value(std::int64_t name_space, std::uint64_t hash, View key, Bytes& value) = 0;
};

/// The erased face of keyed state in a typed table split by key group.
class StateTable : public StateLookUp {
 public:
  /// Key and value schema: "key -> value". State of another schema is restored where its entries can be made
  /// into those of this one, and else refused.
  virtual std::string schema() const = 0;
  /// The types of the schema's parts, in order. Where they are not given, values cannot have fields added.
  virtual std::vector<const StateType*> types() const { return {}; }
  virtual std::size_t entries() const = 0;
  virtual std::size_t memory_bytes() const = 0;

  /// Unless it says otherwise, a StateError: it cannot be queried.
  bool find_value(std::int64_t name_space, std::uint64_t hash, View key, Bytes& value) override;

  /// Starts capturing for `sink`, which stays valid until end_snapshot() or abort_snapshot().
  /// REQUIRES: no snapshot is under way; `checkpoint` is greater than those before.
  virtual void begin_snapshot(CheckpointId checkpoint, BlockSink& sink) = 0;
  /// Captures up to about `max_entries` more entries. True when all are captured and handed out.
  ///
  /// Threads: any one between begin_snapshot() and the end, while the task goes on with its rows.
  virtual bool scan(std::size_t max_entries) = 0;
  /// The snapshot is complete. REQUIRES: scan() has returned true.
  virtual void end_snapshot() = 0;
  /// Ends a snapshot that is not wanted any more; nothing more reaches its sink. REQUIRES: nobody is in scan().
  virtual void abort_snapshot() = 0;
  enum class Settled {
    kMore,     ///< a little was done, more is left
    kWaiting,  ///< something is on its way: try again a little later
    kDone,     ///< nothing is left
  };
  /// Between batches after a snapshot, when no row or timer is half done: does a little of what makes the next one
  /// small. Entries may leave memory.
  virtual Settled settle() { return Settled::kDone; }
  /// Adds the entries of a block; throws StateError on bytes that do not decode.
  virtual void restore(const RestoredBlock& block) = 0;
};

/// A state that a step will have, known before anything runs.
struct StateSpec {
  std::string name;
  bool keyed = false;    ///< else operator state
  /// As StateTable::schema(). Of operator state: that of its value, which its bytes then begin with (a length and
  /// the characters), or none when they are the operator's own.
  std::string schema{};
  std::vector<const StateType*> types{};  ///< as StateTable::types()
  bool paged = false;  ///< a cold tier may have parts of its values apart (detail/paged_map.h)
};

/// What an operator's snapshot() writes to, between two batches, while nothing is suspended.
class SnapshotContext {
 public:
  virtual ~SnapshotContext() = default;
  virtual CheckpointId checkpoint() const = 0;
  /// State of this subtask that belongs to no key (offsets, watermarks): small, copied now.
  virtual void put_operator_state(std::string_view name, std::string_view bytes) = 0;
  /// The same of a value whose schema `state` has: kept with it, so that it may change.
  void put_operator_value(const StateSpec& state, std::string_view encoded);
  /// Begins the snapshot of `table`; the engine scans it on meanwhile.
  virtual void put_table(StateTable& table) = 0;
};

/// What an operator's restore() reads from: its own node's state in the checkpoint, whatever the
/// parallelism was that wrote it.
class RestoredState {
 public:
  virtual ~RestoredState() = default;
  virtual CheckpointId checkpoint() const = 0;
  /// The operator states written under `name`, one of each old subtask that wrote one, in subtask order.
  virtual std::vector<View> operator_states(std::string_view name) const = 0;
  /// The encoded values that put_operator_value() wrote, in the same order, made into the schema of `state` where
  /// they were written under another. StateError when that cannot be, showing both schemas and what is to blame.
  std::vector<Bytes> operator_values(const StateSpec& state) const;
  /// Restores every block of `table` whose key group is in [first, last), made into the table's schema where
  /// it was written under another. StateError before a row is read when that cannot be, showing both schemas
  /// and what is to blame.
  virtual void read_table(StateTable& table, std::uint32_t first_key_group,
                          std::uint32_t last_key_group) const = 0;
};

}  // namespace levada
