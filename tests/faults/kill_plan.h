// Which kills a campaign makes: drawn from a seed before it starts, so that the seed replays them.
//
// Half of the kills come at random times, half at named fail points of the job. Every phase that
// has fail points gets one before any gets a second.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace faults {

// The phases of a job's life in which it can be killed.
inline constexpr const char* kPhases[] = {"restore",  "run", "align",  "write",
                                         "manifest", "log", "publish"};

struct FailPoint {
  std::string name;
  std::string phase;
};

struct Kill {
  std::optional<FailPoint> point;     // nothing: at a random time
  std::int32_t nth = 1;               // the job dies when it comes to the point for the nth time
  std::chrono::milliseconds delay{};  // at a random time: so long after the start
  std::int32_t parallelism = 1;
};

// Draws random numbers the same way on every machine.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::int64_t below(std::int64_t bound);

  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1],
                values[static_cast<std::size_t>(below(static_cast<std::int64_t>(i)))]);
    }
  }

 private:
  std::uint64_t state_;
};

// An endless supply of fail points: first one of each phase, then all in random order, again and
// again.
class FailPointDeck {
 public:
  FailPointDeck(std::vector<FailPoint> points, Dice& dice);
  FailPoint draw();

 private:
  std::vector<FailPoint> points_;
  std::vector<FailPoint> drawn_from_;  // from the back
  Dice& dice_;
};

std::vector<Kill> plan_kills(std::int32_t kill_count, FailPointDeck& deck, Dice& dice);

// How often the job passes the point before it dies there, so that kills spread over the time that
// an incarnation has.
std::int32_t draw_nth(const FailPoint& point, Dice& dice);

// Reads the lines `name phase` that the job prints with --list-failpoints, without the points of sinks that
// it does not use. Throws std::runtime_error when there are none or one has an unknown phase.
std::vector<FailPoint> list_fail_points(const std::string& job_path);

}  // namespace faults
