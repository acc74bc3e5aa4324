// The chain: what its loop costs beside the operators' own work. A row is one item.
#include <benchmark/benchmark.h>

#include "layers/operators.h"
#include "runtime/chain.h"

namespace bench {
namespace {

using levada::Chain;
using levada::ChainStage;
using levada::Output;

struct NoListener final : levada::ChainListener {
  void barrier_passed(const levada::Barrier&) override {}
  void end_passed() override {}
};

// `maps` maps and a sink.
class MapChain {
 public:
  explicit MapChain(std::int64_t maps) {
    levada::StreamEnvironment env;
    levada::DataStream<Row> stream = stream_of<Row>(env);
    for (std::int64_t i = 0; i < maps; ++i) {
      stream = stream.map([](Row row) {
        row.value = row.value * 3 + 7;
        return row;
      });
    }
    stream.for_each([this](const Row& row) { sum_ += row.value; });
    std::vector<std::unique_ptr<ChainStage>> stages;
    for (std::int64_t i = maps; i >= 0; --i) {
      const levada::BatchType* type = i == 0 ? nullptr : &levada::batch_type<Row>();
      stages.push_back(std::make_unique<ChainStage>(operator_of(env, static_cast<std::size_t>(i)), nullptr,
                                                    Output(type, kBatchRows), "stage"));
      ChainStage& stage = *stages.back();
      stage.context = surroundings_.context(stage.counters);
      stage.op->open(stage.context);
    }
    chain_ = std::make_unique<Chain>(std::move(stages), std::vector<std::unique_ptr<levada::OutputEdge>>{},
                                     1, listener_);
  }
  ~MapChain() {
    for (const auto& stage : chain_->stages()) stage->op->close();
  }

  void run_batch(std::size_t rows) {
    BatchPtr batch = source_.take_empty();
    batch->set_size(rows);
    chain_->push_batch(0, std::move(batch), nullptr, &source_);
    while (chain_->drive() == Chain::Result::kProgress) {
    }
  }
  std::uint64_t sum() const { return sum_; }

 private:
  Surroundings surroundings_;
  NoListener listener_;
  Output source_{&levada::batch_type<Row>(), kBatchRows};
  std::uint64_t sum_ = 0;
  std::unique_ptr<Chain> chain_;
};

void chain_maps(benchmark::State& state) {
  MapChain chain(state.range(0));
  const auto rows = static_cast<std::size_t>(state.range(1));
  for (auto _ : state) chain.run_batch(rows);
  benchmark::DoNotOptimize(chain.sum());
  if (state.range(0) > 0 && chain.sum() == 0) state.SkipWithError("no row came to the sink");
  state.SetItemsProcessed(state.iterations() * state.range(1));
}
BENCHMARK(chain_maps)
    ->ArgNames({"maps", "batch"})
    ->Args({0, 1024})
    ->Args({1, 1024})
    ->Args({8, 1024})
    ->Args({8, 64})
    ->Args({8, 1});

}  // namespace
}  // namespace bench
