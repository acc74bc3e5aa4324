// Job: the handle of a running job.
//
// Threads:  all methods may be called from any thread. request_stop() is async-signal-safe.
// Lifetime: the destructor cancels and joins, like std::jthread's. The job owns its graph; the
//           environment that built it may go.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "levada/error.h"
#include "levada/options.h"
#include "levada/state_backend.h"
#include "levada/state_type.h"
#include "levada/time.h"

namespace levada {

enum class JobState { kStarting, kRunning, kRestarting, kStopping, kFinished, kFailed, kCancelled };
std::string_view to_string(JobState state);

/// A node of the graph, summed over its subtasks.
struct NodeStatus {
  std::string node;  ///< uid, or name
  std::uint64_t rows_in = 0;
  std::uint64_t rows_out = 0;
  std::uint64_t late_rows = 0;
  std::uint64_t bad_records = 0;
  std::uint64_t side_output_unread = 0;
  /// The least watermark of its subtasks; kMinWatermark before any.
  Timestamp watermark = kMinWatermark;
  /// What its subtasks wait for outside the job, such as an unreachable server; empty when nothing.
  std::vector<std::string> waiting_for;
};

struct SplitStatus {
  std::string node;
  std::string split;
  std::string position;  ///< the source's own words: for Kafka the offset of the next record
};

/// An exactly-once sink.
struct SinkStatus {
  std::string node;
  CheckpointId published = 0;          ///< the least of its shards'
  std::uint64_t waiting_epochs = 0;    ///< complete, not yet published
  std::uint64_t waiting_bytes = 0;     ///< of the log, those of the epoch under way included
  std::uint64_t publishes = 0;         ///< transactions of the target so far
  std::uint64_t published_rows = 0;    ///< since the start
  std::string waiting_for;             ///< what publishing waits for; empty when nothing
};

/// A checkpoint that is over.
struct CheckpointStatus {
  CheckpointId id = 0;
  bool completed = false;
  std::string error;        ///< why it is not completed
  bool savepoint = false;   ///< taken for a savepoint, so everything was written
  Timestamp triggered{};
  Duration duration{};      ///< from the trigger until its manifest was durable, or it was given up
  Duration aligned{};       ///< longest that a subtask held some inputs back until all had the barrier
  Duration synchronous{};   ///< longest that a subtask stood still for its own snapshot
  std::uint64_t bytes = 0;  ///< newly written: what had not changed is not written again
  std::uint64_t full_bytes = 0;   ///< of all state that it names, older files included
  std::uint32_t older_files = 0;  ///< of earlier checkpoints to which it refers
  std::uint32_t retained = 0;     ///< complete checkpoints in the directory after it, itself included
  std::string path;               ///< its manifest, as ExecuteOptions::restore takes it
};

/// A snapshot of a job. Counters start anew with each restart.
struct JobStatus {
  JobState state = JobState::kStarting;
  int restarts = 0;
  std::string last_error;  ///< of the last failure or failed checkpoint; empty when none
  std::vector<NodeStatus> nodes;
  std::vector<SplitStatus> splits;
  std::vector<SinkStatus> sinks;  ///< those that are exactly once
  std::optional<CheckpointStatus> last_checkpoint;  ///< the newest that completed
  std::vector<CheckpointStatus> checkpoints;        ///< the newest 16, completed or not, newest first
  std::uint64_t checkpoints_completed = 0;
  std::uint64_t checkpoints_failed = 0;
  std::optional<CheckpointId> restored_from;
};

namespace detail {

class JobControl;
std::optional<Bytes> query_state(JobControl& control, const std::string& uid, const StateSpec& state,
                                 std::uint64_t hash, const Bytes& key, std::int64_t name_space);

}  // namespace detail

/// A keyed state of a running job, to be asked for single keys.
///
/// Threads:  any, as many at a time as wanted; each call is answered by the task that owns the key, between two
///           of its steps, so a value is never half changed. No two keys are of the same moment, and what is
///           still on its way to the step, such as partial results of a window, is not seen.
/// Lifetime: may outlive the Job.
template <class K, class V>
class StateQuery {
 public:
  /// The value of the key; empty when it has none. `name_space`: of windows the slice's end in microseconds,
  /// else 0. Waits for the owning task to come by, and while the job starts or restarts.
  ///
  /// Errors:  JobError when the job has ended. Cost: a message there and back.
  std::optional<V> get(const K& key, std::int64_t name_space = 0) const {
    Bytes encoded;
    Serde<K>::write(key, encoded);
    const std::optional<Bytes> found =
        detail::query_state(*control_, uid_, state_, hash_of(key), encoded, name_space);
    if (!found) return std::nullopt;
    View in(*found);
    V value{};
    Serde<V>::read(in, value);
    return value;
  }

 private:
  friend class Job;
  StateQuery(std::shared_ptr<detail::JobControl> control, std::string uid, StateSpec state)
      : control_(std::move(control)), uid_(std::move(uid)), state_(std::move(state)) {}

  std::shared_ptr<detail::JobControl> control_;
  std::string uid_;
  StateSpec state_;
};

class Job {
 public:
  explicit Job(std::shared_ptr<detail::JobControl> control);
  Job(Job&&) noexcept;
  Job& operator=(Job&&) noexcept;
  ~Job();

  /// Waits for the end. Returns when all input was processed or a stop is complete.
  ///
  /// Errors:  JobError when the job failed, or was cancelled.
  void wait();
  /// Waits for the end for at most `timeout`; true when the job has ended. Errors as wait().
  bool wait_for(Duration timeout);
  JobStatus status() const;
  /// The physical plan and the shares of the memory budget, as text.
  std::string explain() const;
  /// Ends the job at once; nothing after the last complete checkpoint counts.
  void cancel() noexcept;
  /// Asks for a stop: a final checkpoint, then the end; open windows stay in the state. Without
  /// checkpoints sources end where they are and sinks flush. A signal handler may call it.
  void request_stop() noexcept;

  /// Takes a checkpoint now and waits for it. One that is under way is waited for first.
  ///
  /// Errors:  StateError when it fails, or there is no checkpoint directory; JobError when the job has ended,
  ///          or ends before.
  CheckpointStatus checkpoint();
  /// Takes a savepoint: a directory that belongs to the caller, with everything that a restore needs in it;
  /// it may be moved, and no job changes it. Waits until it is there and all exactly-once output before it is
  /// published; the job goes on meanwhile.
  ///
  /// Shape:   `path` is that directory: it is created, or there and empty. Returns it.
  /// Errors:  as checkpoint(); StateError for a directory that cannot be used, or when the output is not
  ///          published within the checkpoint timeout. Files of a savepoint that failed are removed.
  std::string savepoint(const std::string& path);
  /// Stops the job with a savepoint as its last checkpoint, and waits for the end; open windows stay in the
  /// state, unless they are to be drained.
  ///
  /// Errors:  as savepoint(). When only the copying fails, the job has stopped all the same, and its last
  ///          checkpoint is in the checkpoint directory.
  std::string stop_with_savepoint(const std::string& path, const StopOptions& options = {});
  /// A keyed state of the running job: `state` of the step with that uid. K and V are what the step keeps, as
  /// for StateReader::read().
  ///
  /// Errors:  StateError when there is no such step or state, or it is of other types.
  template <class K, class V>
  StateQuery<K, V> query(std::string_view uid, std::string_view state) const {
    StateSpec spec = keyed_state_spec<K, V>(std::string(state));
    check_query(std::string(uid), spec);
    return StateQuery<K, V>(control_, std::string(uid), std::move(spec));
  }

 private:
  void check_query(const std::string& uid, const StateSpec& wanted) const;

  std::shared_ptr<detail::JobControl> control_;
};

}  // namespace levada
