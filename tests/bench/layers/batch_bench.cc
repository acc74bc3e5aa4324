// Batches: what is done to rows by their type alone.
#include <benchmark/benchmark.h>

#include "layers/rows.h"

namespace bench {
namespace {

template <class R>
void batch_copy(benchmark::State& state) {
  const BatchPtr from = make_batch<R>(0, 1'000);
  const BatchPtr to = Batch::make(levada::batch_type<R>(), kBatchRows);
  for (auto _ : state) {
    levada::batch_type<R>().copy(from->data(), to->data(), kBatchRows);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatchRows));
}
BENCHMARK(batch_copy<Row>);
BENCHMARK(batch_copy<TextRow>);

// Every second row at random; they come back for the next round.
template <class R, bool kFar>
void batch_take(benchmark::State& state) {
  const BatchPtr from = make_batch<R>(0, 1'000);
  const BatchPtr to = Batch::make(from->type(), kBatchRows);
  std::vector<std::uint16_t> which;
  for (std::size_t i = 0; i < kBatchRows; ++i) {
    if ((mix(i) & 1) != 0) which.push_back(static_cast<std::uint16_t>(i));
  }
  for (auto _ : state) {
    to->clear();
    to->take(*from, which, kFar);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(which.size()));
}
BENCHMARK(batch_take<Row, false>);
BENCHMARK(batch_take<Row, true>);
BENCHMARK(batch_take<TextRow, false>);

template <class R>
void batch_encode(benchmark::State& state) {
  const BatchPtr batch = make_batch<R>(0, 1'000);
  levada::Bytes bytes;
  for (auto _ : state) {
    bytes.clear();
    batch->type().encode(batch->data(), kBatchRows, bytes);
    benchmark::DoNotOptimize(bytes.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatchRows));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(batch_encode<Row>);
BENCHMARK(batch_encode<TextRow>);

template <class R>
void batch_decode(benchmark::State& state) {
  const BatchPtr batch = make_batch<R>(0, 1'000);
  levada::Bytes bytes;
  batch->type().encode(batch->data(), kBatchRows, bytes);
  for (auto _ : state) {
    levada::View in(bytes);
    batch->type().decode(in, batch->data(), kBatchRows);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatchRows));
}
BENCHMARK(batch_decode<Row>);
BENCHMARK(batch_decode<TextRow>);

}  // namespace
}  // namespace bench
