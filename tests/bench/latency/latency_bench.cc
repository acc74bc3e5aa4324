// How late window results come at half of the greatest rate, which is found first: emission − window end.
// A thread that only sleeps for 1 ms at a time runs beside it: what it is late is the machine's doing.
//
//   latency_bench [--seconds N] [--warm-up N] [--rate ROWS_PER_S] [--keys N]
//
// Prints lines of key=value, then a table. Exit code: 1 when a row is missing in the results.
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <stdexcept>
#include <thread>

#include "command_line.h"
#include "latency_job.h"
#include "support/temp_dir.h"

namespace bench {
namespace {

constexpr Duration kLimit = 5ms;  // of p99.9; of p99.99 beyond the sleeper's
constexpr double kPercentiles[] = {0.5, 0.99, 0.999, 0.9999};

struct Options {
  Duration measured = 60s;
  Duration warm_up = 10s;
  double rate = 0;
  std::uint64_t keys = 10'000;
};

// Sleeps 1 ms at a time and notes how much longer it took.
class Sleeper {
 public:
  void start(levada::SteadyTime from, levada::SteadyTime until) {
    thread_ = std::thread([this, from, until] {
      std::this_thread::sleep_until(from);
      while (!stop_) {
        const auto begun = std::chrono::steady_clock::now();
        if (begun >= until) break;
        std::this_thread::sleep_for(1ms);
        const auto slept = std::chrono::steady_clock::now() - begun;
        delays_.add(std::chrono::duration_cast<Duration>(slept) - Duration{1ms});
      }
    });
  }
  ~Sleeper() { finish(); }
  const Delays& finish() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return delays_;
  }

 private:
  std::atomic<bool> stop_{false};
  Delays delays_;
  std::thread thread_;
};

void check_rows(const LatencyResult& result, std::uint64_t rows) {
  if (result.counted_rows != rows) {
    throw std::runtime_error("rows are missing or double: " + std::to_string(result.counted_rows) +
                             " of " + std::to_string(rows) + " are in the results");
  }
}

LatencyResult run(LatencyOptions options, const std::function<void(levada::SteadyTime)>& on_start = {}) {
  const levada::testing::TempDir folder;
  options.checkpoint_directory = folder.path();
  LatencyResult result = run_latency_job(options, on_start);
  check_rows(result, options.rows);
  return result;
}

// How many rows a window holds depends on the rate: each run takes the rate that the one before came to.
double greatest_rate(const Options& options) {
  double rate = 10e6;
  for (const double seconds : {1.0, 3.0, 3.0}) {
    LatencyOptions unpaced{.rate = rate, .paced = false};
    unpaced.rows = static_cast<std::uint64_t>(rate * seconds);
    unpaced.keys = options.keys;
    const LatencyResult result = run(unpaced);
    rate = static_cast<double>(unpaced.rows) / result.wall.count();
    std::printf("unpaced rows=%" PRIu64 " rows_per_s=%.0f checkpoints=%" PRIu64 "\n", unpaced.rows,
                rate, result.checkpoints);
    std::fflush(stdout);
  }
  return rate;
}

double ms(Duration duration) { return static_cast<double>(duration.count()) / 1000; }

void print_delays(const char* name, const Delays& delays) {
  std::printf("%-32s %10" PRIu64, name, delays.count());
  for (const double part : kPercentiles) std::printf(" %9.3f", ms(delays.percentile(part)));
  std::printf(" %9.3f\n", ms(delays.max()));
}

void print(const LatencyResult& result, const Delays& sleeper) {
  if (result.results.count() == 0 || sleeper.count() == 0) throw std::runtime_error("nothing measured");
  std::printf("%-32s %10s %9s %9s %9s %9s %9s\n", "ms", "count", "p50", "p99", "p99.9", "p99.99", "max");
  print_delays("results: emission - window end", result.results);
  print_delays("firings: their last result", result.firings);
  print_delays("a thread that sleeps 1 ms", sleeper);
  const Duration p999 = result.results.percentile(0.999);
  const Duration p9999 = result.results.percentile(0.9999);
  const Duration allowed = kLimit + sleeper.percentile(0.9999);
  std::printf("p99.9=%.3f limit=%.3f %s\np99.99=%.3f limit=%.3f %s\n", ms(p999), ms(kLimit),
              p999 > kLimit ? "over" : "ok", ms(p9999), ms(allowed), p9999 > allowed ? "over" : "ok");
}

void measure(const Options& options) {
  const double rate = options.rate > 0 ? options.rate : greatest_rate(options) / 2;
  LatencyOptions paced{.rate = rate, .keys = options.keys};
  paced.warm_up = options.warm_up;
  paced.measured = options.measured;
  const std::chrono::duration<double> total = options.warm_up + options.measured + 3 * kWindow;
  paced.rows = static_cast<std::uint64_t>(rate * total.count());
  Sleeper sleeper;
  const LatencyResult result = run(paced, [&](levada::SteadyTime start) {
    sleeper.start(start + options.warm_up, start + options.warm_up + options.measured);
  });
  std::printf("paced rows_per_s=%.0f rows=%" PRIu64 " seconds=%.0f checkpoints=%" PRIu64 "\n\n", rate,
              paced.rows, std::chrono::duration<double>(options.measured).count(), result.checkpoints);
  print(result, sleeper.finish());
}

Options parse(int argc, char** argv) {
  Options options;
  each_option(argc, argv, [&](const std::string& word, const std::string& value) {
    if (word == "--seconds") {
      options.measured = std::chrono::seconds{std::stoi(value)};
    } else if (word == "--warm-up") {
      options.warm_up = std::chrono::seconds{std::stoi(value)};
    } else if (word == "--rate") {
      options.rate = std::stod(value);
    } else if (word == "--keys") {
      options.keys = std::stoull(value);
    } else {
      return false;
    }
    return true;
  });
  return options;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::run_main("latency_bench", [&] { bench::measure(bench::parse(argc, argv)); });
}
