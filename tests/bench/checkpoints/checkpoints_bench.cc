// What checkpoints cost a job with much state: a rolling sum by key, without and with a checkpoint each
// second, in turn. Throughput and the gaps between batches at full speed, latency at half of it, the restore, and what
// a checkpoint writes after a hundredth of the keys was touched. With state in memory, then with state in RocksDB.
//
//   checkpoints_bench [--state memory|rocksdb] [--keys N] [--seconds N] [--warm-up N]
//
// Prints lines of key=value with what is allowed. Exit code: 1 when a count is wrong after the restart.
#include <cinttypes>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "command_line.h"
#include "increments.h"
#include "levada/rocksdb.h"
#include "median.h"
#include "rolling_job.h"
#include "support/temp_dir.h"

namespace bench {
namespace {

using namespace std::chrono_literals;

constexpr Duration kGapLimit = 2ms;       // of p99.9, above the same without checkpoints
constexpr double kLatencyLimit = 2;       // times that without
constexpr double kRestoreLimit = 10;      // seconds
constexpr double kIncrementLimit = 0.1;   // of what a full checkpoint writes, after a hundredth was touched
constexpr std::uint64_t kLargeKeys = 5'000'000;
constexpr std::size_t kCheckedKeys = 100'000;

enum class Backend { kMemory, kRocksDb };

struct Options {
  std::vector<Backend> backends = {Backend::kMemory, Backend::kRocksDb};
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

/// Of one backend.
class Measurement {
 public:
  Measurement(const Options& options, Backend backend) : options_(options), backend_(backend) {}

  void run();

 private:
  levada::StateBackendOptions state() const {
    if (backend_ == Backend::kMemory) return levada::memory_state();
    return levada::rocksdb::state({.directory = folder_ / "cold"});
  }
  RollingResult run(double rate, const std::string& directory, KeyCounts& counts) const {
    RollingResult result = run_rolling({.keys = options_.keys,
                                        .rate = rate,
                                        .warm_up = options_.warm_up,
                                        .measured = options_.measured,
                                        .directory = directory,
                                        .state = state()},
                                       counts);
    check(result);
    return result;
  }
  RollingResult run(double rate, const std::string& directory) const {
    KeyCounts counts(kCheckedKeys);
    return run(rate, directory, counts);
  }
  void print_full_speed(const RollingResult& without, const RollingResult& with) const;
  void restore(const std::string& folder, KeyCounts counts) const;
  void measure_increments() const;

  const Options& options_;
  const Backend backend_;
  const levada::testing::TempDir folder_;
};

void Measurement::print_full_speed(const RollingResult& without, const RollingResult& with) const {
  const double ratio = with.rows_per_s / without.rows_per_s;
  const double least = options_.keys < kLargeKeys ? 0.95 : backend_ == Backend::kMemory ? 0.85 : 0.9;
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
void Measurement::restore(const std::string& folder, KeyCounts counts) const {
  const RollingResult again = run_rolling({.keys = options_.keys,
                                           .warm_up = 0s,
                                           .measured = 1s + 30s,
                                           .directory = folder,
                                           .state = state()},
                                          counts);
  check(again);
  if (again.restored == 0) throw std::runtime_error("nothing was restored");
  std::printf("restore first_row_s=%.2f limit=%.0f %s\n", again.first_row_s, kRestoreLimit,
              verdict(again.first_row_s <= kRestoreLimit));
}

void Measurement::measure_increments() const {
  const Increments found = bench::measure_increments(options_.keys, state(), folder_ / "increments");
  std::printf("increments full_mb=%.1f mb=", static_cast<double>(found.full_bytes) / 1e6);
  for (const std::uint64_t bytes : found.increment_bytes) std::printf("%.2f,", static_cast<double>(bytes) / 1e6);
  // Some have what a compaction has made of RocksDB's files, too.
  const auto half = static_cast<std::ptrdiff_t>(found.increment_bytes.size() / 2);
  const std::vector<double> later(found.increment_bytes.begin() + half, found.increment_bytes.end());
  const double part = median(later) / static_cast<double>(found.full_bytes);
  std::printf(" median_part=%.3f limit=%.2f %s\n", part, kIncrementLimit, verdict(part <= kIncrementLimit));
}

void Measurement::run() {
  std::printf("state=%s keys=%" PRIu64 " seconds=%.0f\n", backend_ == Backend::kMemory ? "memory" : "rocksdb",
              options_.keys, std::chrono::duration<double>(options_.measured).count());
  if (backend_ == Backend::kRocksDb) measure_increments();  // state in memory is written as a whole each time
  std::fflush(stdout);
  const RollingResult without = run(0, "");
  KeyCounts counts(kCheckedKeys);
  const RollingResult with = run(0, folder_ / "full", counts);
  print_full_speed(without, with);
  restore(folder_ / "full", counts);
  std::fflush(stdout);
  const double half = without.rows_per_s / 2;
  const RollingResult paced = run(half, "");
  const RollingResult paced_with = run(half, folder_ / "half");
  print_half_speed(paced, paced_with, half);
  std::fflush(stdout);
}

Options parse(int argc, char** argv) {
  Options options;
  each_option(argc, argv, [&](const std::string& word, const std::string& value) {
    if (word == "--state" && (value == "memory" || value == "rocksdb")) {
      options.backends = {value == "memory" ? Backend::kMemory : Backend::kRocksDb};
    } else if (word == "--keys") {
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
  return bench::run_main("checkpoints_bench", [&] {
    const bench::Options options = bench::parse(argc, argv);
    for (const bench::Backend backend : options.backends) bench::Measurement(options, backend).run();
  });
}
