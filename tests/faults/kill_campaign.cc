// The kill campaign: SIGKILL, again and again, against a real broker and a real database, which are
// killed as well.
//
//   kill_campaign --job PATH --brokers HOST:PORT --postgres CONNINFO [--kills N=30] [--cuts N]
//                 [--postgres-restarts N] [--broker-kills N] [--zombies N] [--stops N] [--seed S]
//                 [--resume DIR] [--without-marker] [--keep]
//
// It goes in legs of some kills each. With --resume what it has done and seen is kept in DIR, and it goes
// on from there; asked for more than was asked before, it does the rest.
//
// Exits 0 only when no order is lost, duplicated or wrong, when (from 30 kills on) every phase of
// the job was hit, when (from 30 kills on) every tenth kill came between a manifest and its marker, when
// every fail point had its 10 kills if there were enough, and when at least half of the incarnations
// completed a checkpoint: a job that dies before it does anything would pass too easily.

#include <charconv>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include <unistd.h>

#include "campaign.h"

namespace faults {
namespace {

constexpr std::int32_t kKillsForEveryPhase = 30;
constexpr std::int32_t kKillsInALeg = 24;  // even: half of them are at fail points
constexpr std::int32_t kKillsAtEachPoint = 10;  // in a long campaign

struct Options {
  LegOptions leg;
  FaultCounts wanted{.kills = 30};
  std::uint64_t seed = 0;
  bool seed_given = false;
  std::filesystem::path resume;  // empty: nothing is kept
};

template <typename Number>
Number parse(std::string_view name, std::string_view text) {
  Number value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{} || result.ptr != text.data() + text.size() || value < Number{0}) {
    throw std::invalid_argument(std::string(name) + " wants a number, not " + std::string(text));
  }
  return value;
}

Options parse_options(int argc, char** argv) {
  Options options;
  options.seed = std::random_device{}();
  const std::map<std::string_view, std::int32_t FaultCounts::*> counts = {
      {"--kills", &FaultCounts::kills},
      {"--cuts", &FaultCounts::cuts},
      {"--postgres-restarts", &FaultCounts::postgres_restarts},
      {"--broker-kills", &FaultCounts::broker_kills},
      {"--zombies", &FaultCounts::zombies},
      {"--stops", &FaultCounts::stops}};
  const std::map<std::string_view, std::string LegOptions::*> texts = {
      {"--job", &LegOptions::job_path},
      {"--brokers", &LegOptions::brokers},
      {"--postgres", &LegOptions::conninfo}};
  const std::map<std::string_view, bool LegOptions::*> flags = {
      {"--keep", &LegOptions::keep}, {"--without-marker", &LegOptions::without_marker}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (const auto flag = flags.find(name); flag != flags.end()) {
      options.leg.*flag->second = true;
      continue;
    }
    if (i + 1 == argc) throw std::invalid_argument(std::string(name) + " wants a value");
    const std::string_view value = argv[++i];
    if (const auto count = counts.find(name); count != counts.end()) {
      options.wanted.*count->second = parse<std::int32_t>(name, value);
    } else if (const auto text = texts.find(name); text != texts.end()) {
      options.leg.*text->second = value;
    } else if (name == "--seed") {
      options.seed = parse<std::uint64_t>(name, value);
      options.seed_given = true;
    } else if (name == "--resume") {
      options.resume = value;
    } else {
      throw std::invalid_argument("unknown option " + std::string(name));
    }
  }
  for (const auto& [name, text] : texts) {
    if ((options.leg.*text).empty()) throw std::invalid_argument(std::string(name) + " is needed");
  }
  if (options.wanted.kills < 1) throw std::invalid_argument("--kills wants at least 1");
  return options;
}

template <class Map>
void print_counts(const char* title, const Map& counts) {
  std::printf("%s", title);
  for (const auto& [name, count] : counts) std::printf(" %s=%d", name.c_str(), count);
  std::printf("\n");
}

bool fail_if(bool failed, const std::string& what) {
  if (failed) std::printf("FAILED: %s\n", what.c_str());
  return failed;
}

void print(const Tally& tally) {
  const auto number = [&](const std::string& name) { return static_cast<long long>(tally.count(name)); };
  print_counts("kills by phase:", tally.kills_by_phase);
  print_counts("kills by fail point:", tally.kills_by_point);
  if (!tally.unreached.empty()) print_counts("fail points not reached:", tally.unreached);
  std::printf("legs=%lld incarnations=%lld with_checkpoint=%lld rows=%lld firings=%lld late_rows=%lld\n",
              number("legs"), number("incarnations"), number("with_checkpoint"), number("rows"),
              number("firings"), number("late_rows"));
  for (const char* table : {"topic", "upsert", "insert", "late", "rows_of_markers"}) {
    const std::string name = table;
    std::printf("%s: lost=%lld duplicated=%lld wrong=%lld\n", table, number(name + "_lost"),
                number(name + "_duplicated"), number(name + "_wrong"));
  }
  for (const std::string& error : tally.errors) std::printf("error: %s\n", error.c_str());
  std::printf("cuts: before_commit=%lld after_commit=%lld in_reply=%lld\n", number("cuts_before_commit"),
              number("cuts_after_commit"), number("cuts_in_reply"));
  std::printf("kills=%lld lost=%lld duplicated=%lld wrong=%lld at_points=%lld before_publish=%lld cuts=%lld "
              "postgres_restarts=%lld broker_kills=%lld zombies=%lld zombies_at_points=%lld stops=%lld\n",
              number("kills"), number("lost"), number("duplicated"), number("wrong"),
              number("kills_at_points"), number("kills_before_publish"), number("cuts"),
              number("postgres_restarts"), number("broker_kills"), number("zombies"),
              number("zombies_at_points"), number("stops"));
}

bool every_point_had_its_kills(const Tally& tally, const std::vector<FailPoint>& points) {
  const auto needed = static_cast<std::int64_t>(points.size()) * kKillsAtEachPoint;
  if (tally.count("kills_at_points") < needed) return true;
  bool failed = false;
  for (const FailPoint& point : points) {
    const auto found = tally.kills_by_point.find(point.name);
    const std::int32_t kills = found == tally.kills_by_point.end() ? 0 : found->second;
    failed |= fail_if(kills < kKillsAtEachPoint, point.name + " had only " + std::to_string(kills) + " kills");
  }
  return !failed;
}

bool holds(const Tally& tally, const std::vector<FailPoint>& points) {
  const std::int64_t kills = tally.count("kills");
  bool failed = fail_if(!tally.errors.empty(), "a leg did not get to its end");
  failed |= fail_if(tally.count("topic_lost") != 0, "the topic is not what was produced");
  failed |= fail_if(tally.count("lost") != 0, "rows were lost");
  failed |= fail_if(tally.count("duplicated") != 0, "rows were duplicated");
  failed |= fail_if(tally.count("wrong") != 0, "rows are wrong");
  failed |= fail_if(tally.count("rows_of_markers_lost") + tally.count("rows_of_markers_duplicated") != 0,
                    "the tables have not the rows that their markers count");
  failed |= fail_if(2 * tally.count("with_checkpoint") < tally.count("incarnations"),
                    "fewer than half of the incarnations completed a checkpoint");
  if (kills >= kKillsForEveryPhase) {
    for (const char* phase : kPhases) {
      failed |= fail_if(!tally.kills_by_phase.contains(phase), std::string("no kill in phase ") + phase);
    }
    failed |= fail_if(10 * tally.count("kills_before_publish") < kills,
                      "fewer than a tenth of the kills came between a manifest and its marker");
  }
  failed |= !every_point_had_its_kills(tally, points);
  return !failed;
}

// What of the faults that are left comes with the next `kills` of `left.kills`.
FaultCounts part_of(const FaultCounts& left, std::int32_t kills) {
  const auto share = [&](std::int32_t count) {
    return static_cast<std::int32_t>((std::int64_t{count} * kills + left.kills - 1) / left.kills);
  };
  return {.kills = kills,
          .cuts = share(left.cuts),
          .postgres_restarts = share(left.postgres_restarts),
          .broker_kills = share(left.broker_kills),
          .zombies = share(left.zombies),
          .stops = share(left.stops)};
}

FaultCounts left_of(const FaultCounts& wanted, const FaultCounts& done) {
  const auto left = [](std::int32_t all, std::int32_t some) { return std::max(all - some, 0); };
  return {.kills = left(wanted.kills, done.kills),
          .cuts = left(wanted.cuts, done.cuts),
          .postgres_restarts = left(wanted.postgres_restarts, done.postgres_restarts),
          .broker_kills = left(wanted.broker_kills, done.broker_kills),
          .zombies = left(wanted.zombies, done.zombies),
          .stops = left(wanted.stops, done.stops)};
}

Tally begin(const Options& options) {
  Tally tally;
  if (options.resume.empty()) {
    tally.seed = options.seed;
    return tally;
  }
  std::filesystem::create_directories(options.resume);
  const std::filesystem::path file = options.resume / "tally";
  const bool resumed = std::filesystem::exists(file);
  if (resumed) tally = Tally::load(file);
  if (resumed && options.seed_given && tally.seed != options.seed) {
    throw std::invalid_argument("the campaign in " + options.resume.string() + " has the seed " +
                                std::to_string(tally.seed));
  }
  if (!resumed) tally.seed = options.seed;
  return tally;
}

void run_next_leg(const Options& options, const FaultCounts& left, Tally& tally) {
  LegOptions leg = options.leg;
  leg.faults = part_of(left, std::min(left.kills, kKillsInALeg));
  // splitmix64 spreads them.
  leg.seed = tally.seed + static_cast<std::uint64_t>(tally.count("legs") + tally.count("broken_legs"));
  leg.kills_by_point = tally.kills_by_point;
  leg.folder = options.resume.empty() ? std::filesystem::temp_directory_path() /
                                            ("kill-campaign-" + std::to_string(::getpid()))
                                      : options.resume / "leg";
  try {
    tally.add(run_leg(leg));
    ++tally.counts["legs"];
  } catch (const std::exception& error) {
    ++tally.counts["broken_legs"];
    tally.errors.emplace_back("seed " + std::to_string(leg.seed) + ": " + error.what());
  }
  if (!options.resume.empty()) tally.save(options.resume / "tally");
}

int run(const Options& options) {
  const std::vector<FailPoint> points = list_fail_points(options.leg.job_path);
  Tally tally = begin(options);
  std::printf("seed=%llu kills=%d\n", static_cast<unsigned long long>(tally.seed), options.wanted.kills);
  while (tally.errors.empty()) {
    const FaultCounts left = left_of(options.wanted, tally.done());
    if (left.kills == 0) break;
    std::fflush(stdout);
    run_next_leg(options, left, tally);
    std::printf("kills so far: %lld of %d\n", static_cast<long long>(tally.count("kills")),
                options.wanted.kills);
  }
  print(tally);
  return holds(tally, points) ? 0 : 1;
}

}  // namespace
}  // namespace faults

int main(int argc, char** argv) {
  try {
    return faults::run(faults::parse_options(argc, argv));
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "kill_campaign: %s\n", error.what());
    return 1;
  }
}
