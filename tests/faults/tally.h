// Tally: what a campaign has done and seen so far, over all its legs; kept in a file, so that a campaign
// that was interrupted goes on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "kill_plan.h"

namespace faults {

struct Tally {
  std::uint64_t seed = 0;
  std::map<std::string, std::int64_t> counts;         // by the names below and in print()
  std::map<std::string, std::int32_t> kills_by_phase;  // "start": before the job knew a phase
  std::map<std::string, std::int32_t> kills_by_point;  // "(random)": at a random time
  std::map<std::string, std::int32_t> unreached;       // how often a point was waited for in vain
  std::vector<std::string> errors;                     // legs that did not get to their end

  std::int64_t count(const std::string& name) const;
  FaultCounts done() const;

  // Adds a leg; the seed stays.
  void add(const Tally& leg);

  // Throws std::runtime_error when the file is there and cannot be read, or cannot be written.
  static Tally load(const std::filesystem::path& path);
  void save(const std::filesystem::path& path) const;
};

}  // namespace faults
