// Kills the main job again and again while orders are being produced, lets it run to the end, and
// compares what it wrote with a recount.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "compare.h"
#include "kill_plan.h"

namespace faults {

struct CampaignOptions {
  std::string job_path;
  std::string brokers;
  std::string conninfo;
  std::int32_t kill_count = 30;
  std::uint64_t seed = 0;
  std::int64_t row_count = 0;  // 0: enough for about a second a kill
  bool keep = false;           // topic, tables and checkpoints stay
};

struct CampaignResult {
  std::int32_t kill_count = 0;
  std::int32_t incarnation_count = 0;
  std::int32_t incarnations_with_checkpoint = 0;
  std::map<std::string, std::int32_t> kills_by_phase;  // "start": before the job knew a phase
  std::map<std::string, std::int32_t> kills_by_point;  // "(random)": at a random time
  std::vector<std::string> unreached_points;
  std::int64_t row_count = 0;
  orders::Check topic;   // what was produced is what a plain consumer reads
  orders::Check totals;  // the upsert table
  orders::Check late;    // the late table: nothing is late, so it must be empty
  orders::Check log;     // the insert-only table: may repeat, must not miss
};

// Throws std::runtime_error when the job ends otherwise than by a kill, or does not get to its end.
CampaignResult run_campaign(const CampaignOptions& options);

}  // namespace faults
