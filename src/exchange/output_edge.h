// OutputEdge: the producing end of an edge: the channels from one subtask to all subtasks of the next
// chain, and the batches being filled for them.
//
// Threads:    of the producing task.
// Invariants: 1. A batch leaves when it is full, or at flush(): when its producer would otherwise wait,
//                when its oldest row has lingered, or before a control message.
//             2. Event time is pending until a batch leaves or flush(); it never overtakes a row.
//             3. A barrier or an end goes to all channels in the same call.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "exchange/channel.h"
#include "plan/physical_plan.h"

namespace levada {

class OutputEdge {
 public:
  struct End {
    Channel* channel;
    bool far = false;  ///< another thread than the writer's reads it
  };
  /// `ends[i]` leads to subtask i; for kForward there is only one. `first_target` spreads rebalance.
  OutputEdge(const PlanEdge& edge, int max_parallelism, const std::vector<End>& ends, std::size_t first_target);

  /// Takes rows [row, size) of `batch`; `row` moves on. False: a channel is full, call again later with
  /// the same arguments. May exchange `batch` for an empty one.
  bool write(BatchPtr& batch, std::size_t& row);
  /// Notes the event time of the rows so far.
  void set_time(const InputTime& time);
  /// Sends what is being filled and the pending time. False: a channel is full, call again later.
  bool flush();
  bool has_pending() const noexcept { return pending_; }
  /// Sends a control message to all channels. REQUIRES: flush() returned true and control_room().
  void push_control(Element::Kind kind, const Barrier& barrier);
  bool control_room() const noexcept;
  /// Asks all channels to wake the task when they have room.
  void await_room() noexcept;

  std::size_t output() const noexcept { return output_; }

 private:
  struct Target {
    Channel* channel;
    bool far;
    BatchPtr batch;          // being filled; null until needed
    InputTime sent;          // event time the consumer knows
    std::size_t copied = 0;  // kBroadcast: rows of the current batch already copied
    // kHash: of the current batch
    std::size_t count = 0;  // rows that are the target's
    std::size_t taken = 0;  // of those
  };

  bool write_whole(Target& target, BatchPtr& batch, std::size_t& row);
  bool write_hashed(BatchPtr& batch, std::size_t& row);
  bool write_broadcast(BatchPtr& batch, std::size_t& row);
  bool append(Target& target, Batch& from, std::size_t& row, bool copy);
  bool make_room(Target& target);
  bool send(Target& target);
  bool flush(Target& target);
  void split(Batch& batch);
  bool take_rows(Target& target, const std::uint16_t* rows, Batch& from);

  ExchangeKind kind_;
  std::size_t output_;
  std::uint32_t max_parallelism_;
  std::unique_ptr<detail::KeyHasher> hasher_;
  std::vector<Target> targets_;
  std::size_t next_target_;
  InputTime time_;
  bool pending_ = false;  // rows or time were taken that have not been sent
  std::vector<std::uint16_t> owner_of_group_;  // kHash: the target of each key group
  bool split_ = false;                          // the batch at hand
  std::vector<std::uint16_t> rows_of_targets_;  // its rows: for each target room for as many as a batch has
};

}  // namespace levada
