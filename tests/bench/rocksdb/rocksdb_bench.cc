// What state in RocksDB costs, beside the same job with state in memory or a bare RocksDB loop, with a checkpoint
// each second. Each run is a process of its own; the sides run in turn and medians count. A run takes its rows and a
// checkpoint, which is what is measured, and is stopped; a second start begins with its last checkpoint, takes a
// savepoint, and ends. All results and what is in the savepoint must be equal.
//
//   rocksdb_bench [JOB…] [--repeats N] [--rows N]
//   rocksdb_bench JOB --only rocksdb|memory|bare --rows N
//
// Prints for each job one line
//   job=NAME rows=… ns_per_row=… beside_ns_per_row=… ratio=… rows_per_s=… rss_mb=… written_mb=… checkpoints=…
// with written_mb what was written to the disk, rss_mb the most memory, in the second start as well, and restore_s
// how long that took to begin with its state. Of jobs beside nothing, once, the memory beside their budget.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "checksum_sink.h"
#include "child_run.h"
#include "command_line.h"
#include "cpu_time.h"
#include "levada/rocksdb.h"
#include "levada/state_reader.h"
#include "median.h"
#include "rocksdb_jobs.h"
#include "support/gated_source.h"
#include "support/temp_dir.h"

namespace bench {

std::uint64_t written_bytes() {
  std::ifstream file("/proc/self/io");
  for (std::string name; file >> name;) {
    std::uint64_t number = 0;
    file >> number;
    if (name == "write_bytes:") return number;
  }
  return 0;
}

namespace {

using namespace std::chrono_literals;
using levada::StreamEnvironment;

struct Outcome {
  Checksum output;
  Checksum state;  ///< restored
  double cpu_s = 0, wall_s = 0;  ///< of the first start
  std::uint64_t written_bytes = 0;
  std::uint64_t checkpoints = 0;
  double restore_s = 0;
};

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

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

void build(StreamEnvironment& env, const ColdJob& job, const std::shared_ptr<levada::testing::Gate>& gate,
           ChecksumSink::Shared& shared) {
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
  const auto source = levada::testing::gated_source<Row>(
      gate, [rows = ColdRows(job)](std::uint64_t i) { return rows.row(i); });
  const auto stream = env.from_source(source, levada::event_time(&Row::at)).uid("rows");
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

// In no order.
Checksum checksum_of(const ColdJob& job, const std::string& savepoint) {
  const levada::StateReader reader(savepoint);
  Checksum checksum;
  if (job.bare) {
    using Sums = std::tuple<levada::detail::Nothing, std::int64_t, std::int64_t>;
    reader.read<std::uint64_t, Sums>("totals", "rolling", [&](std::uint64_t key, const Sums& sums) {
      add_kept(checksum, key, std::get<1>(sums), std::get<2>(sums));
    });
    return checksum;
  }
  for (const levada::StateInfo& state : reader.states()) {
    if (!state.keyed) continue;
    reader.read_json(state.uid, state.name, [&](const levada::JsonEntry& entry) {
      const std::hash<std::string_view> hash;
      add_kept(checksum, hash(entry.key_bytes), static_cast<std::int64_t>(hash(entry.value)), entry.name_space);
    });
  }
  return checksum;
}

Outcome run_job(const ColdJob& job, std::uint64_t rows, bool cold, const std::string& directory) {
  Outcome outcome;
  const auto begun = std::chrono::steady_clock::now();
  const auto gate = std::make_shared<levada::testing::Gate>();
  ChecksumSink::Shared shared;
  const auto options = [&] {
    levada::EnvironmentOptions made{.checkpoint = {.interval = 1s, .directory = directory + "/checkpoints"},
                                    .memory = job.memory};
    if (cold) made.state = levada::rocksdb::state({.directory = directory + "/cold"});
    if (!cold) made.memory = std::size_t{8} << 30;
    return made;
  };
  gate->open(rows);
  {
    StreamEnvironment env(options());
    build(env, job, gate, shared);
    levada::Job running = env.execute_async(job.name);
    while (gate->read() < rows && !running.wait_for(1ms)) {
    }
    running.checkpoint();
    outcome.checkpoints = running.status().checkpoints_completed;
    outcome.cpu_s = cpu_seconds();
    outcome.wall_s = seconds_since(begun);
    outcome.written_bytes = written_bytes();
    running.request_stop();
    running.wait();
  }
  StreamEnvironment env(options());
  build(env, job, gate, shared);
  const auto again = std::chrono::steady_clock::now();
  levada::Job running = env.execute_async(job.name);
  while (running.status().state != levada::JobState::kRunning && !running.wait_for(1ms)) {
  }
  outcome.restore_s = seconds_since(again);
  if (!running.status().restored_from) throw std::runtime_error("the job did not go on from its checkpoint");
  running.savepoint(directory + "/savepoint");
  gate->end_at(rows);
  running.wait();
  outcome.output = shared.checksum();
  outcome.state = checksum_of(job, directory + "/savepoint");
  return outcome;
}

void run_here(const ColdJob& job, const std::string& side, std::uint64_t rows) {
  const levada::testing::TempDir directory;
  Outcome outcome;
  if (side == "bare") {
    const BareOutcome bare = run_bare_rocksdb(job, rows, directory / "bare", job.memory / 2);
    outcome = {.output = bare.output,
               .state = bare.state,
               .cpu_s = bare.cpu_s,
               .wall_s = bare.wall_s,
               .written_bytes = bare.written_bytes};
  } else {
    outcome = run_job(job, rows, side == "rocksdb", directory.path());
  }
  std::printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %.4f %.4f %" PRIu64 " %" PRIu64 " %.3f\n",
              outcome.output.rows, outcome.output.sum, outcome.state.rows, outcome.state.sum, outcome.cpu_s,
              outcome.wall_s, outcome.written_bytes, outcome.checkpoints, outcome.restore_s);
}

struct Run {
  double ns_per_row = 0, rows_per_s = 0, rss_mb = 0, written_mb = 0, restore_s = 0;
  std::uint64_t checkpoints = 0;
  Checksum output, state;
};

Run run_side(const ColdJob& job, const std::string& side, std::uint64_t rows) {
  const ChildRun child =
      run_child({"/proc/self/exe", std::string(job.name), "--only", side, "--rows", std::to_string(rows)});
  Run run;
  double cpu_s = 0, wall_s = 0;
  std::uint64_t written = 0;
  const int read = std::sscanf(child.output.c_str(),
                               "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %lf %lf %" SCNu64 " %" SCNu64 " %lf",
                               &run.output.rows, &run.output.sum, &run.state.rows, &run.state.sum, &cpu_s, &wall_s,
                               &written, &run.checkpoints, &run.restore_s);
  if (child.status != 0 || read != 9) throw std::runtime_error(std::string(job.name) + ": " + side + " failed");
  run.ns_per_row = cpu_s * 1e9 / static_cast<double>(rows);
  run.rows_per_s = static_cast<double>(rows) / wall_s;
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
    const bool equal = ours.back().output == others.back().output && ours.back().state == others.back().state;
    if (!equal) throw std::runtime_error(std::string(job.name) + ": the results differ from those of " + other);
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
