// What checkpoints cost a job with much state: a rolling sum by key, without and with a checkpoint each
// second, in turn. Throughput and the gaps between batches at full speed, latency at half of it, the restore.
//
//   checkpoints_bench [--keys N] [--seconds N] [--warm-up N]
//
// Prints lines of key=value with what is allowed. Exit code: 1 when a count is wrong after the restart.
#include <cinttypes>
#include <cstdio>
#include <stdexcept>

#include "command_line.h"
#include "rolling_job.h"
#include "support/temp_dir.h"

namespace bench {
namespace {

using namespace std::chrono_literals;

constexpr Duration kGapLimit = 2ms;       // of p99.9, above the same without checkpoints
constexpr double kLatencyLimit = 2;       // times that without
constexpr double kRestoreLimit = 10;      // seconds
constexpr std::uint64_t kLargeKeys = 5'000'000;
constexpr std::size_t kCheckedKeys = 100'000;

struct Options {
  std::uint64_t keys = 10'000'000;
  Duration measured = 210s;
  Duration warm_up = 20s;
};

double ms(Duration duration) { return static_cast<double>(duration.count()) / 1000; }
const char* verdict(bool good) { return good ? "ok" : "over"; }

void check(const RollingResult& result) {
  if (!result.counts_follow) throw std::runtime_error("the count of a key did not follow the one before");
}

void print_delays(const char* name, const Delays& delays) {
  std::printf("%s_ms p50=%.3f p99=%.3f p99.9=%.3f p99.99=%.3f max=%.3f count=%" PRIu64 "\n", name,
              ms(delays.percentile(0.5)), ms(delays.percentile(0.99)), ms(delays.percentile(0.999)),
              ms(delays.percentile(0.9999)), ms(delays.max()), delays.count());
}

RollingResult run(const Options& options, double rate, const std::string& directory, KeyCounts counts = {}) {
  if (counts.empty()) counts.resize(kCheckedKeys);
  RollingResult result = run_rolling({.keys = options.keys,
                                      .rate = rate,
                                      .warm_up = options.warm_up,
                                      .measured = options.measured,
                                      .directory = directory},
                                     counts);
  check(result);
  return result;
}

void print_full_speed(const RollingResult& without, const RollingResult& with, std::uint64_t keys) {
  const double ratio = with.rows_per_s / without.rows_per_s;
  const double least = keys >= kLargeKeys ? 0.85 : 0.95;
  std::printf("throughput rows_per_s=%.0f with=%.0f ratio=%.3f least=%.2f %s ns_per_row=%.2f "
              "with_ns_per_row=%.2f checkpoints=%" PRIu64 " bytes=%" PRIu64 " duration_s=%.3f\n",
              without.rows_per_s, with.rows_per_s, ratio, least, verdict(ratio >= least),
              without.cpu_ns_per_row, with.cpu_ns_per_row, with.checkpoints, with.bytes_per_checkpoint,
              with.checkpoint_s);
  print_delays("gaps", without.gaps);
  print_delays("gaps_with", with.gaps);
  const Duration more = with.gaps.percentile(0.999) - without.gaps.percentile(0.999);
  std::printf("gap p99.9_more_ms=%.3f limit=%.3f %s\n", ms(more), ms(kGapLimit),
              verdict(more <= kGapLimit));
}

void print_half_speed(const RollingResult& without, const RollingResult& with, double rate) {
  print_delays("latency", without.latency);
  print_delays("latency_with", with.latency);
  const double ratio = ms(with.latency.percentile(0.999)) / ms(without.latency.percentile(0.999));
  std::printf("latency rate=%.0f p99.9_ratio=%.2f limit=%.1f %s checkpoints=%" PRIu64 "\n", rate, ratio,
              kLatencyLimit, verdict(ratio <= kLatencyLimit), with.checkpoints);
}

// The state of `folder`, with the counts that belong to it, is restored by a run of a second.
void print_restore(const Options& options, const std::string& folder, KeyCounts counts) {
  const RollingResult again = run_rolling(
      {.keys = options.keys, .warm_up = 0s, .measured = 1s + 30s, .directory = folder}, counts);
  check(again);
  if (again.restored == 0) throw std::runtime_error("nothing was restored");
  std::printf("restore first_row_s=%.2f limit=%.0f %s\n", again.first_row_s, kRestoreLimit,
              verdict(again.first_row_s <= kRestoreLimit));
}

void measure(const Options& options) {
  const levada::testing::TempDir folder;
  const RollingResult without = run(options, 0, "");
  KeyCounts counts(kCheckedKeys);
  const RollingResult with = run_rolling({.keys = options.keys,
                                          .warm_up = options.warm_up,
                                          .measured = options.measured,
                                          .directory = folder / "full"},
                                         counts);
  check(with);
  std::printf("keys=%" PRIu64 " seconds=%.0f\n", options.keys,
              std::chrono::duration<double>(options.measured).count());
  print_full_speed(without, with, options.keys);
  print_restore(options, folder / "full", counts);
  std::fflush(stdout);
  const double half = without.rows_per_s / 2;
  const RollingResult paced = run(options, half, "");
  const RollingResult paced_with = run(options, half, folder / "half");
  print_half_speed(paced, paced_with, half);
}

Options parse(int argc, char** argv) {
  Options options;
  each_option(argc, argv, [&](const std::string& word, const std::string& value) {
    if (word == "--keys") {
      options.keys = std::stoull(value);
    } else if (word == "--seconds") {
      options.measured = std::chrono::seconds{std::stoi(value)};
    } else if (word == "--warm-up") {
      options.warm_up = std::chrono::seconds{std::stoi(value)};
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
  return bench::run_main("checkpoints_bench", [&] { bench::measure(bench::parse(argc, argv)); });
}
