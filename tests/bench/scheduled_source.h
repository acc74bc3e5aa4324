// A source that gives rows at given times, as a network would: what latency is measured with.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>

#include "levada/levada.h"

namespace bench {

struct ScheduledRow {
  std::uint64_t key = 0;
  std::uint64_t value = 0;
  levada::Timestamp at;  ///< when it is due, from the start
};
LEVADA_RECORD(ScheduledRow, key, value, at)

/// What all readers share.
struct Schedule {
  double rate = 0;         ///< rows a second, all splits together
  bool paced = true;       ///< false: as fast as they are taken; event time follows the rate all the same
  std::uint64_t rows = 0;
  std::uint64_t keys = 10'000;
  int splits = 1;
  levada::SteadyTime start;

  /// Row i is due at this time after the start.
  levada::Duration due(std::uint64_t i) const {
    return levada::Duration{static_cast<std::int64_t>(static_cast<double>(i) * 1e6 / rate)};
  }
  /// So many rows are due at `now`.
  std::uint64_t due_rows(levada::SteadyTime now) const {
    if (now < start) return 0;
    const std::chrono::duration<double> passed = now - start;
    return std::min(rows, static_cast<std::uint64_t>(passed.count() * rate));
  }
};

/// Row i belongs to split i mod splits; keys are uniform.
levada::Source<ScheduledRow> scheduled_source(std::shared_ptr<const Schedule> schedule);

}  // namespace bench
