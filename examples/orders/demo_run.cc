#include "demo_run.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "job_tables.h"
#include "kafka_client.h"
#include "producer.h"
#include "recount.h"

namespace orders {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

// How far the producer may be ahead of the slowest reader, in rows of a partition. The embedded
// cluster drops the oldest rows beyond 5 MiB of a partition; this stays an order of magnitude
// below.
constexpr std::int64_t kLeadRowsMax = 20'000;

constexpr auto kStallMax = 120s;
constexpr auto kPollInterval = 100ms;

// Drops the tables of a run however it ends.
class TablesOfRun {
 public:
  explicit TablesOfRun(const RunPlan& plan)
      : tables_(plan.conninfo, {plan.totals_table, plan.late_table, ""}), keep_(plan.keep_tables) {}
  ~TablesOfRun() {
    try {
      if (!keep_) tables_.drop();
    } catch (
        const std::exception&) {  // the server is gone, and the error that matters is under way
    }
  }
  TablesOfRun(const TablesOfRun&) = delete;
  TablesOfRun& operator=(const TablesOfRun&) = delete;
  Tables read() const { return tables_.read(); }

 private:
  JobTables tables_;
  bool keep_;
};

std::vector<std::string> job_arguments(const RunPlan& plan, const Generator& generator) {
  const WindowRules& rules = plan.generator.rules;
  std::vector<std::string> args{plan.job_path,
                                "--brokers",
                                plan.brokers,
                                "--topic",
                                plan.topic,
                                "--postgres",
                                plan.conninfo,
                                "--checkpoints",
                                plan.checkpoint_directory,
                                "--parallelism",
                                std::to_string(plan.parallelism),
                                "--end-offset",
                                std::to_string(generator.rows_per_partition()),
                                "--window-s",
                                std::to_string(rules.window_ms / 1000),
                                "--lateness-s",
                                std::to_string(rules.lateness_ms / 1000),
                                "--name",
                                plan.totals_table,
                                "--totals-table",
                                plan.totals_table,
                                "--late-table",
                                plan.late_table,
                                // The producer's lead follows it: a slow report would slow the job.
                                "--progress-ms",
                                "100"};
  if (plan.determined) args.insert(args.end(), {"--batch-rows", "1"});
  return args;
}

// Watches one run: feeds the producer's lead, and ends it when something goes wrong.
class Supervisor {
 public:
  explicit Supervisor(const RunPlan& plan)
      : plan_(plan),
        generator_(plan.generator),
        offsets_(plan.brokers, plan.topic, plan.generator.partition_count),
        recount_(plan.brokers, plan.topic, generator_),
        producer_({plan.brokers, plan.topic, 0}, generator_),
        job_(job_arguments(plan, generator_), {}, plan.generator.partition_count) {
    progress_.positions.resize(static_cast<std::size_t>(plan.generator.partition_count));
  }

  void run() {
    last_change_ = SteadyClock::now();
    while (job_.running()) {
      if (const auto progress = job_.next_progress(kPollInterval)) take(*progress);
      check_health();
      producer_.allow((slowest_position() + kLeadRowsMax) * plan_.generator.partition_count);
    }
    if (!job_.exited_well()) {
      throw std::runtime_error("the job ended early with " + job_.describe_end());
    }
    last_change_ = SteadyClock::now();
    while (!recount_.finished()) {
      check_health();
      std::this_thread::sleep_for(10ms);
    }
  }

  // What the broker still has against what the readers had read, and what it was given.
  Check check_topic() const {
    Check check;
    check.lost = dropped_count_;
    if (dropped_count_ > 0) {
      check.examples.push_back("the broker dropped rows before the job had read them");
    }
    const std::vector<OffsetRange> ranges = offsets_.ask();
    std::int64_t row_count = 0;
    for (std::size_t p = 0; p < ranges.size(); ++p) {
      row_count += static_cast<std::int64_t>(recount_.topic()[p].size());
      const std::int64_t surplus = ranges[p].high - generator_.rows_per_partition();
      if (surplus != 0) {
        (surplus > 0 ? check.duplicated : check.lost) += std::abs(surplus);
        check.examples.push_back("partition " + std::to_string(p) + " ends at offset " +
                                 std::to_string(ranges[p].high));
      }
    }
    check.lost += std::max<std::int64_t>(0, producer_.delivered_count() - row_count);
    check.claim = std::to_string(producer_.delivered_count()) + " rows produced, " +
                  std::to_string(row_count) + " read back by a plain consumer";
    return check;
  }

  const Progress& progress() const { return progress_; }
  const Topic& topic() const { return recount_.topic(); }

 private:
  void take(const Progress& progress) {
    // Checkpoints go on while nothing is read: they are no progress.
    if (progress.positions != progress_.positions || progress.watermark != progress_.watermark) {
      last_change_ = SteadyClock::now();
    }
    // Asked for after the job has printed: a low mark above that position has run over the job.
    const std::vector<OffsetRange> ranges = offsets_.ask();
    for (std::size_t p = 0; p < ranges.size(); ++p) {
      dropped_count_ += std::max<std::int64_t>(0, ranges[p].low - progress.positions[p]);
    }
    progress_ = progress;
    if (plan_.on_progress) plan_.on_progress(progress);
  }

  void check_health() const {
    if (plan_.interrupted && plan_.interrupted()) throw std::runtime_error("interrupted");
    producer_.check();
    recount_.check();
    if (SteadyClock::now() - last_change_ > kStallMax) {
      throw std::runtime_error("no progress for 120 s, stopped at " +
                               std::to_string(progress_.rows) + " rows read by the job, " +
                               std::to_string(producer_.delivered_count()) + " produced");
    }
  }

  std::int64_t slowest_position() const {
    std::int64_t slowest = progress_.positions[0];
    for (std::size_t p = 0; p < progress_.positions.size(); ++p) {
      slowest = std::min(
          {slowest, progress_.positions[p], recount_.position(static_cast<std::int32_t>(p))});
    }
    return slowest;
  }

  const RunPlan& plan_;
  Generator generator_;
  OffsetQuery offsets_;
  Recount recount_;
  Producer producer_;
  JobProcess job_;
  Progress progress_;
  SteadyClock::time_point last_change_;
  std::int64_t dropped_count_ = 0;
};

}  // namespace

RunResult run_orders(const RunPlan& plan) {
  const TablesOfRun tables(plan);
  const auto start = SteadyClock::now();
  Supervisor supervisor(plan);
  supervisor.run();

  RunResult result;
  result.seconds = std::chrono::duration<double>(SteadyClock::now() - start).count();
  result.last_progress = supervisor.progress();
  result.tables = tables.read();
  const Topic& topic = supervisor.topic();
  const WindowRules& rules = plan.generator.rules;
  result.checks.push_back(supervisor.check_topic());
  result.checks.push_back(check_accounts(topic, result.tables));
  result.checks.push_back(check_totals(topic, result.tables, rules));
  result.checks.push_back(plan.determined
                              ? check_late_rows_determined(topic, result.tables, rules)
                              : check_late_rows(topic, result.tables, rules));
  return result;
}

}  // namespace orders
