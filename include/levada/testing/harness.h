// OperatorHarness: one step of a graph alone, without threads, clock or disk: push rows and watermarks,
// look at what comes out, take a snapshot, go on from it with another number of subtasks.
//
//   levada::testing::OperatorHarness<Order, Total> harness(
//       [](levada::DataStream<Order> orders) { return totals_of(orders); }, {.parallelism = 2});
//   harness.push({"ann", 5}, Timestamp{1s});
//   const auto snapshot = harness.snapshot();
//   harness.restore(snapshot, 3);
//   harness.watermark(Timestamp{10s});
//   EXPECT_THAT(harness.take(), testing::ElementsAre(Total{"ann", 5}));
//
// The subtasks are real operators with the key groups they would have in a job; a snapshot is written and
// read back in the format of checkpoints.
//
// Threads:  one.
// Failures: what the operator throws comes out of the call that made it throw; after that only restore()
//           and the destructor may be called. std::logic_error for a wrong use of the harness, or when the
//           operator breaks the contract of operator.h.
// Source:   after Flink's KeyedOneInputStreamOperatorTestHarness.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/data_stream.h"
#include "levada/job.h"
#include "levada/memory.h"
#include "levada/time.h"

namespace levada::testing {

struct HarnessOptions {
  int parallelism = 1;
  int max_parallelism = 128;
  /// Rows pushed one after the other reach the operator in batches of up to so many; its output has
  /// batches of as many rows. With 1 every row is handed on at once.
  int batch_rows = 1;
  std::size_t memory = 64_MiB;
  Timestamp now{};  ///< the wall-clock time at the start
};

/// A row that came out, with its event time.
template <class T>
struct Timed {
  T row;
  Timestamp time;
  bool operator==(const Timed&) const = default;
};

/// The state of a step at one moment; outlives the harness it came from.
class HarnessSnapshot {
 public:
  struct Contents;
  explicit HarnessSnapshot(std::shared_ptr<const Contents> contents)
      : contents_(std::move(contents)) {}

  CheckpointId checkpoint() const;
  /// Entries of keyed state in it, over all subtasks and tables.
  std::size_t entries() const;
  const Contents& contents() const { return *contents_; }

 private:
  std::shared_ptr<const Contents> contents_;
};

}  // namespace levada::testing

namespace levada::detail {

/// The harness without its row types.
class HarnessCore {
 public:
  HarnessCore(const std::vector<const BatchType*>& inputs, testing::HarnessOptions options);
  ~HarnessCore();

  /// Where the step is to be built.
  const std::shared_ptr<LogicalGraph>& graph() const noexcept;
  OutputRef input(std::size_t index) const noexcept;
  /// Starts the subtasks of the one step that was added to the graph.
  void start();

  /// A batch of one row of an input, to be assigned before push_row().
  Batch& row(std::size_t input) noexcept;
  void push_row(std::size_t input, Timestamp time);
  void push_time(const InputTime& time);
  void push_end();
  void advance_clock(Duration by);
  void begin_snapshot();
  testing::HarnessSnapshot finish_snapshot();
  void abort_snapshot();
  void committed(CheckpointId checkpoint);
  void restore(const testing::HarnessSnapshot& snapshot, int parallelism);
  /// Hands all rows of an output over and forgets them; the empty tag is the main output.
  void take(std::string_view tag, const std::function<void(Batch&)>& f);
  InputTime time() const noexcept;
  bool waiting() const;
  NodeStatus status() const;
  const MemoryBudget& memory() const noexcept;
  const std::vector<std::string>& logged() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levada::detail

namespace levada::testing {

/// What the harnesses have in common.
template <class Out>
class Harness {
 public:
  /// Event time has come to `time`, on all subtasks. Never goes back.
  void watermark(Timestamp time) { core_.push_time({time, false}); }
  /// The input has gone idle.
  void idle() { core_.push_time({core_.time().watermark, true}); }
  /// Ends the input: the last watermark, then the end.
  void end_of_input() {
    core_.push_time({kMaxWatermark, false});
    core_.push_end();
  }
  /// Moves the clock at once and lets the operator do what is due by then.
  void advance_clock(Duration by) { core_.advance_clock(by); }

  /// The rows that came out since the last call.
  std::vector<Out> take()
    requires(!std::is_void_v<Out>)
  {
    return rows_of<Out>({});
  }
  /// The same with their event times.
  auto take_timed()
    requires(!std::is_void_v<Out>)
  {
    std::vector<Timed<Out>> all;
    core_.take({}, [&](Batch& batch) {
      for (std::size_t i = 0; i < batch.size(); ++i) {
        all.push_back({std::move(batch.template rows<Out>()[i]), batch.times()[i]});
      }
    });
    return all;
  }
  /// The rows that came out to a side output since the last call.
  template <class S>
  std::vector<S> take(const OutputTag<S>& tag) {
    return rows_of<S>(tag.name);
  }

  /// Takes a barrier to all subtasks and captures their state.
  ///
  /// Errors: std::logic_error when a subtask waits and the barrier cannot pass.
  HarnessSnapshot snapshot() {
    begin_snapshot();
    return finish_snapshot();
  }
  /// The two halves of snapshot(): what is pushed between them runs while the state is being captured,
  /// and is not part of it.
  void begin_snapshot() { core_.begin_snapshot(); }
  HarnessSnapshot finish_snapshot() { return core_.finish_snapshot(); }
  /// Gives the snapshot that was begun up.
  void abort_snapshot() { core_.abort_snapshot(); }
  /// The checkpoint of which `snapshot` is a part is complete.
  void committed(const HarnessSnapshot& snapshot) { core_.committed(snapshot.checkpoint()); }
  /// Drops the subtasks, as a crash would, with what was not taken yet; starts `parallelism` new ones from
  /// `snapshot`. Event time begins anew.
  void restore(const HarnessSnapshot& snapshot, int parallelism) {
    core_.restore(snapshot, parallelism);
  }

  /// True while a subtask has something to do that it cannot: it waits for its server or a time.
  bool waiting() const { return core_.waiting(); }
  /// Counters, watermark, and what it waits for, summed over the subtasks.
  NodeStatus status() const { return core_.status(); }
  const MemoryBudget& memory() const { return core_.memory(); }
  /// What the operator wrote to the log.
  const std::vector<std::string>& logged() const { return core_.logged(); }

 protected:
  Harness(const std::vector<const BatchType*>& inputs, HarnessOptions options)
      : core_(inputs, options) {}

  template <class In>
  DataStream<In> stream(std::size_t input) const {
    return DataStream<In>(core_.graph(), core_.input(input));
  }
  template <class Built, class... S>
  void start(const Built& built, OutputTag<S>... tags) {
    if constexpr (std::is_void_v<Out>) {
      static_assert(std::is_same_v<Built, SinkHandle>, "OperatorHarness<In>: the step is no sink");
    } else {
      static_assert(std::is_same_v<Built, DataStream<Out>>,
                    "OperatorHarness<In, Out>: the step does not make rows of type Out");
      (static_cast<void>(built.side_output(tags)), ...);
    }
    core_.start();
  }
  template <class In>
  void push_to(std::size_t input, In row, Timestamp time) {
    core_.row(input).template rows<In>()[0] = std::move(row);
    core_.push_row(input, time);
  }

 private:
  template <class R>
  std::vector<R> rows_of(std::string_view tag) {
    std::vector<R> all;
    core_.take(tag, [&](Batch& batch) {
      R* rows = batch.template rows<R>();
      std::move(rows, rows + batch.size(), std::back_inserter(all));
    });
    return all;
  }

  levada::detail::HarnessCore core_;
};

/// `In` is the row that the step takes, `Out` the one it makes; void for a sink.
template <class In, class Out = void>
class OperatorHarness : public Harness<Out> {
 public:
  /// `step(DataStream<In>)` adds one step and returns its DataStream<Out>, or the SinkHandle of a sink.
  /// `tags` name the side outputs that take(tag) will read.
  ///
  /// Errors: GraphError with what is wrong with the step; std::logic_error when it is not exactly one.
  template <class F, class... S>
  explicit OperatorHarness(F step, HarnessOptions options = {}, OutputTag<S>... tags)
      : Harness<Out>({&batch_type<In>()}, options) {
    this->start(step(this->template stream<In>(0)), tags...);
  }

  /// Hands a row to the subtask that owns its key, or to the subtasks in turn.
  void push(In row, Timestamp time = kNoTimestamp) { this->push_to(0, std::move(row), time); }
};

/// The harness of a step with two inputs; event time is that of both, merged.
template <class Left, class Right, class Out>
class TwoInputHarness : public Harness<Out> {
 public:
  /// `step(DataStream<Left>, DataStream<Right>)` adds one step. Else as OperatorHarness.
  template <class F, class... S>
  explicit TwoInputHarness(F step, HarnessOptions options = {}, OutputTag<S>... tags)
      : Harness<Out>({&batch_type<Left>(), &batch_type<Right>()}, options) {
    this->start(step(this->template stream<Left>(0), this->template stream<Right>(1)), tags...);
  }

  /// Hands a row to the subtask that owns its key, to all when it is broadcast, or to the subtasks in turn.
  void push_left(Left row, Timestamp time = kNoTimestamp) { this->push_to(0, std::move(row), time); }
  void push_right(Right row, Timestamp time = kNoTimestamp) { this->push_to(1, std::move(row), time); }
};

}  // namespace levada::testing
