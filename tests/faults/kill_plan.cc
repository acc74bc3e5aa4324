#include "kill_plan.h"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "job_process.h"

namespace faults {
namespace {

constexpr std::int64_t kRandomDelayMaxMs = 1'600;
constexpr std::int32_t kParallelismMax = 3;
constexpr auto kListTimeout = std::chrono::seconds(60);

bool known_phase(const std::string& phase) {
  return std::find(std::begin(kPhases), std::end(kPhases), phase) != std::end(kPhases);
}

// The job writes exactly once into PostgreSQL.
bool is_of_another_sink(const FailPoint& point) {
  return point.phase == "flush" || point.name.starts_with("files.");
}

std::vector<Fault> faults_in(const FaultCounts& counts) {
  std::vector<Fault> faults;
  for (const auto& [fault, count] : {std::pair{Fault::kZombie, counts.zombies},
                                     std::pair{Fault::kStop, counts.stops},
                                     std::pair{Fault::kCut, counts.cuts},
                                     std::pair{Fault::kPostgresRestart, counts.postgres_restarts},
                                     std::pair{Fault::kBrokerKill, counts.broker_kills}}) {
    faults.insert(faults.end(), static_cast<std::size_t>(count), fault);
  }
  return faults;
}

}  // namespace

// splitmix64. Source: Steele, Lea, Flood, OOPSLA 2014.
std::int64_t Dice::below(std::int64_t bound) {
  state_ += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return static_cast<std::int64_t>((z ^ (z >> 31)) % static_cast<std::uint64_t>(bound));
}

FailPointDeck::FailPointDeck(std::vector<FailPoint> points, std::map<std::string, std::int32_t> kills,
                             Dice& dice)
    : points_(std::move(points)), kills_(std::move(kills)), dice_(dice) {
  for (const FailPoint& point : points_) kills_by_phase_[point.phase] += kills_[point.name];
}

FailPoint FailPointDeck::draw() {
  dice_.shuffle(points_);
  const auto rank = [this](const FailPoint& point) {
    return std::pair(kills_by_phase_[point.phase] > 0, kills_[point.name]);
  };
  const auto least = std::min_element(
      points_.begin(), points_.end(),
      [&](const FailPoint& a, const FailPoint& b) { return rank(a) < rank(b); });
  ++kills_[least->name];
  ++kills_by_phase_[least->phase];
  return *least;
}

const FailPoint& FailPointDeck::peek() {
  return points_[static_cast<std::size_t>(dice_.below(static_cast<std::int64_t>(points_.size())))];
}

std::int32_t draw_nth(const FailPoint& point, Dice& dice) {
  if (point.phase == "restore") return 1;  // passed once in an incarnation
  // With a checkpoint each 100 ms the others are passed a few times a second, or with each batch.
  return static_cast<std::int32_t>(1 + dice.below(point.phase == "run" ? 60 : 8));
}

std::vector<Kill> plan_kills(const FaultCounts& counts, FailPointDeck& deck, Dice& dice) {
  std::vector<Kill> kills(static_cast<std::size_t>(counts.kills));
  std::vector<Fault> faults = faults_in(counts);
  dice.shuffle(faults);
  const std::size_t first = faults.empty() ? 0 : 1;  // one at a random time at least, to come after them
  std::vector<Kill*> at_random_times;
  for (std::size_t i = 0; i < kills.size(); ++i) {
    if ((i + first) % 2 == 0) {
      kills[i].point = deck.draw();
      kills[i].nth = draw_nth(*kills[i].point, dice);
    } else {
      kills[i].delay = std::chrono::milliseconds(dice.below(kRandomDelayMaxMs));
      at_random_times.push_back(&kills[i]);
    }
  }
  for (std::size_t i = 0; i < faults.size(); ++i) {
    at_random_times[i % at_random_times.size()]->faults.push_back(faults[i]);
  }
  for (Kill& kill : kills) std::sort(kill.faults.begin(), kill.faults.end());
  dice.shuffle(kills);
  // The first incarnation has nothing to restore, and nothing that a second one could take over.
  const auto plain = std::find_if(kills.begin(), kills.end(), [](const Kill& kill) {
    return kill.faults.empty() && (!kill.point || kill.point->phase != "restore");
  });
  if (plain != kills.end()) std::iter_swap(kills.begin(), plain);
  for (std::size_t i = 0; i < kills.size(); ++i) {
    kills[i].parallelism = static_cast<std::int32_t>(i % kParallelismMax) + 1;
  }
  return kills;
}

std::vector<FailPoint> list_fail_points(const std::string& job_path) {
  orders::JobProcess job({job_path, "--list-failpoints"}, {}, 1);
  while (job.running() && job.next_progress(kListTimeout)) {
  }
  if (job.running() || !job.exited_well()) {
    throw std::runtime_error(job_path + " does not list its fail points: was it built with them?");
  }
  std::vector<FailPoint> points;
  std::istringstream lines(job.output());
  for (FailPoint point; lines >> point.name >> point.phase;) {
    if (is_of_another_sink(point)) continue;
    if (!known_phase(point.phase)) {
      throw std::runtime_error("fail point " + point.name +
                               " has an unknown phase: " + point.phase);
    }
    points.push_back(point);
  }
  if (points.empty()) throw std::runtime_error(job_path + " was built without fail points");
  return points;
}

}  // namespace faults
