// Random pipelines against the sequential definition of their operators: random chains of steps on random
// rows, on the simulated executor through crashes and rescales, and on real threads. LEVADA_SEED=n
// replays one.
//
// Two kinds. Parallel: several sources, splits and subtasks; the order of rows is not determined, so no
// row comes later than the bound, and what depends on the order of a key's rows is only compared where
// it does not. Ordered: one split, one subtask, batches of one row, everything up to the last window in
// one chain; there all is determined, late rows and late firings included. (An exchange may let a
// watermark wait for rows that follow it, so behind one a row may be in time that would have been late.)
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

constexpr OutputTag<Row> kLate{"late"};
constexpr OutputTag<Row> kOdd{"odd"};

// ---- what a pipeline is made of

struct Step {
  enum class Kind {
    kMap,            // key and value by a, b
    kFilter,         // value % a != b
    kFlatMap,        // value % a rows of each
    kSplit,          // odd values take a detour by a side output, and come back
    kDiamond,        // the stream, and the stream mapped
    kRebalance,
    kCount,          // rolling count of a key's rows
    kReduce,         // rolling, depends on the order of a key's rows
    kWindow,         // sum
    kCountWindow,    // count, keyed by two columns
    kReduceWindow,   // reduce, keyed by a lambda's string
  };
  Kind kind;
  std::int64_t a = 1, b = 0;
  std::int64_t size = 1, slide = 1, lateness = 0;
  bool late_output = false;  // of a window: too late rows are compared, not only dropped
};

struct Source {
  std::vector<model::Row> rows;
  int splits = 1;
};

struct Pipeline {
  std::vector<Source> sources;
  std::int64_t bound = 0;
  std::vector<Step> steps;
  bool ordered = false;
  bool times_known = true;  // at the end: rows are compared with their event times
  int batch_rows = 1;
  std::vector<int> parallelism;
};

// ---- the steps' functions, shared by oracle and pipeline: values stay small whatever the chain

std::int64_t map_value(const Step& step, std::int64_t value) {
  return (value * step.a + step.b) % 997;
}
std::int64_t map_key(const Step& step, std::int64_t key, std::int64_t value) {
  return (key + step.b * value) % 7;
}
bool keeps(const Step& step, std::int64_t value) { return value % (step.a + 1) != step.b % 2; }
std::int64_t copies(const Step& step, std::int64_t value) { return value % (step.a % 2 + 2); }
std::int64_t combine(std::int64_t so_far, std::int64_t value) { return (so_far * 31 + value) % 997; }
std::int64_t count_up(std::int64_t so_far, std::int64_t) { return so_far + 1; }

model::Events apply(const Step& step, const model::Events& in, std::vector<model::Row>& late) {
  using model::Row;
  using Rows = std::vector<Row>;
  const auto mapped = [&](const Row& row) {
    return Rows{{map_key(step, row.key, row.value), map_value(step, row.value)}};
  };
  const auto window = [&](const std::function<std::int64_t(const model::Firing&)>& value) {
    return model::windows(in, model::Windows(step.size, step.slide, step.lateness),
                          [&](const model::Firing& firing) {
                            return Row{firing.key, value(firing), firing.start + step.size - 1};
                          },
                          late);
  };
  switch (step.kind) {
    case Step::Kind::kMap: return model::flat_map(in, mapped);
    case Step::Kind::kFilter:
      return model::flat_map(in, [&](const Row& row) {
        return keeps(step, row.value) ? Rows{row} : Rows{};
      });
    case Step::Kind::kFlatMap:
      return model::flat_map(in, [&](const Row& row) {
        Rows rows;
        for (std::int64_t i = 0; i < copies(step, row.value); ++i) {
          rows.push_back({row.key, (row.value + i) % 997});
        }
        return rows;
      });
    case Step::Kind::kSplit:
      return model::flat_map(in, [&](const Row& row) { return row.value % 2 ? mapped(row) : Rows{row}; });
    case Step::Kind::kDiamond: return model::union_of(in, model::flat_map(in, mapped));
    case Step::Kind::kRebalance: return in;
    case Step::Kind::kCount:
      return model::rolling(model::flat_map(in, [](const Row& row) { return Rows{{row.key, 1}}; }),
                            count_up);
    case Step::Kind::kReduce: return model::rolling(in, combine);
    case Step::Kind::kWindow:
    case Step::Kind::kReduceWindow:
      return window([](const model::Firing& firing) { return firing.sum; });
    case Step::Kind::kCountWindow: {
      // Keyed by (key, value): the oracle's key is both in one.
      const model::Events keyed = model::flat_map(
          in, [](const Row& row) { return Rows{{row.key * 1'000'000 + row.value, row.value}}; });
      std::vector<Row> late_keyed;
      const model::Events out = model::windows(
          keyed, model::Windows(step.size, step.slide, step.lateness),
          [&](const model::Firing& firing) {
            return Row{firing.key / 1'000'000, firing.count, firing.start + step.size - 1};
          },
          late_keyed);
      for (Row row : late_keyed) late.push_back({row.key / 1'000'000, row.value, row.time});
      return out;
    }
  }
  return in;
}

DataStream<Row> add(const Step& step, int index, DataStream<Row> in,
                    std::vector<DataStream<Row>>& late) {
  const std::string uid = "step " + std::to_string(index);
  const auto mapped = [step](const Row& row) {
    return Row{map_key(step, row.key, row.value), map_value(step, row.value), row.at};
  };
  const auto windowed = [&](auto keyed) {
    const auto window =
        keyed.window(sliding({.size = Duration{step.size}, .slide = Duration{step.slide}}))
            .allowed_lateness(Duration{step.lateness});
    return step.late_output ? window.side_output_late(kLate) : window;
  };
  const auto with_late = [&](DataStream<Row> out) {
    if (step.late_output) late.push_back(out.side_output(kLate));
    return out;
  };
  switch (step.kind) {
    case Step::Kind::kMap: return in.map(mapped);
    case Step::Kind::kFilter: return in.filter([step](const Row& row) { return keeps(step, row.value); });
    case Step::Kind::kFlatMap:
      return in.flat_map<Row>([step](const Row& row, auto& out) {
        for (std::int64_t i = 0; i < copies(step, row.value); ++i) {
          out.emit({row.key, (row.value + i) % 997, row.at});
        }
      });
    case Step::Kind::kSplit: {
      const auto even = in.flat_map<Row>([](const Row& row, auto& out) {
        if (row.value % 2) {
          out.emit(kOdd, row);
        } else {
          out.emit(row);
        }
      });
      return even.union_with(even.side_output(kOdd).map(mapped));
    }
    case Step::Kind::kDiamond: return in.union_with(in.map(mapped));
    case Step::Kind::kRebalance: return in.rebalance();
    case Step::Kind::kCount:
      return in.key_by(&Row::key)
          .aggregate(key().as(&Row::key), count().as(&Row::value),
                     max([](const Row& row) { return row.at; }).as(&Row::at))
          .uid(uid);
    case Step::Kind::kReduce:
      return in.key_by(&Row::key)
          .reduce([](Row so_far, const Row& row) {
            return Row{row.key, combine(so_far.value, row.value), row.at};
          })
          .uid(uid);
    case Step::Kind::kWindow:
      return with_late(windowed(in.key_by(&Row::key))
                           .aggregate(key().as(&Row::key), sum(&Row::value).as(&Row::value),
                                      window_start().as(&Row::at))
                           .uid(uid));
    case Step::Kind::kCountWindow:
      return with_late(windowed(in.key_by(&Row::key, &Row::value))
                           .aggregate(key<0>().as(&Row::key), count().as(&Row::value),
                                      window_start().as(&Row::at))
                           .uid(uid));
    case Step::Kind::kReduceWindow:
      return with_late(
          windowed(in.key_by([](const Row& row) { return "key " + std::to_string(row.key); }))
              .reduce([](Row a, const Row& b) { return Row{a.key, a.value + b.value, a.at}; })
              .uid(uid));
  }
  return in;
}

// ---- random pipelines

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
  }
  bool chance(int percent) { return below(100) < percent; }

 private:
  std::mt19937_64 random_;
};

using Kind = Step::Kind;

bool is_window(Kind kind) {
  return kind == Kind::kWindow || kind == Kind::kCountWindow || kind == Kind::kReduceWindow;
}

Step random_step(Kind kind, Dice& dice, bool ordered) {
  Step step{.kind = kind, .a = 1 + dice.below(5), .b = dice.below(5)};
  step.size = 1 + dice.below(60);
  step.slide = dice.chance(50) ? step.size : 1 + dice.below(step.size);
  if (step.size / step.slide > 4) step.slide = step.size / 4;
  if (ordered && dice.chance(60)) step.lateness = dice.below(40);
  return step;
}

// Draws steps that keep the result determined; see the head of this file.
void draw_steps(Pipeline& made, Dice& dice) {
  bool ordered = made.ordered, times = true;
  int expansions = 0;
  for (std::int64_t i = 1 + dice.below(6); i > 0; --i) {
    const auto kind = static_cast<Kind>(dice.below(static_cast<std::int64_t>(Kind::kReduceWindow) + 1));
    const bool window = is_window(kind);
    const bool mixes = kind == Kind::kSplit || kind == Kind::kDiamond || kind == Kind::kRebalance;
    const bool expands = window || kind == Kind::kFlatMap || kind == Kind::kDiamond;
    if (window && !times) continue;          // its windows would depend on the order
    if (mixes && made.ordered) continue;     // would end the order, and with it exact lateness
    if (kind == Kind::kReduce && !ordered) continue;
    if (expands && ++expansions > 3) continue;
    made.steps.push_back(random_step(kind, dice, made.ordered));
    if (window) ordered = false;             // the keys of a firing come in any order
    if (kind == Kind::kCount && !ordered) {  // which of a key's rows is the nth is not determined
      times = false;
    }
  }
  made.times_known = times;
  // Only the last one: a late output would end the chain.
  const auto last = std::find_if(made.steps.rbegin(), made.steps.rend(),
                                 [](const Step& step) { return is_window(step.kind); });
  if (last != made.steps.rend()) last->late_output = true;
}

Pipeline random_pipeline(std::uint64_t seed, bool ordered) {
  Dice dice(seed);
  Pipeline made;
  made.ordered = ordered;
  made.bound = dice.below(30);
  const std::int64_t disorder = ordered ? made.bound + 60 : made.bound;
  for (std::int64_t i = ordered ? 1 : 1 + dice.below(3); i > 0; --i) {
    Source source;
    source.splits = ordered ? 1 : static_cast<int>(1 + dice.below(4));
    std::int64_t now = dice.below(100) - 50;
    for (std::int64_t row = 0, count = dice.below(ordered ? 150 : 400); row < count; ++row) {
      now += dice.below(5);
      const bool far = dice.chance(20);
      const std::int64_t back = dice.below((far ? disorder : std::min<std::int64_t>(disorder, 3)) + 1);
      source.rows.push_back({dice.below(6), dice.below(500), now - back});
    }
    made.sources.push_back(std::move(source));
  }
  draw_steps(made, dice);
  static constexpr int kBatchRows[] = {1, 3, 16, 1024};
  made.batch_rows = ordered ? 1 : kBatchRows[dice.below(4)];
  for (int i = 0; i < 3; ++i) made.parallelism.push_back(ordered ? 1 : static_cast<int>(1 + dice.below(4)));
  return made;
}

std::string describe(const Pipeline& pipeline) {
  static constexpr const char* kNames[] = {"map",       "filter", "flat_map", "split",
                                           "diamond",   "rebalance", "count", "reduce",
                                           "window",    "count window", "reduce window"};
  std::string text = pipeline.ordered ? "ordered" : "parallel";
  for (const Source& source : pipeline.sources) {
    text += ", " + std::to_string(source.rows.size()) + " rows in " + std::to_string(source.splits);
  }
  text += ", bound " + std::to_string(pipeline.bound) + ", batches of " +
          std::to_string(pipeline.batch_rows) + ":";
  for (const Step& step : pipeline.steps) {
    text += std::string(" ") + kNames[static_cast<std::size_t>(step.kind)];
    if (!is_window(step.kind)) continue;
    text += "(" + std::to_string(step.size) + ", " + std::to_string(step.slide) + ", lateness " +
            std::to_string(step.lateness) + ")";
  }
  return text;
}

// ---- both sides

struct Result {
  std::vector<model::Row> rows, late;
  bool operator==(const Result&) const = default;
};

// Rows in any order; without times where those are not determined.
void canonicalise(Result& result, bool times) {
  for (auto* rows : {&result.rows, &result.late}) {
    if (!times) {
      for (model::Row& row : *rows) row.time = 0;
    }
    std::sort(rows->begin(), rows->end());
  }
}

Result expected(const Pipeline& pipeline) {
  Result result;
  model::Events events = model::source(pipeline.sources[0].rows, pipeline.bound);
  for (std::size_t i = 1; i < pipeline.sources.size(); ++i) {
    events = model::union_of(events, model::source(pipeline.sources[i].rows, pipeline.bound));
  }
  // In any order: event time comes at the end.
  if (!pipeline.ordered) events = model::union_of(events, {});
  for (const Step& step : pipeline.steps) {
    std::vector<model::Row> late;
    events = apply(step, events, late);
    if (step.late_output) result.late = late;
  }
  for (const model::Event& event : events) {
    if (event.is_row) result.rows.push_back(event.row);
  }
  canonicalise(result, pipeline.times_known);
  return result;
}

struct Outputs {
  Collected<Row> rows, late;
};

void build(const Pipeline& pipeline, const Outputs& outputs, StreamEnvironment& env) {
  DataStream<Row> stream;
  for (std::size_t i = 0; i < pipeline.sources.size(); ++i) {
    const Source& source = pipeline.sources[i];
    auto rows = std::make_shared<std::vector<Row>>();
    for (const model::Row& row : source.rows) {
      rows->push_back({row.key, row.value, Timestamp{Duration{row.time}}});
    }
    const auto times =
        event_time(&Row::at, {.bounded_out_of_orderness = Duration{pipeline.bound}});
    const DataStream<Row> read =
        rows->empty() ? env.from_values<Row>({}, times)
                      : env.generate<Row>([rows](std::uint64_t at) { return (*rows)[at]; },
                                          {.rows = rows->size(), .splits = source.splits}, times);
    read.uid("source " + std::to_string(i));
    stream = i == 0 ? read : stream.union_with(read);
  }
  std::vector<DataStream<Row>> late;
  for (std::size_t i = 0; i < pipeline.steps.size(); ++i) {
    stream = add(pipeline.steps[i], static_cast<int>(i), stream, late);
  }
  stream.collect_into(outputs.rows).uid("rows");
  for (const DataStream<Row>& rows : late) rows.collect_into(outputs.late).uid("late");
}

void append(const Collected<Row>& collected, std::vector<model::Row>& to) {
  const std::vector<Row> rows = collected.rows();
  const std::vector<Timestamp> times = collected.times();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    to.push_back({rows[i].key, rows[i].value, times[i].time_since_epoch().count()});
  }
}

Result result_of(const Pipeline& pipeline, const Outputs& outputs) {
  Result result;
  append(outputs.rows, result.rows);
  append(outputs.late, result.late);
  canonicalise(result, pipeline.times_known);
  return result;
}

::testing::AssertionResult same(const Pipeline& pipeline, const Result& got, const Result& oracle,
                                std::uint64_t seed) {
  if (got == oracle) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "LEVADA_SEED=" << seed << " " << describe(pipeline) << "\n" << got.rows.size() << " rows and "
         << got.late.size() << " late ones, expected " << oracle.rows.size() << " and "
         << oracle.late.size();
}

// ---- the tests

void simulate(std::uint64_t count, bool ordered, int crashes) {
  const std::uint64_t first = testing::first_seed();
  count = testing::seed_count(count);
  std::size_t rows = 0, late = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Pipeline pipeline = random_pipeline(seed, ordered);
    const Outputs outputs;
    const testing::SimulationResult simulated = testing::run_simulated(
        {.checkpoint = {.interval = 300us, .directory = "/job"},
         .memory = 64_MiB,
         .batch_rows = pipeline.batch_rows},
        [&](StreamEnvironment& env) { build(pipeline, outputs, env); },
        {.seed = seed, .crashes = crashes, .steps_per_crash = 300, .parallelism = pipeline.parallelism});
    ASSERT_TRUE(simulated.finished)
        << "LEVADA_SEED=" << seed << " " << describe(pipeline) << ": " << simulated.error;
    const Result oracle = expected(pipeline);
    ASSERT_TRUE(same(pipeline, result_of(pipeline, outputs), oracle, seed));
    rows += oracle.rows.size();
    late += oracle.late.size();
  }
  std::printf("%zu rows, %zu late\n", rows, late);
  if (count > 1) {
    EXPECT_GT(rows, 20 * count);
  }
  if (count > 1 && ordered) {
    EXPECT_GT(late, count);
  }
}

TEST(PipelineModel, ParallelOnesAreTheOracles) { simulate(200, false, 0); }
TEST(PipelineModel, ParallelOnesThroughCrashesAndRescales) { simulate(200, false, 2); }
TEST(PipelineModel, OrderedOnesAreTheOraclesLateRowsIncluded) { simulate(200, true, 0); }
TEST(PipelineModel, OrderedOnesThroughCrashes) { simulate(200, true, 2); }

TEST(PipelineModel, ParallelOnesOnRealThreads) {
  const std::uint64_t first = testing::first_seed(), count = testing::seed_count(80);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Pipeline pipeline = random_pipeline(seed, false);
    const Outputs outputs;
    StreamEnvironment env({.parallelism = pipeline.parallelism.front(),
                           .memory = 64_MiB,
                           .batch_rows = pipeline.batch_rows});
    build(pipeline, outputs, env);
    env.execute("model");
    ASSERT_TRUE(same(pipeline, result_of(pipeline, outputs), expected(pipeline), seed));
  }
}

}  // namespace
}  // namespace levada
