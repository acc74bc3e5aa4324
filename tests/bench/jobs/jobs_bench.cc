// What whole jobs cost beside bare loops: CPU time (user and system, all threads) of a process that does
// nothing else, over its rows. All sides run in turn, each run in a process of its own; medians count, and
// where they scatter by more than 15 % they are measured again. The results of both must be equal.
//
//   jobs_bench [JOB…] [--repeats N] [--rows N] [--keys N] [--parallelism N]
//              [--checkpoints | --scaling | --skew | --peers DIR]
//   jobs_bench JOB --only bare|levada [--checkpoints] [--memory BYTES] [--event-rate N]
//
// Prints for each job one line
//   job=NAME rows=… ns_per_row=… rows_per_s=… rss_mb=… bare_ns_per_row=… ratio=…
// and then the table with the limits; with an option what reports.h says of it. The second form runs one
// side in this process. Exit code: 1 when a result is wrong or a process failed.
#include <cinttypes>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "command_line.h"
#include "reports.h"
#include "support/temp_dir.h"

namespace bench {
namespace {

struct Options {
  std::vector<std::string> jobs;
  int repeats = 5;
  std::uint64_t rows = 0;  // 0: the job's own, as for the next
  std::uint64_t keys = 0;
  std::uint64_t event_rate = 0;
  int parallelism = 0;
  std::size_t memory = 0;
  std::string report = "--table";
  bool checkpoints = false;
  std::string peers;
  std::string only;  // one side, in this process
};

Job changed(const Options& options, const std::string& name) {
  Job job = *find_job(name);
  if (options.rows > 0) job.rows = options.rows;
  if (options.keys > 0) job.keys = options.keys;
  if (options.event_rate > 0) job.rows_per_s = options.event_rate;
  if (options.parallelism > 0) job.parallelism = options.parallelism;
  return job;
}

// One side in this process.
void run_here(const Options& options, const Job& job) {
  LevadaRun run;
  if (options.only == "bare") {
    run.checksum = run_bare(job, job.rows);
  } else if (options.checkpoints) {
    const levada::testing::TempDir folder;
    run = run_levada(job, job.rows,
                     {.checkpoint_directory = folder.path(), .memory = options.memory});
  } else {
    run = run_levada(job, job.rows, {.memory = options.memory});
  }
  std::printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", run.checksum.rows, run.checksum.sum,
              run.checkpoints);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] {
      if (++i == argc) throw std::runtime_error(word + " needs a value");
      return std::string(argv[i]);
    };
    if (word == "--repeats") {
      options.repeats = std::stoi(value());
    } else if (word == "--rows") {
      options.rows = std::stoull(value());
    } else if (word == "--keys") {
      options.keys = std::stoull(value());
    } else if (word == "--event-rate") {
      options.event_rate = std::stoull(value());
    } else if (word == "--parallelism") {
      options.parallelism = std::stoi(value());
    } else if (word == "--memory") {
      options.memory = std::stoull(value());
    } else if (word == "--only") {
      options.only = value();
    } else if (word == "--checkpoints") {
      options.checkpoints = true;
      options.report = word;
    } else if (word == "--scaling" || word == "--skew") {
      options.report = word;
    } else if (word == "--peers") {
      options.peers = value();
      options.report = word;
    } else if (find_job(word) != nullptr) {
      options.jobs.push_back(word);
    } else {
      throw std::runtime_error("there is no job or option '" + word + "'");
    }
  }
  if (options.repeats < 1) throw std::runtime_error("--repeats is at least 1");
  if (options.jobs.empty()) {
    for (const Job& job : kJobs) options.jobs.emplace_back(job.name);
  }
  return options;
}

void run(const Options& options) {
  ReportOptions report{.jobs = {}, .repeats = options.repeats, .peers = options.peers};
  for (const std::string& name : options.jobs) report.jobs.push_back(changed(options, name));
  if (!options.only.empty()) {
    for (const Job& job : report.jobs) run_here(options, job);
  } else if (options.report == "--checkpoints") {
    print_checkpoints(report);
  } else if (options.report == "--scaling") {
    print_scaling(report);
  } else if (options.report == "--skew") {
    print_skew(report);
  } else if (options.report == "--peers") {
    print_peers(report);
  } else {
    print_table(report);
  }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::run_main("jobs_bench", [&] { bench::run(bench::parse(argc, argv)); });
}
