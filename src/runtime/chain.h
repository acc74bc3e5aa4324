// Chain: the operators of a subtask that run as one, driven by a loop instead of recursion. Each stage
// has a queue of what it still has to do; the last stage with work runs first, so rows leave before new
// ones enter; where the end of the chain is full, everything stays as it is and goes on later.
//
// Threads:    of its task.
// Invariants: 1. Work enters only an idle chain.
//             2. Rows, times, barriers and ends pass every stage in the order in which they entered.
//             3. A barrier leaves on all edges in one call, after every row before it; then, with
//                nothing suspended anywhere, the listener takes the snapshot.
//             4. A batch goes back where it came from: to its channel, its source, or the stage before.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "exchange/input_gate.h"
#include "exchange/output_edge.h"
#include "levada/operator.h"

namespace levada {

/// What a chain tells its task.
class ChainListener {
 public:
  virtual ~ChainListener() = default;
  /// A barrier has left; nothing is suspended: snapshot now.
  virtual void barrier_passed(const Barrier& barrier) = 0;
  /// The end of all inputs has left.
  virtual void end_passed() = 0;
};

/// An operator of a chain with what belongs to it.
struct ChainStage {
  ChainStage(std::unique_ptr<Operator> op_in, std::unique_ptr<detail::KeyHasher> hasher_in,
             Output out_in, std::string state_id_in)
      : op(std::move(op_in)),
        hasher(std::move(hasher_in)),
        out(std::move(out_in)),
        state_id(std::move(state_id_in)) {}

  std::unique_ptr<Operator> op;
  std::unique_ptr<detail::KeyHasher> hasher;  ///< runs on input batches; null: not needed
  Output out;
  std::string state_id;
  OperatorContext context;
  OperatorCounters counters;
};

class Chain {
 public:
  enum class Result {
    kProgress,        ///< did something; drive again
    kIdle,            ///< nothing to do
    kWaitingOutput,   ///< an edge is full
    kWaitingOutside,  ///< an operator waits for a server or a time
  };

  /// `head_inputs`: how many inputs the first stage has.
  Chain(std::vector<std::unique_ptr<ChainStage>> stages, std::vector<std::unique_ptr<OutputEdge>> edges,
        std::size_t head_inputs, ChainListener& listener);

  // ---- work enters; REQUIRES: idle()
  /// A batch that goes back to `from`, or to `source` when that is null.
  void push_batch(std::size_t input, BatchPtr batch, Channel* from, Output* source);
  void push_time(const InputTime& time);
  void push_end(std::size_t input);
  void push_barrier(const Barrier& barrier);
  /// Lets every stage whose next_time() has come do what is due.
  void push_due(SteadyTime now);
  void push_completions();

  bool idle() const noexcept;
  Result drive();
  /// Sends partly filled batches; false when an edge is full.
  bool flush_edges();
  bool edges_pending() const noexcept;
  void await_room() noexcept;
  /// The earliest time a stage wants to be called at.
  SteadyTime next_time() const;
  std::string waiting_for() const;
  std::vector<std::unique_ptr<ChainStage>>& stages() noexcept { return stages_; }
  /// The stage whose operator was being called, when one threw.
  const ChainStage* running() const noexcept { return running_; }
  void set_running(const ChainStage* stage) noexcept { running_ = stage; }

 private:
  enum class Kind { kBatch, kTime, kEnd, kBarrier, kDue, kCompletion };
  struct Item {
    Kind kind = Kind::kTime;
    std::size_t input = 0;
    BatchPtr batch;
    std::size_t row = 0;
    Channel* channel = nullptr;  // where the batch goes back to, or
    Output* output = nullptr;
    OutputEdge* edge = nullptr;  // in the tail: where the batch goes
    InputTime time;
    Barrier barrier;
    SteadyTime due = kNever;
  };
  using Queue = std::deque<Item>;
  enum class Step { kDone, kSuspended, kStuck };

  void enter(Item item);
  bool run_stage(std::size_t stage);
  Step run_batch(ChainStage& stage, Item& item);
  Step run_control(ChainStage& stage, Item& item, bool& forward);
  bool collect(std::size_t stage);
  void collect_output(std::size_t stage, Output& out, std::size_t index, bool& emitted);
  void to_tail(BatchPtr batch, Output& from, std::size_t output_index);
  bool drain_tail();
  bool drain_tail_item(Item& item);
  static void give_back(Item& item);

  std::vector<std::unique_ptr<ChainStage>> stages_;
  std::vector<std::unique_ptr<OutputEdge>> edges_;
  std::vector<Queue> queues_;  // one per stage
  Queue tail_;
  std::size_t inputs_left_;
  const ChainStage* running_ = nullptr;
  ChainListener& listener_;
};

}  // namespace levada
