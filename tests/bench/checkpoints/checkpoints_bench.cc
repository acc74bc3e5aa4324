// What checkpoints cost a job with much state: a rolling sum by key, without and with a checkpoint each
// second, in turn. Throughput and the gaps between batches at full speed, latency at half of it, the restore, and what
// a checkpoint writes after a hundredth of the keys was touched. With state in memory, then with state in RocksDB.
// Memory's speed changes within minutes where others use it, too: so many short rounds, and the median of their ratios.
//
//   checkpoints_bench [--state memory|rocksdb] [--keys N] [--rounds N] [--seconds N] [--warm-up N]
//
// Prints lines of key=value with what is allowed. Exit code: 1 when a count is wrong after the restart.
#include <cinttypes>
#include <cstdio>
#include <filesystem>
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
  int rounds = 7;
  Duration measured = 30s;
  Duration warm_up = 10s;
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

/// Without and with checkpoints, in turn.
struct Round {
  RollingResult without;
  RollingResult with;
};

template <class Value>
double median_of(const std::vector<Round>& rounds, Value value) {
  std::vector<double> values;
  for (const Round& round : rounds) values.push_back(value(round));
  return median(values);
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
  void full_speed(const std::string& folder);
  void half_speed(const std::string& folder);
  void restore(const std::string& folder, KeyCounts counts) const;
  void measure_increments() const;
  void print_medians() const;

  const Options& options_;
  const Backend backend_;
  const levada::testing::TempDir folder_;
  std::vector<Round> full_, half_;
};

void Measurement::full_speed(const std::string& folder) {
  KeyCounts counts(kCheckedKeys);
  const Round& round = full_.emplace_back(Round{run(0, ""), run(0, folder, counts)});
  std::printf("full rows_per_s=%.0f with=%.0f ns_per_row=%.2f with_ns_per_row=%.2f checkpoints=%" PRIu64
              " bytes=%" PRIu64 " duration_s=%.3f\n",
              round.without.rows_per_s, round.with.rows_per_s, round.without.cpu_ns_per_row,
              round.with.cpu_ns_per_row, round.with.checkpoints, round.with.bytes_per_checkpoint,
              round.with.checkpoint_s);
  print_delays("gaps", round.without.gaps);
  print_delays("gaps_with", round.with.gaps);
  restore(folder, std::move(counts));
  std::filesystem::remove_all(folder);
}

void Measurement::half_speed(const std::string& folder) {
  const double rate = full_.back().without.rows_per_s / 2;
  const Round& round = half_.emplace_back(Round{run(rate, ""), run(rate, folder)});
  std::printf("half rate=%.0f checkpoints=%" PRIu64 "\n", rate, round.with.checkpoints);
  print_delays("latency", round.without.latency);
  print_delays("latency_with", round.with.latency);
  std::filesystem::remove_all(folder);
}

// The state of `folder`, with the counts that belong to it, is restored by a run of some seconds.
void Measurement::restore(const std::string& folder, KeyCounts counts) const {
  const RollingResult again = run_rolling({.keys = options_.keys,
                                           .warm_up = 0s,
                                           .measured = 12s,  // more than it may take
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

void Measurement::print_medians() const {
  const double least = options_.keys < kLargeKeys ? 0.95 : backend_ == Backend::kMemory ? 0.85 : 0.9;
  const double ratio =
      median_of(full_, [](const Round& round) { return round.with.rows_per_s / round.without.rows_per_s; });
  std::printf("throughput ratio=%.3f least=%.2f %s\n", ratio, least, verdict(ratio >= least));
  const double more = median_of(full_, [](const Round& round) {
    return ms(round.with.gaps.percentile(0.999) - round.without.gaps.percentile(0.999));
  });
  std::printf("gap p99.9_more_ms=%.3f limit=%.3f %s\n", more, ms(kGapLimit), verdict(more <= ms(kGapLimit)));
  const double later = median_of(half_, [](const Round& round) {
    return ms(round.with.latency.percentile(0.999)) / ms(round.without.latency.percentile(0.999));
  });
  std::printf("latency p99.9_ratio=%.2f limit=%.1f %s\n", later, kLatencyLimit, verdict(later <= kLatencyLimit));
}

void Measurement::run() {
  std::printf("state=%s keys=%" PRIu64 " rounds=%d seconds=%.0f\n",
              backend_ == Backend::kMemory ? "memory" : "rocksdb", options_.keys, options_.rounds,
              std::chrono::duration<double>(options_.measured).count());
  if (backend_ == Backend::kRocksDb) measure_increments();  // state in memory is written as a whole each time
  for (int i = 0; i < options_.rounds; ++i) {
    full_speed(folder_ / ("full-" + std::to_string(i)));
    half_speed(folder_ / ("half-" + std::to_string(i)));
    std::fflush(stdout);
  }
  print_medians();
  std::fflush(stdout);
}

Options parse(int argc, char** argv) {
  Options options;
  each_option(argc, argv, [&](const std::string& word, const std::string& value) {
    if (word == "--state" && (value == "memory" || value == "rocksdb")) {
      options.backends = {value == "memory" ? Backend::kMemory : Backend::kRocksDb};
    } else if (word == "--keys") {
      options.keys = std::stoull(value);
    } else if (word == "--rounds") {
      options.rounds = std::stoi(value);
    } else if (word == "--seconds") {
      options.measured = std::chrono::seconds{std::stoi(value)};
    } else if (word == "--warm-up") {
      options.warm_up = std::chrono::seconds{std::stoi(value)};
    } else {
      return false;
    }
    return true;
  });
  if (options.rounds < 1) throw std::runtime_error("--rounds: at least 1");
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
