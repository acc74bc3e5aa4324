// Prints how long a job takes to start and to stop: medians.
#include <cstdio>
#include <exception>

#include "start_up_job.h"

int main() {
  constexpr int kRuns = 101;
  constexpr double kLimitMs = 10;
  try {
    for (const int parallelism : {1, 2}) {
      const bench::StartUpTimes times = bench::median_start_up(parallelism, kRuns);
      std::printf("start_up operators=%d parallelism=%d first_row_ms=%.3f stop_ms=%.3f limit_ms=%.0f %s\n",
                  bench::kStartUpOperators, parallelism, times.first_row.count(), times.stop.count(),
                  kLimitMs,
                  times.first_row.count() > kLimitMs || times.stop.count() > kLimitMs ? "over" : "ok");
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "start_up_bench: %s\n", error.what());
    return 1;
  }
}
