// Functions with state and timers on the simulated executor, through crashes of the process, changes of
// parallelism and faults of the disk: windows made by hand of a map, timers, and rules that are broadcast; and
// two keyed inputs of which every pair must come once. A seed replays a run: LEVADA_SEED=n.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <string>
#include <tuple>

#include "levada/levada.h"
#include "levada/testing/simulation.h"
#include "support/rows.h"
#include "support/seed.h"

namespace levada {
namespace {

using testing::Row;

struct Rule {
  std::int64_t id = 0, factor = 0;
  Timestamp at;
};
LEVADA_RECORD(Rule, id, factor, at)

struct Total {
  std::int64_t key = 0;
  Timestamp end;
  std::int64_t count = 0, total = 0;
};
LEVADA_RECORD(Total, key, end, count, total)

constexpr std::int64_t kRows = 3'000, kRules = 60;
constexpr std::int64_t kSize = 100'000;
constexpr std::int64_t kJitter = 5'000;

std::int64_t us(Timestamp time) { return time.time_since_epoch().count(); }

Row make_row(std::uint64_t i) { return testing::row_of(i, 20, kJitter); }
Rule make_rule(std::uint64_t i) {
  return {static_cast<std::int64_t>(i % 7), static_cast<std::int64_t>(detail::mix(i) % 10),
          Timestamp{Duration{static_cast<std::int64_t>(i) * (kRows * 1000 / kRules)}}};
}

struct Sum {
  std::int64_t count = 0, total = 0;
};
LEVADA_RECORD(Sum, count, total)

/// A window's total times the sum of the factors of the rules at its end: event time waits for both inputs, so
/// all of them have come.
struct Windows {
  MapState<Timestamp, Sum> open{"open"};
  ValueState<std::int64_t> rows{"rows", {.ttl = 24h}};
  BroadcastState<std::int64_t, Rule> rules{"rules"};

  void process(const Row& row, KeyedContext<std::int64_t, Total>& ctx) {
    const Timestamp end{Duration{(us(row.at) / kSize + 1) * kSize}};
    Sum& sum = open.get(end);
    ++sum.count;
    sum.total += row.value;
    ++rows.get();
    ctx.set_timer(end - 1us);
    ctx.set_processing_timer(ctx.now() + 1ms);
  }
  void process_broadcast(const Rule& rule, BroadcastContext<Total>& ctx) {
    rules.put(us(rule.at), rule, ctx);
  }
  void on_timer(Timestamp at, KeyedContext<std::int64_t, Total>& ctx) {
    if (ctx.time_domain() == TimeDomain::kProcessingTime) return;
    std::int64_t factors = 0;
    rules.for_each([&](std::int64_t, const Rule& rule) { factors += rule.at <= at ? rule.factor : 0; });
    const Sum* sum = open.find(at + 1us);
    ctx.emit({ctx.key(), at + 1us, sum->count, sum->total * factors});
    open.erase(at + 1us);
  }
};

using Totals = std::map<std::pair<std::int64_t, std::int64_t>, std::pair<std::int64_t, std::int64_t>>;

Totals expected_totals() {
  Totals totals;
  for (std::int64_t i = 0; i < kRows; ++i) {
    const Row row = make_row(static_cast<std::uint64_t>(i));
    auto& [count, total] = totals[{row.key, (us(row.at) / kSize + 1) * kSize}];
    ++count;
    total += row.value;
  }
  for (auto& [at, sums] : totals) {
    std::int64_t factors = 0;
    for (std::int64_t i = 0; i < kRules; ++i) {
      const Rule rule = make_rule(static_cast<std::uint64_t>(i));
      factors += us(rule.at) < at.second ? rule.factor : 0;
    }
    sums.second *= factors;
  }
  return totals;
}

testing::SimulationResult simulate(std::uint64_t seed, const std::function<void(StreamEnvironment&)>& build) {
  return testing::run_simulated({.parallelism = 2,
                                 .checkpoint = {.interval = 200us, .directory = "/job"},
                                 .memory = 64_MiB,
                                 .batch_rows = 16},
                                build,
                                {.seed = seed,
                                 .crashes = 3,
                                 .steps_per_crash = 600,
                                 .parallelism = {2, 3, 1},
                                 .operations_per_disk_fault = 60});
}

// Runs seeds; `run_one` returns what went wrong beside what the result says.
template <class F>
void run_seeds(std::uint64_t count, F run_one) {
  const std::uint64_t first = testing::first_seed();
  testing::SimulationResult sum;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    testing::SimulationResult result;
    const std::string wrong = run_one(seed, result);
    ASSERT_TRUE(result.finished && wrong.empty()) << "LEVADA_SEED=" << seed << ": " << result.error << " " << wrong;
    sum.checkpoints += result.checkpoints;
    sum.crashes += result.crashes;
    sum.restores += result.restores;
    sum.disk_faults += result.disk_faults;
  }
  std::printf("checkpoints %llu, crashes %d, restores %d, disk faults %llu\n",
              static_cast<unsigned long long>(sum.checkpoints), sum.crashes, sum.restores,
              static_cast<unsigned long long>(sum.disk_faults));
  EXPECT_GE(sum.checkpoints, 3 * count);
  EXPECT_GE(sum.restores, static_cast<int>(count));
}

TEST(ProcessSimulation, StateTimersAndBroadcastStateComeThroughCrashesRescalesAndDiskFaults) {
  const Totals expected = expected_totals();
  run_seeds(testing::seed_count(100), [&](std::uint64_t seed, testing::SimulationResult& result) -> std::string {
    Collected<Total> collected;
    result = simulate(seed, [&](StreamEnvironment& env) {
      const auto rules =
          env.generate<Rule>(make_rule, {.rows = kRules, .splits = 1}, event_time(&Rule::at)).uid("rules");
      env.generate<Row>(make_row, {.rows = kRows, .splits = 3},
                        event_time(&Row::at, {.bounded_out_of_orderness = 10ms}))
          .uid("rows")
          .key_by(&Row::key)
          .connect(rules.broadcast())
          .process<Total>(Windows{})
          .uid("windows")
          .collect_into(collected)
          .uid("out");
    });
    Totals totals;
    for (const Total& row : collected.rows()) {
      if (!totals.try_emplace({row.key, us(row.end)}, row.count, row.total).second) return "a window came twice";
    }
    return totals == expected ? "" : std::to_string(totals.size()) + " of " + std::to_string(expected.size()) +
                                         " windows, or wrong ones";
  });
}

struct Pair {
  std::int64_t key = 0, left = 0, right = 0;
};
LEVADA_RECORD(Pair, key, left, right)

/// Every row of the left with every one of the right of its key.
struct Join {
  ListState<std::int64_t> lefts{"lefts"};
  ListState<std::int64_t> rights{"rights"};

  void process_left(const Row& row, KeyedContext<std::int64_t, Pair>& ctx) {
    lefts.add(us(row.at));
    for (const std::int64_t right : rights.get()) ctx.emit({ctx.key(), us(row.at), right});
  }
  void process_right(const Rule& rule, KeyedContext<std::int64_t, Pair>& ctx) {
    rights.add(us(rule.at));
    for (const std::int64_t left : lefts.get()) ctx.emit({ctx.key(), left, us(rule.at)});
  }
};

TEST(ProcessSimulation, EveryPairOfTwoInputsComesOnceThroughCrashesRescalesAndDiskFaults) {
  constexpr std::uint64_t kLefts = 2'000;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, int> expected;
  for (std::uint64_t i = 0; i < kLefts; ++i) {
    for (std::uint64_t j = 0; j < kRules; ++j) {
      const Row row = make_row(i);
      const Rule rule = make_rule(j);
      if (row.key == rule.id) ++expected[{row.key, us(row.at), us(rule.at)}];
    }
  }
  run_seeds(testing::seed_count(50), [&](std::uint64_t seed, testing::SimulationResult& result) -> std::string {
    Collected<Pair> collected;
    result = simulate(seed, [&](StreamEnvironment& env) {
      const auto rules = env.generate<Rule>(make_rule, {.rows = kRules, .splits = 2}).uid("rules");
      env.generate<Row>(make_row, {.rows = kLefts, .splits = 3})
          .uid("rows")
          .key_by(&Row::key)
          .connect(rules.key_by(&Rule::id))
          .process<Pair>(Join{})
          .uid("join")
          .collect_into(collected)
          .uid("out");
    });
    std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, int> got;
    for (const Pair& pair : collected.rows()) ++got[{pair.key, pair.left, pair.right}];
    return got == expected ? "" : std::to_string(got.size()) + " of " + std::to_string(expected.size()) + " pairs";
  });
}

}  // namespace
}  // namespace levada
