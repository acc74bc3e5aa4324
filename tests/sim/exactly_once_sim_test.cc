// A job with an exactly-once sink on the simulated executor, through crashes, changes of parallelism and
// answers of the target that are never heard. A seed replays a run.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "base/random.h"
#include "levada/levada.h"
#include "levada/testing/simulation.h"
#include "support/memory_target.h"

namespace levada {
namespace {

using testing::MemoryTable;
using testing::TargetStep;

constexpr std::int64_t kRows = 3'000;
constexpr std::int64_t kKeys = 7;

struct Row {
  std::int64_t key = 0, number = 0;
};
LEVADA_RECORD(Row, key, number)

std::string wrong_with(const MemoryTable& table) {
  std::map<std::int64_t, std::int64_t> last;
  std::set<std::int64_t> seen;
  for (const Row& row : testing::rows_of<Row>(table)) {
    if (!seen.insert(row.number).second) return "row " + std::to_string(row.number) + " is there twice";
    const auto [at, fresh] = last.emplace(row.key, row.number);
    if (!fresh && at->second > row.number) {
      return "row " + std::to_string(row.number) + " comes after a later one of its key";
    }
    at->second = row.number;
  }
  return {};
}

testing::SimulationResult run(std::uint64_t seed, MemoryTable& table_out, std::string& wrong) {
  const auto table = std::make_shared<MemoryTable>();
  Random random(seed + 1000);
  int faults = 200;
  table->fault = [&](TargetStep step) {
    if (wrong.empty()) wrong = wrong_with(*table);
    if (faults == 0 || !random.chance(0.05)) return;
    --faults;
    const bool conflict = step == TargetStep::kWrite && random.chance(0.5);
    throw TargetError(conflict ? TargetStatus::kConflict : TargetStatus::kUnavailable, "planned");
  };
  const auto build = [&](StreamEnvironment& env) {
    const auto by_key = detail::make_key_selector<Row>(&Row::key);
    env.generate<Row>(
           [](std::uint64_t i) {
             const auto number = static_cast<std::int64_t>(i);
             return Row{number % kKeys, number};
           },
           {.rows = kRows})
        .uid("rows")
        .sink_to(testing::memory_sink<Row>(table, 2, by_key))
        .uid("out");
  };
  EnvironmentOptions options{.parallelism = 2,
                             .checkpoint = {.interval = 3ms, .directory = "/job"},
                             .restart = fixed_delay({.attempts = 1000, .delay = 1ms}),
                             .batch_rows = 16};
  const auto result = testing::run_simulated(
      options, build,
      {.seed = seed, .crashes = 4, .parallelism = {2, 1, 3}, .operations_per_disk_fault = 60});
  if (wrong.empty()) wrong = wrong_with(*table);
  const auto rows = testing::rows_of<Row>(*table);
  if (wrong.empty() && static_cast<std::int64_t>(rows.size()) != kRows) {
    wrong = std::to_string(rows.size()) + " rows are there";
  }
  static_cast<void>(table_out);
  return result;
}

TEST(ExactlyOnceSimulation, EndsWithEveryRowOnceAndInOrderWithEverySeed) {
  int checkpoints = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    MemoryTable unused;
    std::string wrong;
    const auto result = run(seed, unused, wrong);
    ASSERT_TRUE(result.finished) << "seed " << seed << ": " << result.error;
    ASSERT_EQ(wrong, "") << "seed " << seed;
    checkpoints += static_cast<int>(result.checkpoints);
  }
  EXPECT_GT(checkpoints, 600);
}

}  // namespace
}  // namespace levada
