// What whole jobs cost beside bare loops: CPU time (user and system, all threads) of a process that does
// nothing else, over its rows. Both sides run in turn, each run in a process of its own; medians count, and
// where they scatter by more than 15 % the whole job is measured again. The results of both must be equal.
//
//   jobs_bench [JOB…] [--repeats N] [--rows N] [--checkpoints] [--only bare|levada] [--keys N]
//
// Prints for each job one line
//   job=NAME rows=… ns_per_row=… rows_per_s=… rss_mb=… bare_ns_per_row=… ratio=…
// Exit code: 1 when a result is wrong or a process failed.
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "rows.h"

extern char** environ;

namespace bench {
namespace {

constexpr double kSpreadMax = 0.15;
constexpr int kTriesMax = 4;

struct Options {
  std::vector<std::string> jobs;
  int repeats = 5;
  std::uint64_t rows = 0;  // 0: the job's own
  std::uint64_t keys = 0;
  bool checkpoints = false;
  std::string only;  // one side, in this process
};

// Figures of one process.
struct Run {
  double cpu_ns_per_row = 0;
  double rows_per_s = 0;
  double rss_mb = 0;
  Checksum checksum;
};

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// Starts this program again for one side of one job and reads what it prints.
Run run_process(const Options& options, const Job& job, std::uint64_t rows, const char* side) {
  std::vector<std::string> words{"/proc/self/exe", std::string(job.name), "--only",
                                 side,             "--rows",              std::to_string(rows)};
  if (options.keys > 0) words.insert(words.end(), {"--keys", std::to_string(options.keys)});
  if (options.checkpoints) words.emplace_back("--checkpoints");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  const auto begun = std::chrono::steady_clock::now();
  pid_t child = 0;
  if (posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), environ) != 0) {
    throw std::runtime_error("posix_spawn failed");
  }
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  Run run;
  FILE* output = fdopen(ends[0], "r");
  const int read = std::fscanf(output, "%" SCNu64 " %" SCNu64, &run.checksum.rows, &run.checksum.sum);
  std::fclose(output);
  int status = 0;
  rusage usage{};
  if (wait4(child, &status, 0, &usage) != child || status != 0 || read != 2) {
    throw std::runtime_error(std::string(job.name) + ": the process of the " + side + " side failed");
  }
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begun;
  const double count = static_cast<double>(rows);
  run.cpu_ns_per_row = (seconds(usage.ru_utime) + seconds(usage.ru_stime)) * 1e9 / count;
  run.rows_per_s = count / wall.count();
  run.rss_mb = static_cast<double>(usage.ru_maxrss) / 1024;
  return run;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values.back() - values.front()) / values[values.size() / 2];
}

// The runs of both sides in turn.
struct Measured {
  std::vector<Run> bare;
  std::vector<Run> levada;
};

Measured measure_once(const Options& options, const Job& job, std::uint64_t rows) {
  Measured measured;
  for (int i = 0; i < options.repeats; ++i) {
    measured.bare.push_back(run_process(options, job, rows, "bare"));
    measured.levada.push_back(run_process(options, job, rows, "levada"));
    if (measured.bare.back().checksum != measured.levada.back().checksum) {
      throw std::runtime_error(std::string(job.name) + ": the results of the two sides differ");
    }
  }
  return measured;
}

std::vector<double> cpu(const std::vector<Run>& runs) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(run.cpu_ns_per_row);
  return values;
}

void measure(const Options& options, const Job& job) {
  const std::uint64_t rows = options.rows > 0 ? options.rows : job.rows;
  Measured measured;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    measured = measure_once(options, job, rows);
    if (std::max(spread(cpu(measured.bare)), spread(cpu(measured.levada))) <= kSpreadMax) break;
  }
  std::vector<double> rows_per_s, rss_mb;
  for (const Run& run : measured.levada) {
    rows_per_s.push_back(run.rows_per_s);
    rss_mb.push_back(run.rss_mb);
  }
  const double levada = median(cpu(measured.levada));
  const double bare = median(cpu(measured.bare));
  std::printf("job=%s rows=%" PRIu64 " ns_per_row=%.2f rows_per_s=%.0f rss_mb=%.0f "
              "bare_ns_per_row=%.2f ratio=%.2f spread=%.2f/%.2f\n",
              std::string(job.name).c_str(), rows, levada, median(rows_per_s), median(rss_mb), bare,
              levada / bare, spread(cpu(measured.levada)), spread(cpu(measured.bare)));
  std::fflush(stdout);
}

// One side in this process.
void run_here(const Options& options, Job job) {
  const std::uint64_t rows = options.rows > 0 ? options.rows : job.rows;
  if (options.keys > 0) job.keys = options.keys;
  std::string directory;
  if (options.checkpoints) {
    char name[] = "/tmp/levada-bench-XXXXXX";
    if (mkdtemp(name) == nullptr) throw std::runtime_error("no folder for checkpoints");
    directory = name;
  }
  const Checksum checksum =
      options.only == "bare" ? run_bare(job, rows) : run_levada(job, rows, directory);
  if (!directory.empty()) std::filesystem::remove_all(directory);
  std::printf("%" PRIu64 " %" PRIu64 "\n", checksum.rows, checksum.sum);
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
    } else if (word == "--only") {
      options.only = value();
    } else if (word == "--checkpoints") {
      options.checkpoints = true;
    } else if (find_job(word) != nullptr) {
      options.jobs.push_back(word);
    } else {
      throw std::runtime_error("there is no job or option '" + word + "'");
    }
  }
  if (options.jobs.empty()) {
    for (const Job& job : kJobs) options.jobs.emplace_back(job.name);
  }
  return options;
}

}  // namespace

const Job* find_job(std::string_view name) {
  const auto* job = std::find_if(std::begin(kJobs), std::end(kJobs),
                                 [&](const Job& known) { return known.name == name; });
  return job == std::end(kJobs) ? nullptr : job;
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  for (const std::string& name : options.jobs) {
    if (options.only.empty()) {
      measure(options, *find_job(name));
    } else {
      run_here(options, *find_job(name));
    }
  }
  return 0;
}

}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "jobs_bench: %s\n", error.what());
    return 1;
  }
}
