// One run of the job from an empty topic to its end: orders are produced while it reads, a recount
// reads beside it, and what is in the tables afterwards is compared.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "compare.h"
#include "generator.h"
#include "job_process.h"

namespace orders {

struct RunPlan {
  std::string job_path;
  std::string brokers;
  std::string topic;  // exists, is empty, and has the generator's partitions
  std::string conninfo;
  std::string totals_table;
  std::string late_table;
  std::string checkpoint_directory;
  std::int32_t parallelism = 2;
  bool determined = false;  // one partition in batches of one row: which rows are late is known
  bool keep_tables = false;
  GeneratorOptions generator;
  std::function<void(const Progress&)> on_progress;
  std::function<bool()> interrupted;
};

struct RunResult {
  Tables tables;
  Progress last_progress;
  double seconds = 0;
  std::vector<Check> checks;
};

// Throws std::runtime_error when the job dies or makes no progress for 30 s.
RunResult run_orders(const RunPlan& plan);

}  // namespace orders
