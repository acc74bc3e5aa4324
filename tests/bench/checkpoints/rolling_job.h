// The job that checkpoints are measured with: a rolling sum and count by key, in one task.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "delays.h"
#include "levada/levada.h"

namespace bench {

struct RollingOptions {
  std::uint64_t keys = 10'000'000;   ///< uniform
  double rate = 0;                   ///< rows a second; 0: as fast as they are taken
  Duration warm_up{};                ///< what comes in it is not looked at
  Duration measured{};               ///< after that the job is stopped
  std::string directory;             ///< of the checkpoints; empty: none
  Duration interval = std::chrono::seconds{1};
  levada::StateBackendOptions state = levada::memory_state();
};

struct RollingResult {
  double rows_per_s = 0;
  double cpu_ns_per_row = 0;  ///< of the whole process
  Delays gaps;                ///< from one batch of the task to the next
  Delays latency;             ///< emission − due time, where a rate was given
  std::uint64_t checkpoints = 0;
  std::uint64_t bytes_per_checkpoint = 0;
  double checkpoint_s = 0;    ///< of the last one, from trigger to manifest
  double first_row_s = 0;     ///< from execute() to the first result, so with the restore of what there was
  std::uint64_t restored = 0; ///< the checkpoint that it began with; 0: none
  bool counts_follow = true;  ///< each count was one more than the key's before, over a restart too
};

/// What one run leaves for the next on the same directory: the count of some keys.
using KeyCounts = std::vector<std::int64_t>;

/// Runs it; `counts` are those of the run that the directory is from, and become those of this one.
///
/// Errors: JobError.
RollingResult run_rolling(const RollingOptions& options, KeyCounts& counts);

}  // namespace bench
