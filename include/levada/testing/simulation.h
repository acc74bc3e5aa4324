// run_simulated: a whole job on one thread, a virtual clock and an in-memory disk; the order of
// everything that threads would do at the same time, and when the process dies, come from a seed. What
// goes wrong with a seed goes wrong with it every time.
//
//   levada::testing::SimulationResult result = levada::testing::run_simulated(
//       {.parallelism = 2, .checkpoint = {.interval = 10ms, .directory = "/job"}},
//       [&](levada::StreamEnvironment& env) { build(env); }, {.seed = seed, .crashes = 3});
//
// Threads: one; nothing sleeps.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "levada/environment.h"
#include "levada/options.h"

namespace levada::testing {

struct SimulationOptions {
  std::uint64_t seed = 1;
  /// How often the process dies, at random steps; each time it is started again on what the disk kept.
  int crashes = 0;
  /// The mean number of steps between two crashes.
  std::uint64_t steps_per_crash = 400;
  /// How often the job is stopped with a savepoint, at random steps, and goes on from it under another name.
  int moves = 0;
  /// The mean number of steps between two requests for a checkpoint or a savepoint; 0: there are none.
  std::uint64_t steps_per_request = 0;
  /// The parallelism after each start, in turn; empty: that of the options.
  std::vector<int> parallelism{};
  /// Every so many disk operations (in the mean) one fails, until the last crash; 0: never.
  std::uint64_t operations_per_disk_fault = 0;
  /// Planted fault: barriers are not aligned, so a snapshot is no cut through the stream.
  bool align_barriers = true;
  std::uint64_t steps_max = 5'000'000;
};

struct SimulationResult {
  bool finished = false;    ///< the job read all its input and ended well
  std::string error;        ///< why not: what failed, or that nothing could make progress any more
  std::uint64_t trace = 0;  ///< a hash of every choice and what came of it
  std::uint64_t steps = 0;
  int crashes = 0;
  int restores = 0;  ///< starts from a checkpoint
  int moves = 0;
  int savepoints = 0;  ///< taken on request; each was read back
  std::uint64_t checkpoints = 0;
  std::uint64_t disk_faults = 0;
};

/// Builds the graph and runs it to its end, through all crashes.
///
/// Errors:  GraphError; everything else is in the result.
SimulationResult run_simulated(EnvironmentOptions options,
                               const std::function<void(StreamEnvironment&)>& build,
                               const SimulationOptions& simulation);

}  // namespace levada::testing
