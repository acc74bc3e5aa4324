// What state in RocksDB costs, beside the same job with state in memory or a bare RocksDB loop, with a checkpoint
// each second. Each run is a process of its own; the sides run in turn and medians count. The results must be
// equal.
//
//   rocksdb_bench [JOB…] [--repeats N] [--rows N]
//   rocksdb_bench JOB --only rocksdb|memory|bare --rows N
//
// Prints for each job one line
//   job=NAME rows=… ns_per_row=… beside_ns_per_row=… ratio=… rows_per_s=… rss_mb=… written_mb=… checkpoints=…
// with written_mb what the process wrote to the disk, and then restore_s: how long a start from the last
// checkpoint takes. Of jobs beside nothing, once, the most memory they had beside their budget.
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "checksum_sink.h"
#include "child_run.h"
#include "command_line.h"
#include "levada/rocksdb.h"
#include "median.h"
#include "rocksdb_jobs.h"
#include "support/temp_dir.h"

namespace bench {
namespace {

using namespace std::chrono_literals;
using levada::StreamEnvironment;

struct Outcome {
  Checksum checksum;
  std::uint64_t checkpoints = 0;
  double restore_s = 0;
};

std::string text_key(std::uint64_t key) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, mix(key));
  return text;
}

struct Folded {
  std::int64_t total = 0, count = 0;
};
LEVADA_RECORD(Folded, total, count)

// The rolling reduce of keys that are entries of a few large maps.
struct FoldInMaps {
  levada::MapState<std::uint64_t, Folded> maps{"maps"};

  void process(const Row& row, levada::KeyedContext<std::uint64_t, Total>& ctx) {
    Folded& folded = maps.get(row.key);
    folded.total += static_cast<std::int64_t>(row.value);
    ++folded.count;
    ctx.emit({row.key, folded.total, folded.count});
  }
};

void build(StreamEnvironment& env, const ColdJob& job, std::uint64_t rows, ChecksumSink::Shared& shared) {
  const auto totals = [&](const auto& stream, const auto& key) {
    stream
        .aggregate(key.as(&Total::key),
                   levada::sum([](const Row& row) { return static_cast<std::int64_t>(row.value); })
                       .as(&Total::total),
                   levada::count().as(&Total::count))
        .uid("totals")
        .for_each(ChecksumSink(shared))
        .uid("sink");
  };
  const auto stream = env.generate<Row>([source = ColdRows(job)](std::uint64_t i) { return source.row(i); },
                                        {.rows = rows}, levada::event_time(&Row::at))
                          .uid("rows");
  if (job.text) {
    return totals(stream.key_by([](const Row& row) { return text_key(row.key); }), levada::max(&Row::key));
  }
  if (job.name.find("map") != std::string_view::npos) {
    constexpr std::uint64_t kMaps = 10;
    stream.key_by([](const Row& row) { return row.key % kMaps; })
        .process<Total>(FoldInMaps{})
        .uid("totals")
        .for_each(ChecksumSink(shared))
        .uid("sink");
    return;
  }
  const auto by_key = stream.key_by(&Row::key);
  if (job.name.find("tumble") != std::string_view::npos) {
    totals(by_key.window(levada::tumbling(1s)), levada::key());
  } else if (job.name.find("slide") != std::string_view::npos) {
    totals(by_key.window(levada::sliding({.size = 10s, .slide = 1s})), levada::key());
  } else {
    totals(by_key, levada::key());
  }
}

Outcome run_job(const ColdJob& job, std::uint64_t rows, bool cold, const std::string& directory) {
  Outcome outcome;
  ChecksumSink::Shared shared;
  const auto options = [&] {
    levada::EnvironmentOptions made{.checkpoint = {.interval = 1s, .directory = directory + "/checkpoints"},
                                    .memory = job.memory};
    if (cold) made.state = levada::rocksdb::state({.directory = directory + "/cold"});
    if (!cold) made.memory = std::size_t{8} << 30;
    return made;
  };
  {
    StreamEnvironment env(options());
    build(env, job, rows, shared);
    levada::Job running = env.execute_async(job.name);
    running.wait();
    outcome.checkpoints = running.status().checkpoints_completed;
  }
  outcome.checksum = shared.checksum();
  const auto begun = std::chrono::steady_clock::now();
  ChecksumSink::Shared again;
  StreamEnvironment env(options());
  build(env, job, rows, again);
  levada::Job running = env.execute_async(job.name);
  running.wait();
  if (!running.status().restored_from) throw std::runtime_error("the job did not go on from its checkpoint");
  outcome.restore_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return outcome;
}

std::uint64_t written_bytes() {
  std::ifstream file("/proc/self/io");
  for (std::string name; file >> name;) {
    std::uint64_t number = 0;
    file >> number;
    if (name == "write_bytes:") return number;
  }
  return 0;
}

void run_here(const ColdJob& job, const std::string& side, std::uint64_t rows) {
  const levada::testing::TempDir directory;
  Outcome outcome;
  if (side == "bare") {
    outcome.checksum = run_bare_rocksdb(job, rows, directory / "bare", job.memory / 2);
  } else {
    outcome = run_job(job, rows, side == "rocksdb", directory.path());
  }
  std::printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %.3f\n", outcome.checksum.rows,
              outcome.checksum.sum, outcome.checkpoints, written_bytes(), outcome.restore_s);
}

struct Run {
  double ns_per_row = 0, rows_per_s = 0, rss_mb = 0, written_mb = 0, restore_s = 0;
  std::uint64_t checkpoints = 0;
  Checksum checksum;
};

Run run_side(const ColdJob& job, const std::string& side, std::uint64_t rows) {
  const ChildRun child =
      run_child({"/proc/self/exe", std::string(job.name), "--only", side, "--rows", std::to_string(rows)});
  Run run;
  std::uint64_t written = 0;
  const int read = std::sscanf(child.output.c_str(), "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %lf",
                               &run.checksum.rows, &run.checksum.sum, &run.checkpoints, &written, &run.restore_s);
  if (child.status != 0 || read != 5) throw std::runtime_error(std::string(job.name) + ": " + side + " failed");
  run.ns_per_row = child.cpu_s * 1e9 / static_cast<double>(rows);
  run.rows_per_s = static_cast<double>(rows) / (child.wall_s - run.restore_s);
  run.rss_mb = child.rss_mb;
  run.written_mb = static_cast<double>(written) / 1e6;
  return run;
}

double median_of(const std::vector<Run>& runs, double Run::*figure) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(run.*figure);
  return median(values);
}

void measure_alone(const ColdJob& job, std::uint64_t rows) {
  constexpr double kOverBudget = 1.2;
  const Run run = run_side(job, "rocksdb", rows);
  const double budget = static_cast<double>(job.memory) / (1 << 20);
  std::printf("job=%s rows=%" PRIu64 " ns_per_row=%.1f rows_per_s=%.0f rss_mb=%.0f budget_mb=%.0f most=%.0f %s "
              "written_mb=%.0f checkpoints=%" PRIu64 " restore_s=%.2f\n",
              std::string(job.name).c_str(), rows, run.ns_per_row, run.rows_per_s, run.rss_mb, budget,
              kOverBudget * budget, run.rss_mb <= kOverBudget * budget ? "ok" : "over", run.written_mb,
              run.checkpoints, run.restore_s);
  std::fflush(stdout);
}

void measure(const ColdJob& job, std::uint64_t rows, int repeats) {
  std::vector<Run> ours, others;
  const char* const other = job.bare ? "bare" : "memory";
  for (int i = 0; i < repeats; ++i) {
    others.push_back(run_side(job, other, rows));
    ours.push_back(run_side(job, "rocksdb", rows));
    if (ours.back().checksum == others.back().checksum) continue;
    throw std::runtime_error(std::string(job.name) + ": the results differ from those of " + other);
  }
  const double ns = median_of(ours, &Run::ns_per_row), beside = median_of(others, &Run::ns_per_row);
  std::printf("job=%s rows=%" PRIu64 " ns_per_row=%.1f beside=%s beside_ns_per_row=%.1f ratio=%.2f "
              "rows_per_s=%.0f beside_rows_per_s=%.0f rss_mb=%.0f written_mb=%.0f beside_written_mb=%.0f "
              "checkpoints=%" PRIu64 " restore_s=%.2f\n",
              std::string(job.name).c_str(), rows, ns, other, beside, ns / beside,
              median_of(ours, &Run::rows_per_s), median_of(others, &Run::rows_per_s),
              median_of(ours, &Run::rss_mb), median_of(ours, &Run::written_mb),
              median_of(others, &Run::written_mb), ours.back().checkpoints,
              median_of(ours, &Run::restore_s));
  std::fflush(stdout);
}

void run(int argc, char** argv) {
  std::vector<std::string> names;
  std::string only;
  std::uint64_t rows = 0;
  int repeats = 3;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool option = word.starts_with("--");
    if (option && i + 1 == argc) throw std::runtime_error(word + " needs a value");
    if (word == "--only") {
      only = argv[++i];
    } else if (word == "--rows") {
      rows = std::stoull(argv[++i]);
    } else if (word == "--repeats") {
      repeats = std::stoi(argv[++i]);
    } else if (option) {
      throw std::runtime_error("unknown: " + word);
    } else {
      names.push_back(word);
    }
  }
  std::size_t found = 0;
  for (const ColdJob& job : kColdJobs) {
    if (!names.empty() && std::find(names.begin(), names.end(), job.name) == names.end()) continue;
    ++found;
    const std::uint64_t count = rows > 0 ? rows : job.rows;
    if (only.empty() && job.alone) {
      measure_alone(job, count);
    } else if (only.empty()) {
      measure(job, count, repeats);
    } else {
      run_here(job, only, count);
    }
  }
  if (!names.empty() && found != names.size()) throw std::runtime_error("there is no such job");
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::run_main("rocksdb_bench", [&] { bench::run(argc, argv); });
}
