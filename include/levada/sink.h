// The sink contract. It has two faces. At least once: a writer takes rows and buffers them; at a barrier
// and at the end the engine calls flush() until all rows are durable in the target. Exactly once: an
// encoder and a target, epoch_target.h. Which of the two runs is decided by the guarantee.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "levada/batch.h"
#include "levada/detail/key.h"
#include "levada/epoch_target.h"
#include "levada/operator.h"
#include "levada/time.h"

namespace levada {

/// What a sink promises for rows after a crash.
enum class Guarantee {
  kNone,         ///< rows may be lost or doubled
  kAtLeastOnce,  ///< no row is lost; rows since the last checkpoint may be written again
  kExactlyOnce,
};

/// Writes the rows of one subtask.
///
/// Threads: of its task; may block for the duration of one call to its server when the factory says so.
class SinkWriter {
 public:
  virtual ~SinkWriter() = default;
  /// Connects and checks the target; throws ConnectorError naming what is wrong, within 10 s.
  virtual void open(OperatorContext& context) { static_cast<void>(context); }
  /// Takes rows [first_row, size) and returns the next row; fewer than all when its buffer is full and
  /// the target does not take it now: called again at next_time().
  virtual std::size_t write(const Batch& batch, std::size_t first_row) = 0;
  /// One attempt to make everything written so far durable. False: not yet, call again at next_time().
  virtual bool flush() { return true; }
  /// When to call on_time(), or to try a suspended write or flush again.
  virtual SteadyTime next_time() const { return kNever; }
  /// Called at or after next_time() while nothing is suspended: flushes what has waited long enough.
  virtual void on_time(SteadyTime now) { static_cast<void>(now); }
  /// What a write or flush waits for ("PostgreSQL: connection refused"); empty otherwise.
  virtual std::string waiting_for() const { return {}; }
  virtual void close() {}
};

/// How a sink wants its epochs: published at once, or together when they are many or old enough.
struct PublishPace {
  std::uint64_t bytes = 0;  ///< publish when so much waits; 0: at once
  Duration delay{};         ///< or when the oldest has waited so long
};

/// The erased sink that a transformation holds.
///
/// Threads: while the graph is built and attempts are made from one at a time; make_target() and
///          make_encoder() from any.
class SinkFactory {
 public:
  virtual ~SinkFactory() = default;
  virtual std::unique_ptr<SinkWriter> make_writer() = 0;
  /// True when a call may wait for a server: its subtasks get threads of their own.
  virtual bool blocks() const { return false; }
  /// What this sink can promise at best (with checkpoints on).
  virtual Guarantee best_guarantee() const { return Guarantee::kAtLeastOnce; }
  /// What the user asked for; Guarantee omitted: the best it can do.
  virtual const Guarantee* wanted_guarantee() const { return nullptr; }
  /// Says which rows must meet in one subtask, so that no two write the same key; null: any may.
  virtual std::shared_ptr<const detail::KeyHasher> partitioning() const { return nullptr; }

  // ---- exactly once; only called when best_guarantee() says so

  /// One per subtask; called after a target's fence() succeeded in this process.
  virtual std::unique_ptr<EpochEncoder> make_encoder() { return nullptr; }
  /// One per shard.
  virtual std::unique_ptr<EpochTarget> make_target(const EpochTargetContext& context) {
    static_cast<void>(context);
    return nullptr;
  }
  /// How many publish side by side; fixed with the job's first checkpoint.
  virtual int shards() const { return 1; }
  virtual PublishPace pace() const { return {}; }
};

/// What a sink does: as wanted, else the best it can with checkpoints on or off.
Guarantee guarantee_of(const SinkFactory& sink, bool checkpoints);

/// A typed sink: what connectors return and sink_to takes. `T` is the row.
template <class T>
struct Sink {
  std::shared_ptr<SinkFactory> factory;
  std::string name;
};

/// The operator around a writer: rows in, nothing out; flushes before a barrier and at the end of input.
std::unique_ptr<Operator> make_sink_operator(std::unique_ptr<SinkWriter> writer);

}  // namespace levada
