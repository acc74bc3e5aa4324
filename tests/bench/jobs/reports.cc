#include "reports.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <map>
#include <stdexcept>

#include "measure.h"

namespace bench {
namespace {

constexpr double kCheckpointLimit = 1.1;
constexpr double kCheckpointSeconds = 5;
constexpr std::uint64_t kCheckpointsLeast = 3;
constexpr std::size_t kLargeMemory = std::size_t{16} << 30;

std::string name_of(const Job& job) { return std::string(job.name); }

std::function<Run()> levada_side(const Job& job, bool checkpoints = false, std::size_t memory = 0) {
  return [=] {
    return run_side(
        {.job = job, .rows = job.rows, .checkpoints = checkpoints, .memory = memory});
  };
}

std::function<Run()> bare_side(const Job& job) {
  return [=] { return run_side({.job = job, .rows = job.rows, .bare = true}); };
}

struct Pair {
  Figures levada;
  Figures bare;
};

Pair beside_bare(const ReportOptions& options, const Job& job) {
  const auto figures = measure_in_turn({bare_side(job), levada_side(job)}, options.repeats, Same::kResults,
                                       name_of(job));
  return {figures[1], figures[0]};
}

void print_line(const Job& job, const Pair& row) {
  std::printf("job=%s rows=%" PRIu64 " ns_per_row=%.2f rows_per_s=%.0f rss_mb=%.0f "
              "bare_ns_per_row=%.2f ratio=%.2f spread=%.2f/%.2f\n",
              name_of(job).c_str(), job.rows, row.levada.cpu_ns_per_row, row.levada.rows_per_s,
              row.levada.rss_mb, row.bare.cpu_ns_per_row,
              row.levada.cpu_ns_per_row / row.bare.cpu_ns_per_row, row.levada.spread,
              row.bare.spread);
  std::fflush(stdout);
}

// "1.23 of 1.30 the bare loop", with a mark where it is more.
void print_verdict(const Job& job, const std::map<std::string, Pair>& rows) {
  const Pair& row = rows.at(name_of(job));
  const double ns = row.levada.cpu_ns_per_row;
  double ratio = ns / row.bare.cpu_ns_per_row;
  std::string beside = "bare loop";
  if (!job.limit.beside.empty()) {
    beside = job.limit.beside;
    if (!rows.contains(beside)) return;
    ratio = ns / rows.at(beside).levada.cpu_ns_per_row;
  }
  if (job.limit.ratio > 0) {
    std::printf("  %5.2f  %5.2f  %-10s %s", ratio, job.limit.ratio, beside.c_str(),
                ratio > job.limit.ratio ? "over" : "ok");
  } else if (job.limit.ns > 0) {
    std::printf("  %5.2f      -  %-10s %s", ratio, "ns alone", ns > job.limit.ns ? "over" : "ok");
  }
}

// The rows of about `seconds` of Levada.
Job lengthened(const Job& job, double seconds) {
  Job longer = job;
  const Run probe = levada_side(job)();
  longer.rows = std::max(job.rows, static_cast<std::uint64_t>(probe.rows_per_s * seconds));
  return longer;
}

void print_parallelism(const ReportOptions& options, std::string_view name, double least) {
  Job one = *find_job(name);
  one.parallelism = 1;
  one = lengthened(one, 2);
  Job two = one;
  two.parallelism = 2;
  const auto figures = measure_in_turn({levada_side(one), levada_side(two)}, options.repeats,
                                       Same::kRows, name_of(one));
  const double gain = figures[1].rows_per_s / figures[0].rows_per_s;
  std::printf("scaling job=%s rows_per_s_1=%.0f rows_per_s_2=%.0f gain=%.2f least=%.1f "
              "ns_per_row_1=%.2f ns_per_row_2=%.2f %s\n",
              name_of(one).c_str(), figures[0].rows_per_s, figures[1].rows_per_s, gain, least,
              figures[0].cpu_ns_per_row, figures[1].cpu_ns_per_row, gain < least ? "under" : "ok");
  std::fflush(stdout);
}

// A key comes four times on average; a window holds each twice.
void print_keys(const ReportOptions& options, std::string_view name, std::uint64_t keys) {
  Job job = *find_job(name);
  job.keys = keys;
  job.rows = std::max<std::uint64_t>(20'000'000, 4 * keys);
  job.rows_per_s = std::max<std::uint64_t>(1'000'000, 2 * keys);
  std::size_t memory = 0;
  try {
    levada_side(job)();
  } catch (const std::runtime_error&) {
    memory = kLargeMemory;  // said in the line: the default budget did not hold the state
  }
  const int repeats = keys > 10'000'000 ? 1 : std::min(options.repeats, 3);
  const auto figures = measure_in_turn({bare_side(job), levada_side(job, false, memory)}, repeats,
                                       Same::kResults, name_of(job));
  std::printf("keys job=%s keys=%" PRIu64 " rows=%" PRIu64
              " ns_per_row=%.2f bare_ns_per_row=%.2f ratio=%.2f rss_mb=%.0f memory=%s\n",
              std::string(name.substr(0, name.find('_'))).c_str(), keys, job.rows,
              figures[1].cpu_ns_per_row, figures[0].cpu_ns_per_row,
              figures[1].cpu_ns_per_row / figures[0].cpu_ns_per_row, figures[1].rss_mb,
              memory == 0 ? "default" : "16GiB (the default budget does not hold the state)");
  std::fflush(stdout);
}

void print_more_rows(const ReportOptions& options, std::string_view name) {
  const Job job = *find_job(name);
  Job more = job;
  more.rows *= 10;
  const auto figures = measure_in_turn({levada_side(job), levada_side(more)},
                                       std::min(options.repeats, 3), Same::kNothing, name_of(job));
  std::printf("rows job=%s rows=%" PRIu64 " ns_per_row=%.2f ns_per_row_at_10x=%.2f ratio=%.2f "
              "rss_mb=%.0f rss_mb_at_10x=%.0f\n",
              name_of(job).c_str(), job.rows, figures[0].cpu_ns_per_row, figures[1].cpu_ns_per_row,
              figures[1].cpu_ns_per_row / figures[0].cpu_ns_per_row, figures[0].rss_mb,
              figures[1].rss_mb);
  std::fflush(stdout);
}

}  // namespace

void print_table(const ReportOptions& options) {
  std::map<std::string, Pair> rows;
  for (const Job& job : options.jobs) {
    const Pair row = beside_bare(options, job);
    print_line(job, row);
    rows[name_of(job)] = row;
  }
  std::printf("\n%-26s %8s %8s %8s  %5s  %5s  %s\n", "CPU ns a row", "bare", "Levada", "at most",
              "ratio", "limit", "to");
  for (const Job& job : options.jobs) {
    const Pair& row = rows.at(name_of(job));
    std::printf("%-26s %8.2f %8.2f ", name_of(job).c_str(), row.bare.cpu_ns_per_row,
                row.levada.cpu_ns_per_row);
    if (job.limit.ns > 0) {
      std::printf("%8.1f", job.limit.ns);
    } else {
      std::printf("%8s", "-");
    }
    print_verdict(job, rows);
    std::printf("\n");
  }
  std::fflush(stdout);
}

void print_checkpoints(const ReportOptions& options) {
  for (const Job& each : options.jobs) {
    const Job job = lengthened(each, kCheckpointSeconds);
    const auto figures = measure_in_turn({levada_side(job), levada_side(job, true)},
                                         options.repeats, Same::kResults, name_of(job));
    if (figures[1].checkpoints < kCheckpointsLeast) {
      throw std::runtime_error(name_of(job) + ": too few checkpoints to say anything");
    }
    const double ratio = figures[1].cpu_ns_per_row / figures[0].cpu_ns_per_row;
    // On a machine that does other work as well there are more checkpoints to a second of CPU time.
    const double ms_each = (figures[1].cpu_ns_per_row - figures[0].cpu_ns_per_row) *
                           static_cast<double>(job.rows) * 1e-6 /
                           static_cast<double>(figures[1].checkpoints);
    std::printf("checkpoints job=%s rows=%" PRIu64 " ns_per_row=%.2f with_ns_per_row=%.2f "
                "ratio=%.3f limit=%.1f checkpoints=%" PRIu64
                " cpu_ms_per_checkpoint=%.1f spread=%.2f/%.2f %s\n",
                name_of(job).c_str(), job.rows, figures[0].cpu_ns_per_row,
                figures[1].cpu_ns_per_row, ratio, kCheckpointLimit, figures[1].checkpoints,
                ms_each, figures[0].spread, figures[1].spread, ratio > kCheckpointLimit ? "over" : "ok");
    std::fflush(stdout);
  }
}

void print_scaling(const ReportOptions& options) {
  for (const char* name : {"chain", "reduce_1k", "tumble_1k", "slide_1k"}) {
    print_parallelism(options, name, 1.8);
  }
  for (const char* name : {"reduce_1m", "tumble_1m_dense", "tumble_1m"}) {
    print_parallelism(options, name, 1.3);
  }
  for (const std::uint64_t keys : {1'000, 1'000'000, 10'000'000, 50'000'000}) {
    print_keys(options, "reduce_1m", keys);
    print_keys(options, "tumble_1m", keys);
  }
  for (const char* name : {"chain", "reduce_1k", "reduce_1m", "tumble_1k", "tumble_1m", "slide_1k"}) {
    print_more_rows(options, name);
  }
}

void print_skew(const ReportOptions& options) {
  for (std::size_t i = 0; i < std::size(kSkewedJobs); i += 2) {
    const Job& zipf = kSkewedJobs[i];
    const Job& even = kSkewedJobs[i + 1];
    const auto figures = measure_in_turn({levada_side(even), levada_side(zipf)}, options.repeats,
                                         Same::kNothing, name_of(zipf));
    std::printf("skew job=%s rows=%" PRIu64 " ns_per_row=%.2f even_ns_per_row=%.2f ratio=%.2f "
                "rows_per_s=%.0f even_rows_per_s=%.0f throughput_ratio=%.2f\n",
                name_of(zipf).c_str(), zipf.rows, figures[1].cpu_ns_per_row,
                figures[0].cpu_ns_per_row, figures[1].cpu_ns_per_row / figures[0].cpu_ns_per_row,
                figures[1].rows_per_s, figures[0].rows_per_s,
                figures[1].rows_per_s / figures[0].rows_per_s);
    std::fflush(stdout);
  }
}

}  // namespace bench
