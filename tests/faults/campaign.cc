#include "campaign.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "generator.h"
#include "job_process.h"
#include "job_tables.h"
#include "kafka_client.h"
#include "producer.h"
#include "recount.h"

namespace faults {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr std::int32_t kPartitionCount = 4;
constexpr std::int32_t kUserCount = 1'000;
constexpr std::int64_t kRowsPerKill = 20'000;         // are produced in one second
constexpr std::int64_t kEventTimePerKillMs = 20'000;  // two windows end in it
constexpr const char* kCheckpointInterval = "100";
constexpr auto kPointTimeout = 8s;
constexpr std::int32_t kTriesPerPoint = 3;  // one at each parallelism
constexpr auto kStallMax = 60s;
constexpr std::size_t kPhaseSize = 16;

// A file in which the job keeps the name of its phase, where a kill cannot tear it.
class PhaseFile {
 public:
  explicit PhaseFile(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }

  void clear() const {
    const std::array<char, kPhaseSize> zeros{};
    const int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const bool written = file >= 0 && write(file, zeros.data(), zeros.size()) == kPhaseSize;
    if (file >= 0) close(file);
    if (!written) throw std::runtime_error("cannot write " + path_);
  }

  std::string read() const {
    std::array<char, kPhaseSize + 1> text{};
    const int file = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    const bool good = file >= 0 && ::read(file, text.data(), kPhaseSize) >= 0;
    if (file >= 0) close(file);
    if (!good) throw std::runtime_error("cannot read " + path_);
    return text[0] == '\0' ? "start" : text.data();
  }

 private:
  std::string path_;
};

// The greatest N of the files manifest-N below a folder; -1 when there is none. The rename that
// gives a manifest this name is what completes a checkpoint.
std::int64_t newest_manifest(const std::filesystem::path& folder) {
  constexpr std::string_view kPrefix = "manifest-";
  std::int64_t newest = -1;
  std::error_code ignored;  // files come and go while the folder is read
  for (auto it = std::filesystem::recursive_directory_iterator(folder, ignored);
       it != std::filesystem::recursive_directory_iterator(); it.increment(ignored)) {
    const std::string name = it->path().filename();
    if (!name.starts_with(kPrefix)) continue;
    const std::string number = name.substr(kPrefix.size());
    if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos) continue;
    newest = std::max<std::int64_t>(newest, std::stoll(number));
  }
  return newest;
}

orders::GeneratorOptions generator_options(const CampaignOptions& options) {
  orders::GeneratorOptions generator;
  const std::int64_t second_count = options.kill_count + 2;
  generator.seed = options.seed;
  generator.row_count = options.row_count > 0 ? options.row_count : second_count * kRowsPerKill;
  generator.row_count -= generator.row_count % kPartitionCount;
  generator.partition_count = kPartitionCount;
  generator.user_count = kUserCount;
  generator.span_ms = second_count * kEventTimePerKillMs;
  // Which rows are late depends on where batches are cut, so a row may be late in one incarnation
  // and in time in the next. Without late rows there is one right result, whatever was killed.
  generator.late_per_mille = 0;
  return generator;
}

// What outlives the campaign unless it is removed: topic, tables, and a folder for the checkpoints.
class Scene {
 public:
  explicit Scene(const CampaignOptions& options)
      : options_(options),
        name_(std::to_string(SteadyClock::now().time_since_epoch().count()) + "_" +
              std::to_string(getpid())),
        folder_(std::filesystem::temp_directory_path() / ("kill-campaign-" + name_)),
        topic_("orders_" + name_),
        tables_(options.conninfo,
                {"user_totals_" + name_, "late_orders_" + name_, "firings_" + name_}) {
    std::filesystem::create_directory(folder_);
    orders::create_topic(options.brokers, topic_, kPartitionCount);
  }
  ~Scene() {
    if (options_.keep) {
      std::printf("kept: topic %s, table %s, folder %s\n", topic_.c_str(),
                  tables_.names().totals.c_str(), folder_.c_str());
      return;
    }
    try {
      std::filesystem::remove_all(folder_);
      tables_.drop();
      orders::delete_topic(options_.brokers, topic_);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "kill_campaign: %s\n", error.what());
    }
  }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  const std::string& topic() const { return topic_; }
  const orders::JobTables& tables() const { return tables_; }
  std::filesystem::path checkpoints() const { return folder_ / "checkpoints"; }
  std::string phase_path() const { return folder_ / "phase"; }

 private:
  const CampaignOptions& options_;
  std::string name_;
  std::filesystem::path folder_;
  std::string topic_;
  orders::JobTables tables_;
};

class Campaign {
 public:
  explicit Campaign(const CampaignOptions& options)
      : options_(options),
        dice_(options.seed),
        deck_(list_fail_points(options.job_path), dice_),
        kills_(plan_kills(options.kill_count, deck_, dice_)),
        generator_(generator_options(options)),
        scene_(options),
        phase_file_(scene_.phase_path()),
        recount_(options.brokers, scene_.topic(), generator_),
        producer_({options.brokers, scene_.topic(), rows_per_s()}, generator_) {}

  CampaignResult run() {
    for (std::size_t i = 0; i < kills_.size(); ++i) {
      const auto kills_left = static_cast<std::int64_t>(kills_.size() - i);
      producer_.allow(generator_.options().row_count - kills_left * rows_per_s() / 2);
      carry_out(kills_[i]);
    }
    producer_.allow(generator_.options().row_count);
    run_to_end();
    compare();
    return std::move(result_);
  }

 private:
  std::int64_t rows_per_s() const {
    return std::max<std::int64_t>(1, generator_.options().row_count / (options_.kill_count + 2));
  }

  std::vector<std::string> job_arguments(std::int32_t parallelism) const {
    const orders::WindowRules& rules = generator_.options().rules;
    const orders::TableNames& names = scene_.tables().names();
    return {options_.job_path,
            "--brokers",
            options_.brokers,
            "--topic",
            scene_.topic(),
            "--postgres",
            options_.conninfo,
            "--checkpoints",
            scene_.checkpoints(),
            "--parallelism",
            std::to_string(parallelism),
            "--end-offset",
            std::to_string(generator_.rows_per_partition()),
            "--window-s",
            std::to_string(rules.window_ms / 1000),
            "--lateness-s",
            std::to_string(rules.lateness_ms / 1000),
            "--totals-table",
            names.totals,
            "--name",
            names.totals,
            "--late-table",
            names.late,
            "--log-table",
            names.log,
            "--interval-ms",
            kCheckpointInterval};
  }

  // A fail point that is not reached (some are not at every parallelism) is tried again in the next
  // incarnation, sooner, and at last replaced by another: half of the kills are at fail points.
  void carry_out(Kill kill) {
    if (!kill.point) {
      run_and_kill(kill);
      return;
    }
    for (std::int32_t try_count = 1; !run_and_kill(kill); ++try_count) {
      kill.parallelism = kill.parallelism % 3 + 1;
      kill.nth = 1;
      if (try_count < kTriesPerPoint) continue;
      result_.unreached_points.push_back(kill.point->name);
      if (result_.unreached_points.size() > kills_.size()) {
        throw std::runtime_error("too many fail points were never reached");
      }
      kill.point = deck_.draw();
      try_count = 0;
    }
  }

  // One incarnation. False when it did not come to its fail point and was killed without it.
  bool run_and_kill(const Kill& kill) {
    phase_file_.clear();
    std::vector<std::string> variables{"LEVADA_PHASE_FILE=" + phase_file_.path()};
    if (kill.point) {
      variables.push_back("LEVADA_FAIL=" + kill.point->name + ":" + std::to_string(kill.nth) +
                          ":kill");
    }
    const std::int64_t manifest_before = newest_manifest(scene_.checkpoints());
    orders::JobProcess job(job_arguments(kill.parallelism), variables, kPartitionCount);
    if (result_.incarnation_count == 0) wait_for_first_row(job);
    wait(job, kill.point ? std::chrono::milliseconds(kPointTimeout) : kill.delay);
    const bool reached = !job.running();
    job.kill();
    if (!job.was_killed()) throw std::runtime_error("the job ended with " + job.describe_end());

    count_kill(kill, reached);
    if (newest_manifest(scene_.checkpoints()) > manifest_before) {
      ++result_.incarnations_with_checkpoint;
    }
    return reached;
  }

  void count_kill(const Kill& kill, bool reached) {
    const bool at_point = kill.point && reached;
    const std::string point = at_point ? kill.point->name : "(random)";
    const std::string phase = at_point ? kill.point->phase : phase_file_.read();
    ++result_.incarnation_count;
    ++result_.kill_count;
    ++result_.kills_by_phase[phase];
    ++result_.kills_by_point[point];
    std::printf("  kill %d at parallelism %d: %s, phase %s%s\n", result_.kill_count,
                kill.parallelism, point.c_str(), phase.c_str(),
                kill.point && !reached ? (", did not reach " + kill.point->name).c_str() : "");
    std::fflush(stdout);
  }

  // The first kill comes after the first row, also where the job is slow to start.
  void wait_for_first_row(orders::JobProcess& job) {
    const auto deadline = SteadyClock::now() + kStallMax;
    while (job.running() && SteadyClock::now() < deadline) {
      check_health();
      const auto progress = job.next_progress(50ms);
      if (progress && progress->rows > 0) return;
    }
  }

  void wait(orders::JobProcess& job, std::chrono::milliseconds time) {
    const auto deadline = SteadyClock::now() + time;
    while (job.running() && SteadyClock::now() < deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
      (void)job.next_progress(left);
    }
    check_health();
  }

  void run_to_end() {
    const std::int64_t manifest_before = newest_manifest(scene_.checkpoints());
    const auto parallelism = static_cast<std::int32_t>(kills_.size() % 3) + 1;
    orders::JobProcess job(job_arguments(parallelism), {}, kPartitionCount);
    orders::Progress last;
    auto last_change = SteadyClock::now();
    while (job.running() || !recount_.finished()) {
      const auto progress = job.next_progress(100ms);
      if (progress && *progress != last) {
        last = *progress;
        last_change = SteadyClock::now();
      }
      check_health();
      if (SteadyClock::now() - last_change > kStallMax) {
        throw std::runtime_error("the last run makes no progress after " +
                                 std::to_string(last.rows) + " rows");
      }
      if (!job.running()) std::this_thread::sleep_for(10ms);
    }
    if (!job.exited_well()) throw std::runtime_error("the job ended with " + job.describe_end());
    ++result_.incarnation_count;
    if (newest_manifest(scene_.checkpoints()) > manifest_before) {
      ++result_.incarnations_with_checkpoint;
    }
  }

  void check_health() const {
    producer_.check();
    recount_.check();
  }

  void compare() {
    const orders::Tables tables = scene_.tables().read();
    const orders::WindowRules& rules = generator_.options().rules;
    for (const auto& partition : recount_.topic()) {
      result_.row_count += static_cast<std::int64_t>(partition.size());
    }
    result_.topic.claim = std::to_string(result_.row_count) + " rows produced and read back";
    result_.topic.lost = generator_.options().row_count - result_.row_count;
    result_.totals = orders::check_totals(recount_.topic(), tables, rules);
    result_.late =
        orders::check_late_rows(recount_.topic(), tables, rules, orders::Repeats::kAllowed);
    result_.log = orders::check_log(recount_.topic(), tables, rules);
  }

  const CampaignOptions& options_;
  Dice dice_;
  FailPointDeck deck_;
  std::vector<Kill> kills_;
  orders::Generator generator_;
  Scene scene_;
  PhaseFile phase_file_;
  orders::Recount recount_;
  orders::Producer producer_;
  CampaignResult result_;
};

}  // namespace

CampaignResult run_campaign(const CampaignOptions& options) {
  return Campaign(options).run();
}

}  // namespace faults
