// Keyed operators by themselves: batches in, time on, results thrown away. A row is one item.
#include <benchmark/benchmark.h>

#include "layers/operators.h"

namespace bench {
namespace {

using levada::Output;

struct Total {
  std::uint64_t key = 0;
  std::int64_t total = 0;
  std::int64_t count = 0;
};
LEVADA_RECORD(Total, key, total, count)

auto total() {
  return levada::sum([](const Row& row) { return static_cast<std::int64_t>(row.value); }).as(&Total::total);
}
auto greatest() {
  return levada::max([](const Row& row) { return static_cast<std::int64_t>(row.value); }).as(&Total::total);
}

// Drives an operator with batches whose times go on for ever.
class Driver {
 public:
  Driver(std::unique_ptr<levada::Operator> op, std::uint64_t keys)
      : op_(std::move(op)),
        context_(surroundings_.context(counters_)),
        batches_(make_batches<Row>(1024, keys)) {
    op_->open(context_);
  }
  ~Driver() { op_->close(); }

  // One batch, of which a row comes each `step`, and the watermark behind it.
  void run_batch(Duration step) {
    BatchPtr& batch = batches_[next_];
    next_ = (next_ + 1) % batches_.size();
    for (std::size_t i = 0; i < kBatchRows; ++i, time_ += step) batch->times()[i] = time_;
    for (std::size_t row = 0; row < kBatchRows;) {
      row = op_->process(0, batch, row, out_);
      empty();
    }
    while (!op_->advance({.watermark = time_ - Duration{1}}, out_)) empty();
    empty();
  }
  std::uint64_t results() const { return results_; }

 private:
  void empty() {
    while (BatchPtr batch = out_.take()) {
      results_ += batch->size();
      batch->clear();
      out_.recycle(std::move(batch));
    }
  }

  Surroundings surroundings_;
  levada::OperatorCounters counters_;
  std::unique_ptr<levada::Operator> op_;
  levada::OperatorContext context_;
  std::vector<BatchPtr> batches_;
  Output out_{&levada::batch_type<Total>(), kBatchRows};
  std::size_t next_ = 0;
  Timestamp time_{};
  std::uint64_t results_ = 0;
};

// A microsecond from row to row: a million rows to a second of event time.
void run(benchmark::State& state, const levada::StreamEnvironment& env) {
  Driver driver(operator_of(env), static_cast<std::uint64_t>(state.range(0)));
  for (int warm_up = 0; warm_up < 4 * 1024; ++warm_up) driver.run_batch(Duration{1});
  for (auto _ : state) driver.run_batch(Duration{1});
  if (driver.results() == 0) state.SkipWithError("nothing was emitted");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatchRows));
}

void window_rolling(benchmark::State& state) {
  levada::StreamEnvironment env;
  stream_of<Row>(env).key_by(&Row::key).aggregate(levada::key().as(&Total::key), total(),
                                                  levada::count().as(&Total::count));
  run(state, env);
}
BENCHMARK(window_rolling)->Arg(1'000)->Arg(1'000'000);

template <class Fold>
void window(benchmark::State& state, levada::WindowAssigner assigner, Fold fold) {
  levada::StreamEnvironment env;
  stream_of<Row>(env)
      .key_by(&Row::key)
      .window(assigner)
      .aggregate(levada::key().as(&Total::key), fold, levada::count().as(&Total::count));
  run(state, env);
}

void window_tumbling(benchmark::State& state) {
  window(state, levada::tumbling(std::chrono::seconds{1}), total());
}
BENCHMARK(window_tumbling)->Arg(1'000)->Arg(1'000'000);

const levada::WindowAssigner kSliding =
    levada::sliding({.size = std::chrono::seconds{10}, .slide = std::chrono::seconds{1}});

void window_sliding(benchmark::State& state) { window(state, kSliding, total()); }
BENCHMARK(window_sliding)->Arg(1'000)->Arg(1'000'000);

void window_sliding_max(benchmark::State& state) { window(state, kSliding, greatest()); }
BENCHMARK(window_sliding_max)->Arg(1'000)->Arg(1'000'000);

}  // namespace
}  // namespace bench
