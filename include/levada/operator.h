// Operator: the running code of a transformation, one instance per subtask. Output: where it emits.
//
// The kinds: a source operator has no input and polls; stateless ones (map, filter, flat_map) keep
// nothing between calls; keyed ones fold rows into tables by key; a window operator fires when time
// advances; a sink operator has no output. All have this one face, called once per batch, never per row.
//
// The contract:
// 1. All calls come from one thread at a time: the one that steps the task.
// 2. Every call that can emit is resumable. It stops early when the output is full, says how far it
//    came, and is called again with the same arguments once the output has room. A shape that makes many
//    rows of one asks out.full() after each row; one row's own output may overshoot, nothing else.
// 3. A call that stops early although the output is not full waits for the outside: it is called again
//    at next_time() or after the context's wake() was called. waiting_for() says what for.
// 4. Nothing else of the operator is called while a call is suspended, except next_time(),
//    waiting_for() and close().
// 5. No call waits for another subtask or blocks, except in operators that declared to the graph that
//    they may block; those have a thread of their own.
// 6. Operators never see a barrier: the task calls before_barrier() until done, then snapshot().
//
// A new operator: a transformation, the operator in src/operators (or its typed body in detail/), the
// typed method of at most 15 lines, a definition in tests/model/oracle.h, a unit test with the harness
// that restores at another parallelism, and a line in README.md.
// Source: the contract follows Velox's Operator and Arroyo's operator trait, made resumable.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "levada/batch.h"
#include "levada/clock.h"
#include "levada/log.h"
#include "levada/memory.h"
#include "levada/state_backend.h"
#include "levada/time.h"

namespace levada {

namespace detail {
class ColdQueue;
}

/// The event time of an operator's inputs, merged.
struct InputTime {
  /// No later row has a time <= it. Never goes back.
  Timestamp watermark = kMinWatermark;
  /// All inputs are idle: they do not hold back anybody's watermark.
  bool idle = false;
  bool operator==(const InputTime&) const = default;
};

/// Half-open range of key groups.
struct KeyGroupRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  bool operator==(const KeyGroupRange&) const = default;
};

/// Where a job's own counters live: single writer, any reader.
///
/// Threads: add() only from the owning task, value() from any.
class Counter {
 public:
  void add(std::uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Counters of one node's subtask.
struct OperatorCounters {
  Counter rows_in;
  Counter rows_out;
  Counter late_rows;           ///< too late and with no side output to go to
  Counter bad_records;         ///< skipped because they did not parse
  Counter side_output_unread;  ///< emitted to a side output that nobody reads
};

/// What an operator knows of its surroundings; valid from open() to close().
struct OperatorContext {
  std::string node;  ///< the uid, or the name when there is none: for messages
  int subtask = 0;
  int parallelism = 1;
  int max_parallelism = 128;
  KeyGroupRange key_groups;
  std::size_t batch_rows = 1024;
  bool checkpoints = false;  ///< committed() will be called, so effects can wait for it
  CheckpointId restored_checkpoint = 0;  ///< 0: a fresh start; known before restore() is called
  const Clock* clock = nullptr;
  MemoryBudget* memory = nullptr;
  detail::ColdQueue* cold = nullptr;  ///< null: keyed state is in memory alone
  std::string state_id;               ///< under which its state is in checkpoints
  /// Keyed state leaves for cold tiers when memory is wanted: what is kept in memory beside it may take more
  /// than is free just now.
  bool evicting = false;
  OperatorCounters* counters = nullptr;
  std::function<void(LogLevel, std::string_view)> log;  ///< prefixes the node itself
  /// Makes the task step again soon; callable from any thread, also after the job has ended.
  std::function<void()> wake;
};

/// Where an operator emits: the batch being filled, and full ones waiting to be taken by the chain.
///
/// Threads: of its task.
class Output {
 public:
  /// `type` null: a sink's; nothing is ever emitted to it. `tag` names a side output.
  Output(const BatchType* type, std::size_t batch_rows, std::string tag = {})
      : type_(type), batch_rows_(batch_rows), tag_(std::move(tag)) {}
  Output(Output&&) = default;

  /// True when the operator should stop and be resumed later.
  bool full() const noexcept { return !sealed_.empty() || (current_ && current_->full()); }

  /// The batch being filled; has room unless full(). For loops that write many rows at once.
  Batch& batch() {
    if (!current_) current_ = take_spare();
    return *current_;
  }

  /// Appends a row with event time `time` and returns it, to be assigned: its old value is that of a
  /// recycled row. Overshooting a full batch is allowed (contract 2).
  template <class R>
  R& next(Timestamp time) {
    if (!current_ || current_->full()) seal();
    Batch& batch = *current_;
    const std::size_t at = batch.size();
    batch.times()[at] = time;
    batch.set_size(at + 1);
    return batch.template rows<R>()[at];
  }

  /// Appends row `row` of `from`, a batch of this output's type, with its time, by moving its value.
  /// May overshoot like next().
  void move_row(Batch& from, std::size_t row);

  /// Emits all rows of `batch` at once by exchanging it with the (empty) batch being filled, which the
  /// caller gets instead. False, and nothing done, when rows are already waiting here or types differ.
  bool swap(BatchPtr& batch) {
    if (!can_swap(*batch)) return false;
    current_.swap(batch);
    return true;
  }
  bool can_swap(const Batch& batch) {
    if (!sealed_.empty() || type_ != &batch.type()) return false;
    if (!current_) current_ = take_spare();
    return current_->empty() && current_->capacity() == batch.capacity();
  }

  /// The side output with this index, in the order in which the transformation declared them.
  Output& side(std::size_t index) { return sides_[index]; }
  /// The side output with this tag; null when nobody reads it.
  Output* find_side(std::string_view tag) {
    for (Output& side : sides_) {
      if (side.tag_ == tag) return &side;
    }
    return nullptr;
  }

  // ---- the chain's face

  const BatchType* type() const noexcept { return type_; }
  std::vector<Output>& sides() noexcept { return sides_; }
  bool empty() const noexcept { return sealed_.empty() && (!current_ || current_->empty()); }
  /// Takes the oldest batch with rows; null when there is none.
  BatchPtr take();
  /// An empty batch of this output's type, to be recycled here.
  BatchPtr take_empty() { return take_spare(); }
  /// Gives an empty batch back for reuse.
  void recycle(BatchPtr batch);

 private:
  BatchPtr take_spare();
  void seal();

  const BatchType* type_;
  std::size_t batch_rows_;
  std::string tag_;
  BatchPtr current_;
  std::vector<BatchPtr> sealed_;
  std::vector<BatchPtr> spares_;
  std::vector<Output> sides_;
};

class Operator {
 public:
  virtual ~Operator() = default;

  /// Called once, before anything else; may throw what the environment or user code throws.
  virtual void open(OperatorContext& context) { static_cast<void>(context); }
  /// Called at most once, after open() and before any row.
  virtual void restore(const RestoredState& state) { static_cast<void>(state); }

  /// Takes rows [first_row, batch->size()) of `input`; returns the next row to be called with:
  /// batch->size() when all are done. May exchange `batch` by Output::swap.
  virtual std::size_t process(std::size_t input, BatchPtr& batch, std::size_t first_row,
                              Output& out) = 0;
  /// Event time moved to `time`. True when all that this makes due is emitted; the engine then passes
  /// the time on.
  virtual bool advance(const InputTime& time, Output& out) {
    static_cast<void>(time), static_cast<void>(out);
    return true;
  }
  /// Called at or after next_time(). True when everything due by `now` is done.
  virtual bool on_time(SteadyTime now, Output& out) {
    static_cast<void>(now), static_cast<void>(out);
    return true;
  }
  /// When the operator wants to be called again; kNever when it does not.
  virtual SteadyTime next_time() const { return kNever; }
  /// Called after wake(). True when all completed results are emitted.
  virtual bool on_completion(Output& out) {
    static_cast<void>(out);
    return true;
  }
  /// Empties what must not cross a barrier (a sink's buffer, local pre-aggregation).
  virtual bool before_barrier(Output& out) {
    static_cast<void>(out);
    return true;
  }
  /// Writes its state; never called while anything is suspended.
  virtual void snapshot(SnapshotContext& context) { static_cast<void>(context); }
  virtual void committed(CheckpointId checkpoint) { static_cast<void>(checkpoint); }
  virtual void aborted(CheckpointId checkpoint) { static_cast<void>(checkpoint); }
  /// All rows of `input` have come (its watermark is kMaxWatermark by then). True when done.
  virtual bool end_of_input(std::size_t input, Output& out) {
    static_cast<void>(input), static_cast<void>(out);
    return true;
  }
  /// Called once at the end of the task, also after a failure; releases what open() acquired.
  virtual void close() {}

  /// The keyed state of that name, for queries between any two calls; null when there is none.
  virtual StateLookUp* state_look_up(std::string_view name) {
    static_cast<void>(name);
    return nullptr;
  }

  /// What a suspended call waits for, such as "PostgreSQL: connection refused"; empty when nothing.
  /// Part of the job's status.
  virtual std::string waiting_for() const { return {}; }
};

}  // namespace levada
