// Functions with state and timers against their definition. With one split, one subtask and batches of one row,
// event time is exact, so every row out must be the oracle's. LEVADA_SEED=n replays.
#include <gtest/gtest.h>

#include <random>

#include "levada/levada.h"
#include "levada/testing/simulation.h"
#include "model/oracle.h"
#include "support/rows.h"
#include "support/seed.h"

namespace levada {
namespace {

using testing::Row;

std::int64_t us(Timestamp time) { return time.time_since_epoch().count(); }
Timestamp at(std::int64_t us) { return Timestamp{Duration{us}}; }

// What both sides do: `Key` has value(), set_value(), set_timer(), delete_timer(), emit(value).
template <class Key>
void take_row(Key key, std::int64_t value, std::int64_t time) {
  key.set_value(key.value() + value % 100);
  switch (value % 5) {
    case 0: key.set_timer(time + value % 7 * 3); break;
    case 1: key.delete_timer(time + value % 7 * 3); break;
    case 2: key.set_timer(time - 5); break;  // perhaps it has passed
    case 3: key.emit(key.value()); break;
    default: key.set_value(0);
  }
}
template <class Key>
void take_timer(Key key, std::int64_t time) {
  key.emit(-key.value());
  if (key.value() % 3 == 0) key.set_timer(time + 2);
  if (key.value() % 4 == 0) key.delete_timer(time + 3);
  key.set_value(key.value() - 1);
}

struct Tested {
  ValueState<std::int64_t> value{"value"};

  struct Key {
    ValueState<std::int64_t>& state;
    KeyedContext<std::int64_t, Row>& ctx;
    std::int64_t value() { return state.find() == nullptr ? 0 : *state.find(); }
    void set_value(std::int64_t to) { to == 0 ? state.clear() : state.set(to); }
    void set_timer(std::int64_t time) { ctx.set_timer(at(time)); }
    void delete_timer(std::int64_t time) { ctx.delete_timer(at(time)); }
    void emit(std::int64_t what) { ctx.emit({ctx.key(), what, ctx.timestamp()}); }
  };
  void process(const Row& row, KeyedContext<std::int64_t, Row>& ctx) {
    take_row(Key{value, ctx}, row.value, us(row.at));
  }
  void on_timer(Timestamp time, KeyedContext<std::int64_t, Row>& ctx) {
    take_timer(Key{value, ctx}, us(time));
  }
};

struct OracleKey {
  model::Function::Key& state;
  std::vector<model::Row>& out;
  std::int64_t key, time;
  std::int64_t value() { return state.value; }
  void set_value(std::int64_t to) { state.value = to; }
  void set_timer(std::int64_t when) { state.timers.insert(when); }
  void delete_timer(std::int64_t when) { state.timers.erase(when); }
  void emit(std::int64_t what) { out.push_back({key, what, time}); }
};

std::vector<model::Row> expected(const std::vector<model::Row>& rows, std::int64_t bound) {
  model::Function function;
  function.row = [](model::Function::Key& key, const model::Row& row) {
    std::vector<model::Row> out;
    take_row(OracleKey{key, out, row.key, row.time}, row.value, row.time);
    return out;
  };
  function.timer = [](model::Function::Key& state, std::int64_t key, std::int64_t time) {
    std::vector<model::Row> out;
    take_timer(OracleKey{state, out, key, time}, time);
    return out;
  };
  return model::process(model::source(rows, bound), function);
}

struct Case {
  std::int64_t bound = 0;
  std::vector<model::Row> rows;
};

Case random_case(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  Case made;
  made.bound = below(10);
  std::int64_t now = below(200) - 100;
  for (std::int64_t i = 0, count = 20 + below(120); i < count; ++i) {
    now += below(4);
    made.rows.push_back({below(4), below(10'000), now - (below(4) == 0 ? below(40) : below(5))});
  }
  return made;
}

// Timers of one time fire in any order of keys: runs of equal times are sorted, and keep each key's order.
std::vector<model::Row> canonical(std::vector<model::Row> rows) {
  for (std::size_t first = 0; first < rows.size();) {
    std::size_t last = first + 1;
    while (last < rows.size() && rows[last].time == rows[first].time) ++last;
    std::stable_sort(rows.begin() + static_cast<std::ptrdiff_t>(first),
                     rows.begin() + static_cast<std::ptrdiff_t>(last),
                     [](const model::Row& a, const model::Row& b) { return a.key < b.key; });
    first = last;
  }
  return rows;
}

void expect_all_as_the_oracle_says(int crashes) {
  const std::uint64_t first = testing::first_seed(), count = testing::seed_count(400);
  std::size_t rows_out = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Case test_case = random_case(seed);
    std::vector<Row> rows;
    for (const model::Row& row : test_case.rows) rows.push_back({row.key, row.value, at(row.time)});
    Collected<Row> collected;
    const auto build = [&](StreamEnvironment& env) {
      env.from_values<Row>(rows, event_time(&Row::at, {.bounded_out_of_orderness = Duration{test_case.bound}}))
          .uid("rows")
          .key_by(&Row::key)
          .process<Row>(Tested{})
          .uid("tested")
          .collect_into(collected)
          .uid("out");
    };
    const testing::SimulationResult result = testing::run_simulated(
        {.checkpoint = {.interval = 300us, .directory = "/job"}, .memory = 64_MiB, .batch_rows = 1}, build,
        {.seed = seed, .crashes = crashes, .steps_per_crash = 300});
    ASSERT_TRUE(result.finished) << "LEVADA_SEED=" << seed << ": " << result.error;
    std::vector<model::Row> got;
    for (const Row& row : collected.rows()) got.push_back({row.key, row.value, us(row.at)});
    ASSERT_TRUE(canonical(got) == canonical(expected(test_case.rows, test_case.bound)))
        << "LEVADA_SEED=" << seed << ": bound " << test_case.bound << ", " << got.size() << " rows, expected "
        << expected(test_case.rows, test_case.bound).size();
    rows_out += got.size();
  }
  EXPECT_GT(rows_out, 20 * count);
}

TEST(ProcessModel, EveryRowOutIsTheOracles) { expect_all_as_the_oracle_says(0); }

TEST(ProcessModel, TheSameThroughCrashes) { expect_all_as_the_oracle_says(2); }

}  // namespace
}  // namespace levada
