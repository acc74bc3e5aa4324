// EnvironmentOptions: plain structs with documented defaults; every limit of a job is one of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "levada/log.h"
#include "levada/memory.h"
#include "levada/time.h"

namespace levada {

class ColdBackend;
class FileSystem;

/// How the blocks of state files are compressed. One that does not get smaller is stored as it is.
enum class Compression : std::uint8_t {
  kNone,
  kLz4,   ///< fast: little more than copying
  kZstd,  ///< smaller, and slower to write
};

/// When and where checkpoints are taken. They are on when `directory` is given. They stay when the job ends,
/// fails or is cancelled: execute() goes on from the newest.
struct CheckpointOptions {
  Duration interval{};      ///< from one trigger to the next; 0: only on demand, and at the end
  std::string directory{};  ///< holds one folder a job; created with mode 0700
  Duration min_pause{};     ///< at least so long from the end of one to the next trigger of the interval
  Duration timeout = 10min;           ///< a checkpoint that takes longer is aborted; the job runs on
  Duration tolerable_failure = 10min; ///< checkpoints may fail for so long before the job stops
  int retained = 2;                   ///< newest complete checkpoints that are kept; at least 1
  Compression compression = Compression::kNone;
  /// Most that is written of state files, in the mean; 0: no limit. What a cold tier writes to its own disk is
  /// not counted.
  std::uint64_t bytes_per_second = 0;

  bool enabled() const { return !directory.empty(); }
};

/// The epoch log of exactly-once sinks: what may wait in it while a target is away. When it is full
/// sinks take no more rows; checkpoints go on.
struct EpochLogOptions {
  std::uint64_t bytes = 0;  ///< 0: 4 GiB or a fifth of the disk's free space, whichever is less
  Duration age{};           ///< of the oldest epoch that waits; 0: any
};

struct FixedDelay {
  int attempts = 3;     ///< restarts before the job ends with the failure
  Duration delay = 1s;  ///< between a failure and the restart
};
/// The delay grows with each failure, until the job has run for a while without one.
struct ExponentialDelay {
  Duration initial_backoff = 1s;
  Duration max_backoff = 1min;
  double backoff_multiplier = 1.5;       ///< at least 1
  double jitter_factor = 0.1;            ///< 0 to 1: a delay is longer or shorter by up to this part
  Duration reset_backoff_threshold = 1h; ///< after so long without a failure the first delay comes again
};
struct FailureRate {
  int max_failures_per_interval = 1;  ///< one more within the interval ends the job
  Duration interval = 1min;
  Duration delay = 1s;  ///< between a failure and the restart
};

/// What happens when a task fails. The default is none without checkpoints; with them a fixed delay of
/// 1 s, three tries.
struct RestartStrategy {
  enum class Kind { kDefault, kNone, kFixedDelay, kExponentialDelay, kFailureRate };
  Kind kind = Kind::kDefault;
  FixedDelay fixed_delay{};
  ExponentialDelay exponential{};
  FailureRate failure_rate{};
};
/// The job ends with the first failure.
RestartStrategy no_restart();
/// The job restarts from its newest checkpoint after a fixed delay, so many times in its life.
RestartStrategy fixed_delay(FixedDelay options = {});
/// The job restarts after a growing delay, for ever.
RestartStrategy exponential(ExponentialDelay options = {});
/// The job restarts after a fixed delay as long as it does not fail too often.
RestartStrategy failure_rate(FailureRate options = {});

/// Where keyed state lives: in typed tables in memory; with a cold tier, what does not fit into the budget is
/// there.
struct StateBackendOptions {
  std::shared_ptr<const ColdBackend> cold{};  ///< null: all state is in memory
};
/// Keyed state in typed tables in memory, bounded by the job's budget.
StateBackendOptions memory_state();

/// The host's say over the job's threads. `on_start` and `on_stop` run on each of them.
struct ThreadOptions {
  int count = 0;  ///< workers; 0: the parallelism. Subtasks that may block have threads of their own
  std::string name_prefix = "levada";  ///< thread names are this, a dash and a word
  std::function<void()> on_start{};
  std::function<void()> on_stop{};
};

struct EnvironmentOptions {
  int parallelism = 1;        ///< subtasks of each node that does not say otherwise
  int max_parallelism = 128;  ///< number of key groups; fixed with the first checkpoint, up to 32768
  CheckpointOptions checkpoint{};
  EpochLogOptions epoch_log{};
  StateBackendOptions state = memory_state();
  RestartStrategy restart{};
  std::size_t memory = 0;    ///< budget in bytes; 0: a quarter of the cgroup's or the machine's
  int batch_rows = 1024;     ///< most rows of a batch; 1 makes lateness row-exact and everything slow
  Duration linger = 1ms;     ///< longest a row waits in a batch that does not fill up
  LogSink log{};             ///< takes every message; none given: messages are dropped
  ThreadOptions threads{};
};

/// Options of one execution.
struct ExecuteOptions {
  /// The checkpoint to begin with, instead of the newest in the checkpoint directory: a savepoint's
  /// directory, a job's directory in a checkpoint directory, or CheckpointStatus::path of a retained
  /// checkpoint; of this job or another. It wins over newer checkpoints in the checkpoint directory, at each
  /// execution that names it; restarts within this one go on from its own.
  std::string restore{};
  /// State of a uid that the graph does not have is left behind; else it is an error that names each.
  bool allow_non_restored_state = false;
  /// The savepoint restored belongs to the job from now on, which removes it when a checkpoint of its own is
  /// complete. Otherwise it stays as it is. Either way no checkpoint refers to its files.
  bool claim = false;
  /// Gives up what exactly-once sinks have published and what still waits for them: they begin anew
  /// under new markers. Output since the restored checkpoint may be there twice, output that waits is
  /// dropped. The answer to a JobError of code kSinkAhead, kMarkerLost or kEpochLogLost, once somebody
  /// has looked. JobError of code kState when a manifest of the directory cannot be read: it may know of
  /// markers that have to end, too, and has to be brought back or taken away first.
  bool new_sink_generation = false;
};

/// Options of Job::stop_with_savepoint().
struct StopOptions {
  /// Sends the last watermark before the savepoint, so that all windows and timers fire. For a job that is
  /// not to be resumed: a window that fired so opens anew when more rows come for it.
  bool drain = false;
};

}  // namespace levada
