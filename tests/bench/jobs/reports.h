// What jobs_bench prints: the table, and what else whole jobs are compared with.
#pragma once

#include <string>
#include <vector>

#include "rows.h"

namespace bench {

struct ReportOptions {
  std::vector<Job> jobs;  ///< what the command line changed of them is in them
  int repeats = 5;
  std::string peers;  ///< folder
};

/// Each job beside its bare loop: a line as each is measured, then the table.
void print_table(const ReportOptions& options);
/// Each job with a checkpoint a second beside the same without.
void print_checkpoints(const ReportOptions& options);
/// Throughput at parallelism 2 over 1; cost a row with more keys and with more rows.
void print_scaling(const ReportOptions& options);
/// Skewed keys beside even ones.
void print_skew(const ReportOptions& options);
/// The same jobs in other systems, in turn with Levada.
void print_peers(const ReportOptions& options);

}  // namespace bench
