// Which kills a leg of a campaign makes, and what else goes wrong before them: drawn from a seed before
// it starts, so that the seed replays them.
//
// Half of the kills come at random times, half at named fail points of the job, those first that had
// the fewest kills so far. The other faults come before kills at random times.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
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

// How many faults of each kind.
struct FaultCounts {
  std::int32_t kills = 0;
  std::int32_t cuts = 0;               // of a connection to PostgreSQL, around a COMMIT
  std::int32_t postgres_restarts = 0;  // without a word to its clients
  std::int32_t broker_kills = 0;       // SIGKILL, and started again
  std::int32_t zombies = 0;            // frozen, overtaken by a second instance, thawed
  std::int32_t stops = 0;              // SIGTERM, once or twice, and started again
};

enum class Fault { kZombie, kStop, kCut, kPostgresRestart, kBrokerKill };

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

struct Kill {
  std::optional<FailPoint> point;     // nothing: at a random time
  std::int32_t nth = 1;               // the job dies when it comes to the point for the nth time
  std::chrono::milliseconds delay{};  // at a random time: so long after what came before
  std::int32_t parallelism = 1;
  std::vector<Fault> faults;          // before it, zombies first
};

// An endless supply of fail points. Each time one of those with the fewest kills, in random order; while
// a phase had none, one of such a phase.
class FailPointDeck {
 public:
  // `kills`: how many each had so far, by name.
  FailPointDeck(std::vector<FailPoint> points, std::map<std::string, std::int32_t> kills, Dice& dice);
  // Counts as a kill.
  FailPoint draw();
  // Any of them, and counts nothing.
  const FailPoint& peek();
  std::size_t size() const { return points_.size(); }

 private:
  std::vector<FailPoint> points_;
  std::map<std::string, std::int32_t> kills_;
  std::map<std::string, std::int32_t> kills_by_phase_;
  Dice& dice_;
};

std::vector<Kill> plan_kills(const FaultCounts& counts, FailPointDeck& deck, Dice& dice);

// How often the job passes the point before it dies there, so that kills spread over the time that
// an incarnation has.
std::int32_t draw_nth(const FailPoint& point, Dice& dice);

// Reads the lines `name phase` that the job prints with --list-failpoints, without the points of sinks that
// it does not use. Throws std::runtime_error when there are none or one has an unknown phase.
std::vector<FailPoint> list_fail_points(const std::string& job_path);

}  // namespace faults
