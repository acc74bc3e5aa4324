// The main job before your eyes: orders from Kafka, counted per user in windows, into PostgreSQL.
//
//   producer ──► topic ──► orders_to_postgres (a child process) ──► totals, late rows
//                  └─────► recount (a plain consumer) ──────────────► compared with both
//
// Runs it twice. First with several partitions in parallel, where it is checked that every row is
// counted once. Then with one partition and batches of one row: there it is determined which rows
// are late, and the tables must match the prediction row for row. Exits 0 only if everything holds.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "demo_options.h"
#include "demo_run.h"
#include "mock_cluster.h"
#include "report.h"

namespace orders {
namespace {

constexpr std::int32_t kPartitionCount = 8;
constexpr std::int64_t kDeterminedRowsMax = 100'000;

volatile std::sig_atomic_t interrupt_seen = 0;

// Kafka as the demo sees it: a server that was named, or a cluster inside this process.
class Kafka {
 public:
  explicit Kafka(const DemoOptions& options) : brokers_(options.brokers), keep_(options.keep) {
    if (!brokers_.empty()) return;
    mock_ = std::make_unique<MockCluster>();
    brokers_ = mock_->brokers();
  }
  ~Kafka() {
    if (mock_ || keep_) return;
    for (const std::string& topic : topics_) {
      try {
        delete_topic(brokers_, topic);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "orders_demo: %s\n", error.what());
      }
    }
  }
  Kafka(const Kafka&) = delete;
  Kafka& operator=(const Kafka&) = delete;

  const std::string& brokers() const { return brokers_; }
  bool embedded() const { return mock_ != nullptr; }

  void make_topic(const std::string& topic, std::int32_t partition_count) {
    if (mock_) {
      mock_->create_topic(topic, partition_count);
    } else {
      create_topic(brokers_, topic, partition_count);
      topics_.push_back(topic);
    }
  }

 private:
  std::string brokers_;
  bool keep_;
  std::unique_ptr<MockCluster> mock_;
  std::vector<std::string> topics_;
};

// A folder for the checkpoints of this demo, removed at the end.
class WorkFolder {
 public:
  explicit WorkFolder(bool keep) : keep_(keep) {
    std::string path = std::filesystem::temp_directory_path() / "orders-demo-XXXXXX";
    if (mkdtemp(path.data()) == nullptr)
      throw std::runtime_error("cannot make a folder in " + path);
    path_ = path;
  }
  ~WorkFolder() {
    std::error_code ignored;
    if (!keep_) std::filesystem::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool keep_;
};

// Names that no other run of the demo uses on the same servers.
std::string unique_suffix() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now).count()) + "_" +
         std::to_string(getpid());
}

RunPlan make_plan(const DemoOptions& options, const Kafka& kafka, const WorkFolder& folder,
                  const std::string& name) {
  const std::string suffix = name + "_" + unique_suffix();
  RunPlan plan;
  plan.job_path = options.job_path;
  plan.brokers = kafka.brokers();
  plan.topic = "orders_" + suffix;
  plan.conninfo = options.conninfo;
  plan.totals_table = "user_totals_" + suffix;
  plan.late_table = "late_orders_" + suffix;
  plan.checkpoint_directory = folder.path() / name;
  plan.keep_tables = options.keep;
  plan.interrupted = [] { return interrupt_seen != 0; };
  return plan;
}

RunResult run_and_report(RunPlan plan, Kafka& kafka) {
  kafka.make_topic(plan.topic, plan.generator.partition_count);
  ProgressLine line;
  plan.on_progress = [&line](const Progress& progress) { line.show(progress); };
  RunResult result = run_orders(plan);
  line.finish();
  return result;
}

bool print_checks(const RunResult& result) {
  for (const Check& check : result.checks) print_check(check);
  std::fflush(stdout);
  return std::all_of(result.checks.begin(), result.checks.end(),
                     [](const Check& check) { return check.holds(); });
}

bool main_run(const DemoOptions& options, Kafka& kafka, const WorkFolder& folder) {
  RunPlan plan = make_plan(options, kafka, folder, "main");
  plan.parallelism = options.parallelism;
  plan.generator.partition_count = kPartitionCount;
  plan.generator.row_count =
      (options.row_count + kPartitionCount - 1) / kPartitionCount * kPartitionCount;
  std::printf("%s orders in %d partitions, Kafka %s, parallelism %d\n",
              grouped(plan.generator.row_count).c_str(), kPartitionCount,
              kafka.embedded() ? "embedded" : kafka.brokers().c_str(), plan.parallelism);
  const RunResult result = run_and_report(plan, kafka);

  std::printf("\n%s\n", plan.totals_table.c_str());
  print_windows(result.tables);
  std::printf(
      "  %s rows in %.1f s, %s rows/s with the producer and the recount beside it, "
      "last checkpoint %s\n\n",
      grouped(plan.generator.row_count).c_str(), result.seconds,
      grouped(
          static_cast<std::int64_t>(static_cast<double>(plan.generator.row_count) / result.seconds))
          .c_str(),
      result.last_progress.checkpoint.c_str());
  return print_checks(result);
}

bool determined_run(const DemoOptions& options, Kafka& kafka, const WorkFolder& folder) {
  RunPlan plan = make_plan(options, kafka, folder, "determined");
  plan.parallelism = 1;
  plan.determined = true;
  plan.generator.seed = 2;
  plan.generator.partition_count = 1;
  plan.generator.row_count = std::min(options.row_count / 10, kDeterminedRowsMax);
  std::printf("\n%s orders in one partition, batches of one row: late rows are determined\n",
              grouped(plan.generator.row_count).c_str());
  return print_checks(run_and_report(plan, kafka));
}

void on_interrupt(int) {
  interrupt_seen = 1;
}

int run(const DemoOptions& options) {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  const WorkFolder folder(options.keep);
  Kafka kafka(options);
  bool good = main_run(options, kafka, folder);
  good = determined_run(options, kafka, folder) && good;
  if (options.keep) std::printf("\nkept: checkpoints in %s\n", folder.path().c_str());
  std::printf("\n%s\n", good ? "Everything holds." : "NOT everything holds.");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace orders

int main(int argc, char** argv) {
  orders::DemoOptions options;
  try {
    options = orders::parse_demo_options(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "orders_demo: %s\n%s", error.what(), orders::kDemoUsage);
    return 2;
  }
  try {
    return orders::run(options);
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "\norders_demo: %s\n", error.what());
    return 1;
  }
}
