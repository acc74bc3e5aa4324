// The job whose delay is measured: rows at a given rate, event time = the time at which a row was due,
// tumbling windows of 100 ms by key, parallelism 2, a checkpoint each second.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "delays.h"
#include "levada/levada.h"

namespace bench {

using levada::Duration;
using levada::Timestamp;
using namespace std::chrono_literals;

constexpr Duration kWindow = 100ms;
constexpr int kParallelism = 2;

struct LatencyOptions {
  double rate = 0;         ///< rows a second, all splits together
  bool paced = true;       ///< false: as fast as they are taken; event time follows the rate all the same
  std::uint64_t rows = 0;
  std::uint64_t keys = 10'000;
  Duration warm_up{};      ///< results of windows that end in it are not looked at
  Duration measured{};     ///< nor are those after this much more
  std::string checkpoint_directory;
};

struct LatencyResult {
  Delays results;  ///< emission − window end, of every result
  Delays firings;  ///< the same of the last result of each firing
  std::uint64_t counted_rows = 0;  ///< in all results, measured or not
  std::uint64_t checkpoints = 0;
  std::chrono::duration<double> wall{};
};

/// Runs it to its end. `on_start`, when given, is called with the time that event time 0 stands for.
LatencyResult run_latency_job(const LatencyOptions& options,
                              const std::function<void(levada::SteadyTime)>& on_start = {});

}  // namespace bench
