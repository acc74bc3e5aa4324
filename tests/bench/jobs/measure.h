// Measures sides in turn: each run in a process of its own, medians count, and where runs scatter by more
// than 15 % all are made again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "rows.h"

namespace bench {

/// Figures of one process.
struct Run {
  double cpu_ns_per_row = 0;
  double rows_per_s = 0;
  double rss_mb = 0;
  Checksum checksum;
  std::uint64_t checkpoints = 0;
};

/// One side of one job, as a process of this program.
struct Side {
  Job job;
  std::uint64_t rows = 0;
  bool bare = false;
  bool checkpoints = false;
  std::size_t memory = 0;  ///< 0: the default budget
};

/// Runs it. Throws when the process fails.
Run run_side(const Side& side);

/// The medians of several runs.
struct Figures {
  double cpu_ns_per_row = 0;
  double rows_per_s = 0;
  double rss_mb = 0;
  double spread = 0;  ///< of the CPU time
  std::uint64_t checkpoints = 0;  ///< of the run that had the fewest
};

/// What of the sides' results must be equal.
enum class Same {
  kResults,  ///< all
  kRows,     ///< how many there are: where subtasks share a key's rows, their order, and so what a rolling
             ///< result is, may differ
  kNothing,
};

/// Runs all in turn, `repeats` times. Throws when results differ that must not, naming `what`.
std::vector<Figures> measure_in_turn(const std::vector<std::function<Run()>>& sides, int repeats,
                                     Same same, const std::string& what);

}  // namespace bench
