// The typed table: the way of rows, single look-ups, and the scan of a firing. A row is one item.
#include <benchmark/benchmark.h>

#include "layers/table.h"

namespace bench {
namespace {

template <class K>
void table_visit(benchmark::State& state) {
  KeyTable<K> table(static_cast<std::uint64_t>(state.range(0)));
  table.fill();
  std::size_t first = 0;
  for (auto _ : state) {
    table.add_rows(first, kBatchRows);
    first = (first + kBatchRows) % table.draws();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatchRows));
}
BENCHMARK(table_visit<std::uint64_t>)->Arg(1'000)->Arg(1'000'000);
BENCHMARK(table_visit<std::string>)->Arg(1'000)->Arg(1'000'000);

template <class K>
void table_at(benchmark::State& state) {
  KeyTable<K> table(static_cast<std::uint64_t>(state.range(0)));
  table.fill();
  std::size_t i = 0;
  for (auto _ : state) {
    ++table.entry_of(i).value.count;
    i = (i + 1) % table.draws();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(table_at<std::uint64_t>)->Arg(1'000)->Arg(1'000'000);
BENCHMARK(table_at<std::string>)->Arg(1'000)->Arg(1'000'000);

// A new key each: the table grows from nothing.
template <class K>
void table_grow(benchmark::State& state) {
  for (auto _ : state) {
    KeyTable<K> table(static_cast<std::uint64_t>(state.range(0)));
    table.fill();
    benchmark::DoNotOptimize(table.table().entries());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(table_grow<std::uint64_t>)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

template <class K>
void table_scan(benchmark::State& state) {
  KeyTable<K> table(static_cast<std::uint64_t>(state.range(0)));
  table.fill();
  std::int64_t total = 0;
  for (auto _ : state) {
    auto& space = table.space();
    for (auto& group : space.groups) {
      table.table().each_live(space, group, [&](auto& entry) { total += entry.value.count; });
    }
    benchmark::DoNotOptimize(total);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(table_scan<std::uint64_t>)->Arg(1'000)->Arg(1'000'000);
BENCHMARK(table_scan<std::string>)->Arg(1'000)->Arg(1'000'000);

}  // namespace
}  // namespace bench
