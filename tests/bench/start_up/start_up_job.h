// How long a job of 20 operators in memory takes to its first row, and to its end once it is told to stop.
// For the bench and for the test that asserts a bound which no machine should miss.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "levada/levada.h"

namespace bench {

constexpr int kStartUpOperators = 20;

struct StartUpRow {
  std::uint64_t key = 0;
  std::uint64_t value = 0;
};
LEVADA_RECORD(StartUpRow, key, value)

struct StartUpTotal {
  std::uint64_t key = 0;
  std::int64_t total = 0;
};
LEVADA_RECORD(StartUpTotal, key, total)

struct StartUpTimes {
  std::chrono::duration<double, std::milli> first_row{};  ///< from execute() to the first row in the sink
  std::chrono::duration<double, std::milli> stop{};       ///< from the request to the end
};

/// generate, 17 steps, a rolling sum by key, a sink; at parallelism 2 rows are exchanged before the sum.
inline void build_start_up_job(levada::StreamEnvironment& env, std::atomic<std::int64_t>& first_row_ns) {
  levada::DataStream<StartUpRow> rows = env.generate<StartUpRow>([](std::uint64_t i) {
    return StartUpRow{i % 100, i};
  });
  for (int step = 0; step < kStartUpOperators - 3; ++step) {
    if (step % 2 == 0) {
      rows = rows.map([](StartUpRow row) {
        ++row.value;
        return row;
      });
    } else {
      rows = rows.filter([](const StartUpRow& row) { return row.value != 0; });
    }
  }
  rows.key_by(&StartUpRow::key)
      .aggregate(levada::key().as(&StartUpTotal::key),
                 levada::sum([](const StartUpRow& row) {
                   return static_cast<std::int64_t>(row.value);
                 }).as(&StartUpTotal::total))
      .for_each([&first_row_ns](const StartUpTotal&) {
        if (first_row_ns.load(std::memory_order_relaxed) != 0) return;
        std::int64_t none = 0;
        first_row_ns.compare_exchange_strong(
            none, levada::system_clock().steady_now().time_since_epoch().count());
      });
}

inline StartUpTimes measure_start_up(int parallelism) {
  using Clock = std::chrono::steady_clock;
  std::atomic<std::int64_t> first_row_ns{0};
  levada::StreamEnvironment env({.parallelism = parallelism});
  build_start_up_job(env, first_row_ns);
  const auto begun = Clock::now();
  levada::Job job = env.execute_async("start-up");
  // A job that fails ends here with its error.
  while (first_row_ns == 0) job.wait_for(std::chrono::milliseconds{1});
  const auto asked = Clock::now();
  job.request_stop();
  job.wait();
  StartUpTimes times;
  times.stop = Clock::now() - asked;
  times.first_row = std::chrono::nanoseconds{first_row_ns} - begun.time_since_epoch();
  return times;
}

/// The medians of `runs` runs.
inline StartUpTimes median_start_up(int parallelism, int runs) {
  std::vector<double> first_row, stop;
  for (int i = 0; i < runs; ++i) {
    const StartUpTimes times = measure_start_up(parallelism);
    first_row.push_back(times.first_row.count());
    stop.push_back(times.stop.count());
  }
  const auto middle = [](std::vector<double>& values) {
    std::sort(values.begin(), values.end());
    return std::chrono::duration<double, std::milli>{values[values.size() / 2]};
  };
  return {middle(first_row), middle(stop)};
}

}  // namespace bench
