// EpochPublisher: publishes the committed epochs of one shard of one sink, in order, all that wait in one
// transaction of the target up to 64 MiB; less while such a transaction fails, for it may be too long for the
// target. It has no thread: step() is called by one of the executor's, for it blocks, or by the simulation.
//
// States:      fencing → ready ⇄ (publishing) → … ; every doubt leads back to fencing; failed. The first
//              fencing also retires the markers of earlier generations, and reads through what waits in the
//              log. Nothing is published before release().
// Invariants:  1. Only epochs of committed manifests get here: committed() is called after the manifest's
//                 directory is synced.
//              2. The marker decides, nothing else: after an answer that is not plain success the
//                 connection is dropped, the shard fenced again, and the marker read.
//              3. No epoch of an incarnation is published before all shards of the sink have published
//                 those of earlier ones: with each start the parallelism may be another, and a key may
//                 have moved to another shard.
//              4. A history is kept of everything a retained manifest still names, so that a marker that
//                 went back (a failover) is caught up with.
// Threads:     step() from one at a time; the rest from any.
// Failures:    failure() becomes set and stays: a JobError, a ConnectorError of a target that refuses, or a StateError
//              of a directory that does not say whose it is.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "base/random.h"
#include "checkpoint/epoch_recovery.h"
#include "exchange/channel.h"
#include "levada/clock.h"
#include "levada/error.h"
#include "levada/sink.h"

namespace levada {

/// How far the shards of one sink are, for invariant 3. What a shard knew before another one got a new
/// connection may be wrong: between the two the target may have lost its newest transactions. So a shard
/// that had a doubt and has fenced again asks the others to do the same, and until then their epochs are
/// not known.
///
/// Threads: from any.
class ShardOrder {
 public:
  explicit ShardOrder(std::size_t shards) : shards_(shards) {}
  /// `epoch` is the first that the shard has not published. Ignored while it has not answered.
  void set(std::size_t shard, CheckpointId epoch);
  /// Nothing waits in the shard.
  void set_idle(std::size_t shard) { set(shard, ~CheckpointId{0}); }
  bool may_publish(CheckpointId epoch) const;

  void set_waker(std::size_t shard, Waker* waker);
  /// Asks all shards but this one to fence again.
  void ask_others(std::size_t shard);
  /// How often the shard was asked, and whether it still owes an answer.
  std::uint64_t asked(std::size_t shard) const;
  bool owes_answer(std::size_t shard) const;
  /// It has fenced after it was asked for the `asked`th time.
  void answer(std::size_t shard, std::uint64_t asked);

 private:
  struct Shard {
    CheckpointId first_waiting = 0;  // 0: not known
    std::uint64_t asked = 0;
    std::uint64_t answered = 0;
    Waker* waker = nullptr;
  };
  mutable Mutex mutex_;
  std::vector<Shard> shards_ LEVADA_GUARDED_BY(mutex_);
};

class EpochPublisher {
 public:
  struct Parts {
    std::string node;  ///< of the sink, for messages
    int shard = 0;
    std::string sink;  ///< as in the heads of segments
    std::unique_ptr<EpochTarget> target;
    /// Markers of earlier generations, under which nobody is to publish any more.
    std::vector<std::unique_ptr<EpochTarget>> predecessors;
    EpochOwner self;
    /// Throws when a later start of the job has taken its directory over; before markers are retired.
    std::function<void()> require_owned;
    ShardHistory history;
    PublishPace pace;
    std::shared_ptr<ShardOrder> order;
    FileSystem* files = nullptr;
    std::function<std::string(const EpochSegment&)> path;
    const Clock* clock = nullptr;
    Log* log = nullptr;
    /// Called from step() when something changed that the job's control wants to see.
    std::function<void()> changed;
    std::uint64_t seed = 0;  ///< of the jitter between attempts
  };

  explicit EpochPublisher(Parts parts);
  ~EpochPublisher();
  EpochPublisher(const EpochPublisher&) = delete;
  EpochPublisher& operator=(const EpochPublisher&) = delete;

  // ---- who steps it
  /// Does one thing: a fence, a publish. False: nothing to do until next_time() or a wake-up.
  bool step();
  SteadyTime next_time() const;
  void set_waker(Waker* waker) noexcept;
  /// Ends a call under way; steps that begin later do nothing. For the end of the job.
  void interrupt() noexcept;

  // ---- the job's side
  /// All shards of all sinks are recovered: what waits may be published. Until then another checkpoint could
  /// still be restored.
  void release();
  /// A manifest is committed; `epoch` has what it adds for this shard, perhaps nothing.
  void committed(ShardEpoch epoch);
  /// Epochs up to `epoch` are named by no retained manifest any more.
  void forget(CheckpointId epoch);
  /// Does not wait for more to publish together with what is committed so far.
  void hurry();

  /// Fenced, the marker understood and what waits read through, once since it was made.
  bool recovered() const;
  std::exception_ptr failure() const;
  /// The failure, if it failed while it recovered for the log of what is not published yet cannot be read.
  std::exception_ptr log_damage() const;
  CheckpointId published() const;
  /// Everything that was committed is published.
  bool caught_up() const;

  struct Status {
    CheckpointId published = 0;
    std::uint64_t waiting_epochs = 0;
    std::uint64_t waiting_bytes = 0;
    SteadyTime waiting_since = kNever;
    std::uint64_t publishes = 0;
    std::uint64_t published_rows = 0;
    std::string waiting_for;  ///< "PostgreSQL: connection refused"; empty: nothing outside
  };
  Status status() const;

 private:
  enum class State { kFencing, kReady, kFailed };
  struct Plan;

  bool fence_or_publish();
  bool retire_predecessor();
  bool fence();
  bool publish();
  Plan plan_publish();
  std::size_t shard() const noexcept { return static_cast<std::size_t>(parts_.shard); }
  void take_marker(const TargetAnswer& fenced, std::uint64_t asked);
  void read_through();
  bool reads_again(const StateError& error);
  void unreadable(const StateError& error);
  std::vector<EpochLogRecords::Part> parts_between(std::size_t begin, std::size_t end) const
      LEVADA_REQUIRES(mutex_);
  void published_to(const Plan& plan, std::uint64_t rows);
  void doubt(const TargetAnswer& answer);
  void run_out();
  void wait(Duration pause);
  Duration next_pause();
  void succeeded();
  void fail(std::exception_ptr failure);
  void note_order() LEVADA_REQUIRES(mutex_);

  Parts parts_;
  std::atomic<Waker*> waker_{nullptr};
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> released_{false};

  // Of step().
  State state_ = State::kFencing;
  bool doubted_ = true;  // fences for its own sake, not because another shard asked
  std::size_t retired_ = 0;  // of the predecessors
  int unreadable_ = 0;       // times in a row that the log, or whose the directory is, could not be read
  SteadyTime started_at_;  // to reach the target
  SteadyTime retry_at_ = SteadyTime::min();
  Duration pause_;
  int doubts_ = 0;  // since the last success
  std::uint64_t bytes_max_;  // of a transaction, unless one epoch alone has more
  SteadyTime away_since_ = kNever;
  Random random_;

  mutable Mutex mutex_;
  ShardHistory history_ LEVADA_GUARDED_BY(mutex_);
  std::size_t next_ LEVADA_GUARDED_BY(mutex_) = 0;  // of history_.epochs: the next to publish
  bool recovered_ LEVADA_GUARDED_BY(mutex_) = false;
  std::exception_ptr log_damage_ LEVADA_GUARDED_BY(mutex_);
  CheckpointId hurry_until_ LEVADA_GUARDED_BY(mutex_) = 0;
  std::uint64_t publishes_ LEVADA_GUARDED_BY(mutex_) = 0;
  std::uint64_t published_rows_ LEVADA_GUARDED_BY(mutex_) = 0;
  std::string waiting_for_ LEVADA_GUARDED_BY(mutex_);
  SteadyTime next_time_ LEVADA_GUARDED_BY(mutex_) = kNever;
  std::exception_ptr failure_ LEVADA_GUARDED_BY(mutex_);
};

}  // namespace levada
