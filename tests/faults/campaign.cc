#include "campaign.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <pqxx/pqxx>
#include <unistd.h>

#include "compare.h"
#include "generator.h"
#include "job_process.h"
#include "job_tables.h"
#include "kafka_client.h"
#include "producer.h"
#include "recount.h"
#include "support/postgres_proxy.h"

namespace faults {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;
using levada::testing::CommitCut;
using levada::testing::PostgresProxy;

constexpr std::int32_t kPartitionCount = 4;
// So many that the results of a window go to the server by COPY; late rows go as arrays.
constexpr std::int32_t kUserCount = 2'500;
constexpr std::int64_t kRowsPerSecond = 10'000;
constexpr std::int64_t kFullSpeedRows = 1'500;  // on their way at that rate
constexpr std::int64_t kEventTimePerSecondMs = 10'000;  // a window ends in it
constexpr const char* kCheckpointInterval = "100";
constexpr const char* kProgressInterval = "100";
constexpr std::int64_t kServerLagMaxMs = 600;
constexpr auto kStartDelayMax = 400ms;
constexpr std::int64_t kFreezeDelayMaxMs = 1'000;
constexpr auto kPointTimeout = 8s;
constexpr std::int32_t kTriesPerPoint = 3;  // one at each parallelism
constexpr auto kStallMax = 120s;
constexpr auto kStopMax = 120s;
constexpr auto kStartPatience = 7s;  // less than a job that starts has
constexpr auto kPoll = 50ms;
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

// The number in a name like manifest-17 or 17.log; -1 where there is none.
std::int64_t number_in(std::string_view name, std::string_view prefix, std::string_view suffix) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return -1;
  if (name.size() <= prefix.size() + suffix.size()) return -1;
  const std::string digits(name.substr(prefix.size(), name.size() - prefix.size() - suffix.size()));
  return digits.find_first_not_of("0123456789") == std::string::npos ? std::stoll(digits) : -1;
}

// Calls f for each file below a folder; files come and go meanwhile.
template <class F>
void for_each_file(const std::filesystem::path& folder, F f) {
  std::error_code ignored;
  for (auto it = std::filesystem::recursive_directory_iterator(folder, ignored);
       it != std::filesystem::recursive_directory_iterator(); it.increment(ignored)) {
    f(it->path());
  }
}

// The greatest N of the files manifest-N below a folder; -1 when there is none. The rename that
// gives a manifest this name is what completes a checkpoint.
std::int64_t newest_manifest(const std::filesystem::path& folder) {
  std::int64_t newest = -1;
  for_each_file(folder, [&](const std::filesystem::path& file) {
    newest = std::max(newest, number_in(file.filename().string(), "manifest-", ""));
  });
  return newest;
}

// "to%20totals" → "to totals"
std::string decoded(const std::string& name) {
  std::string text;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '%' && i + 2 < name.size()) {
      text += static_cast<char>(std::stoi(name.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      text += name[i];
    }
  }
  return text;
}

// Whether an epoch that a manifest has committed is not in the target yet: there is a segment
// log/<sink>/<subtask>/<epoch>.log of one.
bool has_unpublished_epoch(const std::filesystem::path& folder,
                           const std::map<std::string, orders::Marker>& markers) {
  const std::int64_t newest = newest_manifest(folder);
  bool found = false;
  for_each_file(folder, [&](const std::filesystem::path& file) {
    const std::int64_t epoch = number_in(file.filename().string(), "", ".log");
    if (epoch < 0 || epoch > newest) return;
    const auto marker = markers.find(decoded(file.parent_path().parent_path().filename().string()));
    found = found || epoch > (marker == markers.end() ? 0 : marker->second.epoch);
  });
  return found;
}

// Runs the control script of a server.
void control(const char* script, const char* action) {
  const char* path = std::getenv(script);  // NOLINT(concurrency-mt-unsafe): only read here
  if (path == nullptr) throw std::runtime_error(std::string(script) + " is not set");
  const std::string command = "'" + std::string(path) + "' " + action;
  if (std::system(command.c_str()) != 0) {  // NOLINT(concurrency-mt-unsafe)
    throw std::runtime_error(command + " failed");
  }
}

// How long the faults of a leg take, by experience and with time to spare.
std::int64_t seconds_for(const FaultCounts& counts) {
  return 3 * counts.kills + 2 * (counts.cuts + counts.stops) + 5 * counts.postgres_restarts + 10 * counts.broker_kills +
         10 * counts.zombies + 10;
}

orders::GeneratorOptions generator_options(const LegOptions& options) {
  orders::GeneratorOptions generator;
  const std::int64_t seconds = seconds_for(options.faults);
  generator.seed = options.seed;
  generator.row_count = seconds * kRowsPerSecond;
  generator.partition_count = kPartitionCount;
  generator.user_count = kUserCount;
  generator.span_ms = seconds * kEventTimePerSecondMs;
  return generator;
}

// What outlives the leg unless it is removed: topic, tables, and a folder for the checkpoints.
class Scene {
 public:
  explicit Scene(const LegOptions& options)
      : options_(options),
        name_(std::to_string(SteadyClock::now().time_since_epoch().count()) + "_" +
              std::to_string(getpid())),
        topic_("orders_" + name_),
        tables_(options.conninfo,
                {"user_totals_" + name_, "late_orders_" + name_, "firings_" + name_}) {
    std::filesystem::remove_all(options.folder);  // of a leg that was interrupted
    std::filesystem::create_directories(options.folder);
    orders::create_topic(options.brokers, topic_, kPartitionCount);
  }
  ~Scene() {
    if (options_.keep) {
      std::printf("kept: topic %s, table %s, folder %s\n", topic_.c_str(),
                  tables_.names().totals.c_str(), options_.folder.c_str());
      return;
    }
    try {
      std::filesystem::remove_all(options_.folder);
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

 private:
  const LegOptions& options_;
  std::string name_;
  std::string topic_;
  orders::JobTables tables_;
};

class Leg {
 public:
  explicit Leg(const LegOptions& options)
      : options_(options),
        dice_(options.seed),
        deck_(list_fail_points(options.job_path), options.kills_by_point, dice_),
        kills_(plan_kills(options.faults, deck_, dice_)),
        generator_(generator_options(options)),
        scene_(options),
        checkpoints_(options.folder / "checkpoints"),
        recount_(options.brokers, scene_.topic(), generator_),
        producer_({options.brokers, scene_.topic(), kRowsPerSecond}, generator_) {
    if (options.faults.cuts > 0) proxy_.emplace(options.conninfo);
  }

  Tally run() {
    for (const Kill& kill : kills_) carry_out(kill);
    producer_.hurry();
    producer_.allow(generator_.options().row_count);
    run_to_end();
    compare();
    return std::move(tally_);
  }

 private:
  using JobPtr = std::unique_ptr<orders::JobProcess>;

  // ---- processes

  std::vector<std::string> job_arguments(std::int32_t parallelism) const {
    const orders::WindowRules& rules = generator_.options().rules;
    const orders::TableNames& names = scene_.tables().names();
    return {options_.job_path,
            "--brokers",
            options_.brokers,
            "--topic",
            scene_.topic(),
            "--postgres",
            (proxy_ ? proxy_->conninfo() : options_.conninfo) + " application_name=" + scene_.topic(),
            "--checkpoints",
            checkpoints_,
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
            kCheckpointInterval,
            "--progress-ms",
            kProgressInterval};
  }

  // `fail`: as LEVADA_FAIL has it; empty for none.
  JobPtr start(std::int32_t parallelism, const std::string& fail = {}) {
    phase_file_ = PhaseFile(options_.folder / ("phase-" + std::to_string(++start_count_)));
    phase_file_.clear();
    std::vector<std::string> variables{"LEVADA_PHASE_FILE=" + phase_file_.path()};
    if (!fail.empty()) variables.push_back("LEVADA_FAIL=" + fail);
    if (options_.without_marker) variables.emplace_back("LEVADA_PLANT=target.marker_ignored");
    return std::make_unique<orders::JobProcess>(job_arguments(parallelism), variables, kPartitionCount);
  }

  // Produces on and reads what the job says, until `holds` or the time is up. False when it is. Throws
  // when the job ends meanwhile.
  bool wait_until(orders::JobProcess& job, std::chrono::milliseconds time,
                  const std::function<bool()>& holds) {
    const auto deadline = SteadyClock::now() + time;
    while (!holds()) {
      if (!job.running()) throw std::runtime_error("the job ended with " + job.describe_end());
      if (SteadyClock::now() > deadline) return false;
      step(job, kPoll);
    }
    return true;
  }

  // Reads the job's output for a while, with orders coming all the time.
  void step(orders::JobProcess& job, std::chrono::milliseconds time) {
    allow_more();
    if (const auto progress = job.next_progress(time)) progress_[&job] = *progress;
    check_health();
  }

  // The first half of the orders comes at full speed, the others ever more slowly: there are some however
  // long it takes.
  void allow_more() {
    const std::int64_t rows = generator_.options().row_count - kRowsPerSecond;
    const std::int64_t left = rows - producer_.delivered_count();
    const std::int64_t part = left / (rows / 2 / kFullSpeedRows) + 1;
    producer_.allow(std::min(rows, producer_.delivered_count() + part));
  }

  bool has_rows(const orders::JobProcess& job) {
    const auto found = progress_.find(&job);
    return found != progress_.end() && found->second.rows > 0;
  }

  void wait_for_rows(orders::JobProcess& job) {
    if (!wait_until(job, kStallMax, [&] { return has_rows(job); })) {
      throw std::runtime_error("the job reads no rows");
    }
  }

  std::int64_t published() const {
    std::int64_t sum = 0;
    for (const auto& [sink, marker] : scene_.tables().read_markers()) sum += marker.rows;
    return sum;
  }

  // Whatever went wrong before: the job goes on.
  void wait_for_publish(orders::JobProcess& job, const char* after) {
    const std::int64_t before = published();
    if (!wait_until(job, kStallMax, [&] { return published() > before; })) {
      throw std::runtime_error(std::string("nothing is published any more after ") + after);
    }
  }

  // ---- kills

  // A fail point that is not reached (some are not at every parallelism) is tried again in the next
  // incarnation, sooner, and at last replaced by another: half of the kills are at fail points.
  void carry_out(Kill kill) {
    if (!kill.point) {
      kill_at_random(kill);
      return;
    }
    std::size_t replaced = 0;
    for (std::int32_t try_count = 1; !kill_at_point(kill); ++try_count) {
      kill.parallelism = kill.parallelism % 3 + 1;
      kill.nth = 1;
      if (try_count < kTriesPerPoint) continue;
      ++tally_.unreached[kill.point->name];
      if (++replaced > deck_.size()) throw std::runtime_error("no fail point was reached");
      kill.point = deck_.draw();
      try_count = 0;
    }
  }

  // One incarnation. False when it did not come to its fail point and was killed without it.
  bool kill_at_point(const Kill& kill) {
    const std::int64_t manifest_before = newest_manifest(checkpoints_);
    const JobPtr job = start(kill.parallelism, spec(*kill.point, kill.nth, "kill"));
    if (tally_.count("incarnations") == 0) wait_for_first_row(*job);
    run_for(*job, kPointTimeout);
    const bool reached = !job->running();
    end_by_kill(*job);
    count_kill(reached ? kill.point->name : "(random)", reached ? kill.point->phase : phase_file_.read(),
               kill.parallelism, manifest_before);
    return reached;
  }

  void kill_at_random(const Kill& kill) {
    const std::int64_t manifest_before = newest_manifest(checkpoints_);
    std::string stop = zombie_spec(kill);
    JobPtr job = start(kill.parallelism, stop);
    if (tally_.count("incarnations") == 0) wait_for_first_row(*job);
    for (const Fault fault : kill.faults) {
      switch (fault) {
        case Fault::kZombie:
          job = overtake(std::move(job), kill.parallelism, !std::exchange(stop, {}).empty());
          break;
        case Fault::kStop:
          stop_well(*job);
          job = start(kill.parallelism);
          break;
        case Fault::kCut: cut_around_commit(*job); break;
        case Fault::kPostgresRestart:
          if (!restart_postgres(*job)) job = start(kill.parallelism);
          wait_for_publish(*job, "a restart of PostgreSQL");
          break;
        case Fault::kBrokerKill: kill_broker(*job); break;
      }
    }
    // A short delay counts from the start, a long one from the first checkpoint.
    if (kill.delay >= kStartDelayMax) {
      wait_until(*job, kStallMax, [&] { return newest_manifest(checkpoints_) > manifest_before; });
    }
    run_for(*job, kill.delay);
    end_by_kill(*job);
    count_kill("(random)", phase_file_.read(), kill.parallelism, manifest_before);
  }

  static std::string spec(const FailPoint& point, std::int32_t nth, const char* action) {
    return point.name + ":" + std::to_string(nth) + ":" + action;
  }

  // The first kill comes after the first row, also where the job is slow to start.
  void wait_for_first_row(orders::JobProcess& job) {
    const auto deadline = SteadyClock::now() + kStallMax;
    while (job.running() && !has_rows(job) && SteadyClock::now() < deadline) step(job, kPoll);
  }

  void run_for(orders::JobProcess& job, std::chrono::milliseconds time) {
    const auto deadline = SteadyClock::now() + time;
    while (job.running() && SteadyClock::now() < deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
      step(job, std::min<std::chrono::milliseconds>(left, kPoll));
    }
  }

  static void end_by_kill(orders::JobProcess& job) {
    job.kill();
    if (!job.was_killed()) throw std::runtime_error("the job ended with " + job.describe_end());
  }

  void count_kill(const std::string& point, const std::string& phase, std::int32_t parallelism,
                  std::int64_t manifest_before) {
    const bool between = has_unpublished_epoch(checkpoints_, scene_.tables().read_markers());
    ++tally_.counts["incarnations"];
    ++tally_.counts["kills"];
    if (point != "(random)") ++tally_.counts["kills_at_points"];
    if (between) ++tally_.counts["kills_before_publish"];
    if (newest_manifest(checkpoints_) > manifest_before) ++tally_.counts["with_checkpoint"];
    ++tally_.kills_by_phase[phase];
    ++tally_.kills_by_point[point];
    say("kill " + std::to_string(tally_.count("kills")) + " at parallelism " +
        std::to_string(parallelism) + ": " + point + ", phase " + phase +
        (between ? ", an epoch was not published yet" : ""));
    progress_.clear();
  }

  static void say(const std::string& what) {
    std::printf("  %s\n", what.c_str());
    std::fflush(stdout);
  }

  // ---- what else goes wrong

  void cut_around_commit(orders::JobProcess& job) {
    // The first commits of an incarnation claim the markers, the later ones publish.
    if (dice_.below(3) > 0) wait_for_rows(job);
    CommitCut cut;
    cut.where = static_cast<CommitCut::Where>(dice_.below(3));
    if (cut.where == CommitCut::kBefore) {
      cut.bytes = static_cast<std::size_t>(dice_.below(CommitCut::kRequestBytes));
    } else if (cut.where == CommitCut::kInReply) {
      cut.bytes = static_cast<std::size_t>(dice_.below(CommitCut::kReplyBytes));
    }
    if (cut.where != CommitCut::kInReply && dice_.below(2) == 0) {
      cut.server_lags = std::chrono::milliseconds(dice_.below(kServerLagMaxMs));
    }
    const std::uint64_t before = proxy_->cuts();
    proxy_->cut_at_commit(cut);
    if (!wait_until(job, kStallMax, [&] { return proxy_->cuts() > before; })) {
      throw std::runtime_error("nothing is committed");
    }
    static constexpr const char* kNames[] = {"cuts_before_commit", "cuts_after_commit", "cuts_in_reply"};
    ++tally_.counts["cuts"];
    ++tally_.counts[kNames[cut.where]];
    say(std::string("cut: ") + kNames[cut.where] + ", byte " + std::to_string(cut.bytes) +
        ", the server lags " + std::to_string(cut.server_lags.count()) + " ms");
    if (dice_.below(2) == 0) wait_for_publish(job, "a cut");
  }

  // False: the job was starting, and gave up since the server took too long.
  bool restart_postgres(orders::JobProcess& job) {
    const bool starting = dice_.below(2) != 0;
    if (!starting) wait_for_rows(job);
    const auto killed = SteadyClock::now();
    control("LEVADA_TEST_POSTGRES_CTL", "kill");  // its immediate shutdown
    run_for(job, std::chrono::milliseconds(dice_.below(500)));
    control("LEVADA_TEST_POSTGRES_CTL", "start");
    const bool long_away = SteadyClock::now() - killed > kStartPatience;
    ++tally_.counts["postgres_restarts"];
    say("PostgreSQL restarted");
    if (!starting || !long_away) return true;
    run_for(job, 1s);
    if (job.running()) return true;
    const std::string end = job.describe_end();
    if (!end.starts_with("exit 1: ") || end.find("PostgreSQL") == std::string::npos) {
      throw std::runtime_error("the job ended with " + end);
    }
    progress_.clear();
    return false;
  }

  void kill_broker(orders::JobProcess& job) {
    wait_for_rows(job);  // a job that starts gives up after 10 s, and the broker may need as long
    control("LEVADA_TEST_KAFKA_CTL", "kill");
    run_for(job, std::chrono::milliseconds(dice_.below(500)));
    control("LEVADA_TEST_KAFKA_CTL", "start");
    ++tally_.counts["broker_kills"];
    say("the broker was killed");
    wait_for_publish(job, "a kill of the broker");
  }

  // Half of the time it is asked twice.
  void stop_well(orders::JobProcess& job) {
    wait_for_rows(job);
    run_for(job, std::chrono::milliseconds(dice_.below(kFreezeDelayMaxMs)));
    job.ask_to_stop();
    if (dice_.below(2) == 0) {
      run_for(job, std::chrono::milliseconds(dice_.below(20)));
      if (job.running()) job.ask_to_stop();
    }
    run_for(job, kStopMax);
    if (job.running()) throw std::runtime_error("the job does not stop");
    if (!job.exited_well()) throw std::runtime_error("a stopped job ended with " + job.describe_end());
    if (has_unpublished_epoch(checkpoints_, scene_.tables().read_markers())) {
      throw std::runtime_error("a stopped job left an epoch unpublished");
    }
    ++tally_.counts["stops"];
    say("stopped");
    progress_.clear();
  }

  // Half of the zombies freeze at a fail point, half at a random time.
  std::string zombie_spec(const Kill& kill) {
    if (kill.faults.empty() || kill.faults.front() != Fault::kZombie || dice_.below(2) == 0) return {};
    const FailPoint& point = deck_.peek();
    return spec(point, draw_nth(point, dice_), "stop");
  }

  // Freezes the job. A second instance on its directory is refused: it still has the lock. One on a copy
  // of it, as on another machine, takes over; then the first one is thawed, and must give up.
  JobPtr overtake(JobPtr job, std::int32_t parallelism, bool at_point) {
    const std::chrono::milliseconds delay(dice_.below(kFreezeDelayMaxMs));
    if (at_point) {
      at_point = wait_until(*job, kPointTimeout, [&] { return job->paused(); });
    } else {
      wait_for_rows(*job);
      run_for(*job, delay);
    }
    job->pause();
    if (!wait_until(*job, kStallMax, [&] { return job->paused(); })) {
      throw std::runtime_error("the job does not freeze");
    }
    expect_refused(parallelism);

    const std::filesystem::path frozen = checkpoints_;
    checkpoints_ = options_.folder / ("checkpoints-" + std::to_string(++copy_count_));
    std::filesystem::copy(frozen, checkpoints_, std::filesystem::copy_options::recursive);
    const std::int64_t before = newest_incarnation();
    JobPtr second = start(parallelism);
    // It may have to wait for what the frozen one has locked.
    // Where it has not come yet, the frozen one would be ahead of the copy.
    if (!wait_until(*second, kStallMax, [&] { return has_rows(*second) || holds_or_waits(before); })) {
      throw std::runtime_error("a second instance does not take over");
    }
    job->resume();
    const auto deadline = SteadyClock::now() + kStallMax;
    while (job->running()) {
      if (SteadyClock::now() > deadline) throw std::runtime_error("a zombie lives on");
      if (!second->running()) throw std::runtime_error("the job ended with " + second->describe_end());
      step(*second, 1ms);
      step(*job, kPoll);
    }
    const std::string end = job->describe_end();
    if (!end.starts_with("exit 1: ") || (end.find("later instance") == std::string::npos &&
                                         end.find("this checkpoint directory is new") == std::string::npos)) {
      throw std::runtime_error("a zombie ended with " + end);
    }
    std::filesystem::remove_all(frozen);
    ++tally_.counts["zombies"];
    if (at_point) ++tally_.counts["zombies_at_points"];
    say(std::string("zombie, frozen ") + (at_point ? "at a fail point" : "at a random time") + ": " + end);
    progress_.erase(job.get());
    wait_for_publish(*second, "a take-over");
    return second;
  }

  std::int64_t newest_incarnation() const {
    const std::vector<std::int64_t> incarnations = scene_.tables().read_incarnations();
    return incarnations.empty() ? 0 : *std::max_element(incarnations.begin(), incarnations.end());
  }

  // Whether a start after `before` has claimed all markers but those for whose lock it waits, and waits for some.
  bool holds_or_waits(std::int64_t before) const {
    pqxx::connection connection(options_.conninfo);
    pqxx::work work(connection);
    const auto waiting = work.exec("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and "
                                   "application_name = " + work.quote(scene_.topic()))[0][0].as<std::size_t>();
    const std::vector<std::int64_t> incarnations = scene_.tables().read_incarnations();
    const auto claimed = std::count_if(incarnations.begin(), incarnations.end(),
                                       [&](std::int64_t incarnation) { return incarnation > before; });
    return waiting > 0 && static_cast<std::size_t>(claimed) + waiting >= incarnations.size();
  }

  void expect_refused(std::int32_t parallelism) {
    const JobPtr second = start(parallelism);
    const auto deadline = SteadyClock::now() + kStallMax;
    while (second->running() && SteadyClock::now() < deadline) step(*second, kPoll);
    progress_.erase(second.get());
    if (second->running()) throw std::runtime_error("a second instance is not refused");
    const std::string end = second->describe_end();
    if (end.find("another instance of job") == std::string::npos) {
      throw std::runtime_error("a second instance ended with " + end);
    }
  }

  // ---- the end

  void run_to_end() {
    const std::int64_t manifest_before = newest_manifest(checkpoints_);
    const JobPtr job = start(static_cast<std::int32_t>(kills_.size() % 3) + 1);
    orders::Progress last;
    auto last_change = SteadyClock::now();
    while (job->running() || !recount_.finished()) {
      const auto progress = job->next_progress(100ms);
      if (progress && *progress != last) {
        last = *progress;
        last_change = SteadyClock::now();
      }
      check_health();
      if (SteadyClock::now() - last_change > kStallMax) {
        throw std::runtime_error("the last run makes no progress after " +
                                 std::to_string(last.rows) + " rows");
      }
      if (!job->running()) std::this_thread::sleep_for(10ms);
    }
    if (!job->exited_well()) throw std::runtime_error("the job ended with " + job->describe_end());
    ++tally_.counts["incarnations"];
    if (newest_manifest(checkpoints_) > manifest_before) ++tally_.counts["with_checkpoint"];
  }

  void check_health() const {
    producer_.check();
    recount_.check();
  }

  void compare() {
    const orders::Tables tables = scene_.tables().read();
    const auto markers = scene_.tables().read_markers();
    const orders::WindowRules& rules = generator_.options().rules;
    std::int64_t rows = 0;
    for (const auto& partition : recount_.topic()) rows += static_cast<std::int64_t>(partition.size());
    tally_.counts["rows"] = rows;
    tally_.counts["late_rows"] = static_cast<std::int64_t>(tables.late.size());
    tally_.counts["firings"] = static_cast<std::int64_t>(tables.log.size());

    orders::Check topic;
    topic.lost = generator_.options().row_count - rows;
    note("topic", topic);
    note("upsert", orders::check_totals(recount_.topic(), tables, rules));
    note("late", orders::check_late_rows(recount_.topic(), tables, rules));
    note("insert", orders::check_log(recount_.topic(), tables, rules));
    note("rows_of_markers", check_rows("to late orders", markers, tables.late.size()));
    note("rows_of_markers", check_rows("to log", markers, tables.log.size()));
  }

  // What was published under the marker of an insert-only table is what is there.
  orders::Check check_rows(const std::string& sink, const std::map<std::string, orders::Marker>& markers,
                           std::size_t found) const {
    orders::Check check;
    const auto marker = markers.find(sink);
    const std::int64_t published = marker == markers.end() ? 0 : marker->second.rows;
    const auto more = static_cast<std::int64_t>(found) - published;
    (more < 0 ? check.lost : check.duplicated) = std::abs(more);
    if (more != 0) {
      check.examples.push_back("the marker of '" + sink + "' says " + std::to_string(published) +
                               " rows, the table has " + std::to_string(found));
    }
    return check;
  }

  void note(const std::string& table, const orders::Check& check) {
    tally_.counts[table + "_lost"] += check.lost;
    tally_.counts[table + "_duplicated"] += check.duplicated;
    tally_.counts[table + "_wrong"] += check.wrong;
    for (const std::string& example : check.examples) say(table + ": " + example);
    if (table == "rows_of_markers") return;  // says the same of the same rows
    tally_.counts["lost"] += check.lost;
    tally_.counts["duplicated"] += check.duplicated;
    tally_.counts["wrong"] += check.wrong;
  }

  const LegOptions& options_;
  Dice dice_;
  FailPointDeck deck_;
  std::vector<Kill> kills_;
  orders::Generator generator_;
  Scene scene_;
  std::filesystem::path checkpoints_;
  std::optional<PostgresProxy> proxy_;
  PhaseFile phase_file_{{}};
  std::int64_t start_count_ = 0;
  std::int64_t copy_count_ = 0;
  std::map<const orders::JobProcess*, orders::Progress> progress_;  // the last of each
  orders::Recount recount_;
  orders::Producer producer_;
  Tally tally_;
};

}  // namespace

Tally run_leg(const LegOptions& options) { return Leg(options).run(); }

}  // namespace faults
