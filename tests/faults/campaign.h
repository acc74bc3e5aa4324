// One leg of a campaign: a topic, tables and a checkpoint directory of its own. It kills the main job
// again and again while orders are being produced, lets it run to the end, and compares what it wrote
// with a recount.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "kill_plan.h"
#include "tally.h"

namespace faults {

struct LegOptions {
  std::string job_path;
  std::string brokers;
  std::string conninfo;
  FaultCounts faults;
  std::uint64_t seed = 0;
  std::map<std::string, std::int32_t> kills_by_point;  // before this leg
  bool without_marker = false;    // plants the bug that this campaign must find
  bool keep = false;              // topic, tables and checkpoints stay
  std::filesystem::path folder;   // for checkpoints; made, and removed at the end
};

// Throws std::runtime_error when the job ends otherwise than by a kill, or does not get to its end.
Tally run_leg(const LegOptions& options);

}  // namespace faults
