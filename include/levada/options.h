// EnvironmentOptions: plain structs with documented defaults; every limit of a job is one of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "levada/log.h"
#include "levada/memory.h"
#include "levada/time.h"

namespace levada {

class FileSystem;

/// When and where checkpoints are taken. They are on when both `interval` and `directory` are given.
struct CheckpointOptions {
  Duration interval{};      ///< from one trigger to the next; 0: no checkpoints
  std::string directory{};  ///< holds one folder a job; created with mode 0700
  Duration timeout = 10min;           ///< a checkpoint that takes longer is aborted; the job runs on
  Duration tolerable_failure = 10min; ///< checkpoints may fail for so long before the job stops
  int retained = 2;                   ///< newest complete checkpoints that are kept; at least 1

  bool enabled() const { return interval > Duration{0} && !directory.empty(); }
};

/// The epoch log of exactly-once sinks: what may wait in it while a target is away. When it is full
/// sinks take no more rows; checkpoints go on.
struct EpochLogOptions {
  std::uint64_t bytes = 0;  ///< 0: 4 GiB or a fifth of the disk's free space, whichever is less
  Duration age{};           ///< of the oldest epoch that waits; 0: any
};

/// What happens when a task fails. The default is none without checkpoints; with them a fixed delay of
/// 1 s, three tries.
struct RestartStrategy {
  enum class Kind { kDefault, kNone, kFixedDelay };
  Kind kind = Kind::kDefault;
  int attempts = 0;  ///< restarts in the life of the job
  Duration delay{};
};
/// The job ends with the first failure.
RestartStrategy no_restart();
struct FixedDelay {
  int attempts = 3;     ///< restarts before the job ends with the failure
  Duration delay = 1s;  ///< between a failure and the restart
};
/// The job restarts from its newest checkpoint after a fixed delay.
RestartStrategy fixed_delay(FixedDelay options = {});

/// Where keyed state lives.
struct StateBackendOptions {
  enum class Kind { kMemory };
  Kind kind = Kind::kMemory;
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
  /// State of a uid that the graph does not have is left behind; else it is an error that names each.
  bool allow_non_restored_state = false;
  /// Gives up what exactly-once sinks have published and what still waits for them: they begin anew
  /// under new markers. Output since the restored checkpoint may be there twice, output that waits is
  /// dropped. The answer to a JobError of code kSinkAhead, kMarkerLost or kEpochLogLost, once somebody
  /// has looked.
  bool new_sink_generation = false;
};

}  // namespace levada
