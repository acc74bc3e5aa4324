// What the main job costs beside a bare loop: CPU time a row of the whole process, from its start
// to its exit, checkpoints and sink included. Both sides read the same topic, in turn, and both
// results are checked: the loop's sums and the job's table.
//
//   kafka_to_postgres_bench --job PATH --bare PATH --brokers HOST:PORT --postgres CONNINFO
//                           [--rows N=5000000] [--repeats N=5]
//
// Prints one line with the medians; each run's figures go to standard error.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

#include "command_line.h"
#include "compare.h"
#include "job_process.h"
#include "job_tables.h"
#include "kafka_client.h"
#include "postgres_cpu.h"
#include "record_producer.h"
#include "records.h"

namespace bench {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kRunMax = 10min;
constexpr const char* kParallelism = "2";

struct Options {
  std::string job_path;
  std::string bare_path;
  std::string brokers;
  std::string conninfo;
  std::int64_t row_count = 5'000'000;
  std::int32_t repeat_count = 5;
};

// Figures of one run.
struct Run {
  double cpu_us_per_row = 0;
  double postgres_cpu_us_per_row = 0;
  double rows_per_s = 0;
  double rss_mb = 0;
};

Options parse_options(int argc, char** argv) {
  Options options;
  std::map<std::string, std::string*> texts{{"--job", &options.job_path},
                                            {"--bare", &options.bare_path},
                                            {"--brokers", &options.brokers},
                                            {"--postgres", &options.conninfo}};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (texts.contains(name)) {
      *texts[name] = argv[i + 1];
    } else if (name == "--rows") {
      options.row_count = std::stoll(argv[i + 1]) / kPartitionCount * kPartitionCount;
    } else if (name == "--repeats") {
      options.repeat_count = std::stoi(argv[i + 1]);
    } else {
      throw std::invalid_argument("unknown option " + name);
    }
  }
  for (const auto& [name, text] : texts) {
    if (text->empty()) throw std::invalid_argument(name + " is missing");
  }
  if (options.row_count < 1 || options.repeat_count < 1) {
    throw std::invalid_argument("--rows and --repeats want positive numbers");
  }
  return options;
}

// Runs a program to its end and measures it.
Run measure(std::vector<std::string> args, std::int64_t row_count, std::string& output) {
  const auto start = SteadyClock::now();
  orders::JobProcess process(std::move(args), {}, kPartitionCount);
  while (process.running()) {
    (void)process.next_progress(1s);
    if (SteadyClock::now() - start > kRunMax) throw std::runtime_error("a run takes too long");
  }
  const double seconds = std::chrono::duration<double>(SteadyClock::now() - start).count();
  if (!process.exited_well()) {
    throw std::runtime_error("a run ended with " + process.describe_end());
  }
  output = process.output();
  const auto rows = static_cast<double>(row_count);
  const orders::ResourceUse use = process.resource_use();
  return {use.cpu_seconds * 1e6 / rows, 0, rows / seconds, use.rss_mb};
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        name_(std::to_string(getpid())),
        topic_("bench_orders_" + name_),
        postgres_cpu_(options.conninfo) {
    for (std::int64_t i = 0; i < options.row_count; ++i) {
      const orders::Order order = record(i);
      if (!order.cancelled()) {
        expected_[{order.user, rules_.window_start(order.ts_ms)}].add(order.amount);
      }
      user_ += order.user;
      item_ += order.item;
      amount_ += order.amount;
      ts_ += order.ts_ms;
    }
    orders::create_topic(options.brokers, topic_, kPartitionCount);
    produce_records(options.brokers, topic_, options.row_count);
  }
  ~Bench() {
    try {
      orders::delete_topic(options_.brokers, topic_);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "kafka_to_postgres_bench: %s\n", error.what());
    }
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Run run_bare() const {
    std::string output;
    const Run run = measure({options_.bare_path, options_.brokers, topic_,
                             std::to_string(kPartitionCount), end_offset()},
                            options_.row_count, output);
    const std::string sums = "rows=" + std::to_string(options_.row_count) +
                             " user=" + std::to_string(user_) + " item=" + std::to_string(item_) +
                             " amount=" + std::to_string(amount_) + " ts=" + std::to_string(ts_) +
                             "\n";
    if (output != sums) throw std::runtime_error("the bare loop read " + output + "not " + sums);
    return run;
  }

  Run run_job() const {
    const auto folder = std::filesystem::temp_directory_path() / ("bench-checkpoints-" + name_);
    const orders::JobTables tables(options_.conninfo,
                                   {"bench_totals_" + name_, "bench_late_" + name_, ""});
    std::string output;
    const double postgres_before = postgres_cpu_.seconds();
    Run run = measure({options_.job_path,
                       "--brokers",
                       options_.brokers,
                       "--topic",
                       topic_,
                       "--postgres",
                       options_.conninfo,
                       "--checkpoints",
                       folder,
                       "--parallelism",
                       kParallelism,
                       "--end-offset",
                       end_offset(),
                       "--window-s",
                       std::to_string(rules_.window_ms / 1000),
                       "--name",
                       tables.names().totals,
                       "--totals-table",
                       tables.names().totals,
                       "--late-table",
                       tables.names().late,
                       "--interval-ms",
                       "1000"},
                      options_.row_count, output);
    run.postgres_cpu_us_per_row =
        (postgres_cpu_.seconds() - postgres_before) * 1e6 / static_cast<double>(options_.row_count);
    check(tables.read());
    tables.drop();
    std::filesystem::remove_all(folder);
    return run;
  }

 private:
  std::string end_offset() const { return std::to_string(options_.row_count / kPartitionCount); }

  // Times never go back within a partition: nothing may be late.
  void check(const orders::Tables& tables) const {
    const orders::Check totals = orders::check_totals(expected_, tables);
    if (!totals.holds()) throw std::runtime_error("the table is wrong: " + totals.examples.front());
    if (!tables.late.empty()) throw std::runtime_error("rows came in order, but some are late");
  }

  const Options& options_;
  std::string name_;
  std::string topic_;
  PostgresCpu postgres_cpu_;
  orders::WindowRules rules_;
  orders::Windows expected_;
  std::int64_t user_ = 0;  // sums over all records
  std::int64_t item_ = 0;
  std::int64_t amount_ = 0;
  std::int64_t ts_ = 0;
};

double median(const std::vector<Run>& runs, double Run::*figure) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(run.*figure);
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

void run(const Options& options) {
  const Bench bench(options);
  std::vector<Run> bare_runs;
  std::vector<Run> job_runs;
  for (std::int32_t i = 0; i < options.repeat_count; ++i) {
    bare_runs.push_back(bench.run_bare());
    job_runs.push_back(bench.run_job());
    std::fprintf(stderr, "run %d: job %.3f us a row, bare loop %.3f us a row, PostgreSQL %.3f\n",
                 i + 1, job_runs.back().cpu_us_per_row, bare_runs.back().cpu_us_per_row,
                 job_runs.back().postgres_cpu_us_per_row);
  }
  const double job = median(job_runs, &Run::cpu_us_per_row);
  const double bare = median(bare_runs, &Run::cpu_us_per_row);
  std::printf(
      "job=kafka_to_postgres rows=%lld cpu_us_per_row=%.3f bare_cpu_us_per_row=%.3f ratio=%.2f "
      "rows_per_s=%.0f postgres_cpu_us_per_row=%.3f rss_mb=%.0f\n",
      static_cast<long long>(options.row_count), job, bare, job / bare,
      median(job_runs, &Run::rows_per_s), median(job_runs, &Run::postgres_cpu_us_per_row),
      median(job_runs, &Run::rss_mb));
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::run_main("kafka_to_postgres_bench", [&] { bench::run(bench::parse_options(argc, argv)); });
}
