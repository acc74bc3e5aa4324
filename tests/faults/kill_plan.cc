#include "kill_plan.h"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "job_process.h"

namespace faults {
namespace {

constexpr std::int64_t kRandomDelayMaxMs = 1'600;
constexpr std::int32_t kParallelismMax = 3;
constexpr auto kListTimeout = std::chrono::seconds(10);

bool known_phase(const std::string& phase) {
  return std::find(std::begin(kPhases), std::end(kPhases), phase) != std::end(kPhases);
}

// The job writes exactly once into PostgreSQL.
bool is_of_another_sink(const FailPoint& point) {
  return point.phase == "flush" || point.name.starts_with("files.");
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

FailPointDeck::FailPointDeck(std::vector<FailPoint> points, Dice& dice)
    : points_(std::move(points)), dice_(dice) {
  for (const char* phase : kPhases) {
    std::vector<FailPoint> of_phase;
    std::copy_if(points_.begin(), points_.end(), std::back_inserter(of_phase),
                 [phase](const FailPoint& point) { return point.phase == phase; });
    if (of_phase.empty()) continue;
    dice_.shuffle(of_phase);
    drawn_from_.push_back(of_phase.front());
  }
  dice_.shuffle(drawn_from_);
}

FailPoint FailPointDeck::draw() {
  if (drawn_from_.empty()) {
    drawn_from_ = points_;
    dice_.shuffle(drawn_from_);
  }
  FailPoint point = drawn_from_.back();
  drawn_from_.pop_back();
  return point;
}

std::int32_t draw_nth(const FailPoint& point, Dice& dice) {
  if (point.phase == "restore") return 1;  // passed once in an incarnation
  // With a checkpoint each 100 ms the others are passed a few times a second, or with each batch.
  return static_cast<std::int32_t>(1 + dice.below(point.phase == "run" ? 60 : 8));
}

std::vector<Kill> plan_kills(std::int32_t kill_count, FailPointDeck& deck, Dice& dice) {
  std::vector<Kill> kills(static_cast<std::size_t>(kill_count));
  for (std::size_t i = 0; i < kills.size(); ++i) {
    if (i % 2 == 0) {
      kills[i].point = deck.draw();
      kills[i].nth = draw_nth(*kills[i].point, dice);
    } else {
      kills[i].delay = std::chrono::milliseconds(dice.below(kRandomDelayMaxMs));
    }
  }
  dice.shuffle(kills);
  // The first incarnation has nothing to restore.
  const auto first = std::find_if(kills.begin(), kills.end(), [](const Kill& kill) {
    return !kill.point || kill.point->phase != "restore";
  });
  if (first != kills.end()) std::iter_swap(kills.begin(), first);
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
