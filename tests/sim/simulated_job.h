// The job that the exactly-once simulation runs: a source with splits → exchange by key → perhaps a function with
// state → one or two exactly-once sinks. What it is made of differs from seed to seed, and in part from start to start.
//
// Threads: one.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "checkpoint/manifest.h"
#include "levada/levada.h"
#include "sim/simulated_postgres.h"

namespace levada::testing {

struct SimulatedRow {
  std::int64_t key = 0, number = 0, check = 0;
};
LEVADA_RECORD(SimulatedRow, key, number, check)

inline constexpr std::int64_t kKeys = 6;  // a multiple of every number of splits, so a key has one split
/// How many rows of each key.
using RowCounts = std::array<std::int64_t, kKeys>;

SimulatedRow make_row(std::uint64_t i);

struct SimulatedJob {
  std::uint64_t rows = 0;
  int splits = 1;
  int shards = 1;  ///< as the program says; what a manifest has counts more
  PublishPace pace;
  PublishPace other_pace;  ///< of the second sink
  std::size_t padding = 0;  ///< bytes that are written after each row
  std::size_t state_bytes = 0;  ///< of a function's state of each key; 0: there is no function
  std::vector<std::string> sinks{"out"};  ///< uids

  /// All there are, of each key.
  RowCounts all_rows() const;
  void build(StreamEnvironment& env, SimulatedPostgres& server, int client) const;
};

/// Reads a row as the sink has written it. Throws StateError.
SimulatedRow read_row(std::string_view body, std::size_t padding);

/// What the source had read at a checkpoint whose state files are in `state_path`. Throws StateError.
RowCounts rows_read(FileSystem& files, const std::string& state_path, const Manifest& manifest);

}  // namespace levada::testing
