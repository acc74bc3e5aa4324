// Snapshots of a table: the scan that the background does, and what a batch costs meanwhile.
#include <benchmark/benchmark.h>

#include "layers/table.h"

namespace bench {
namespace {

// Gives the memory of blocks back, as a task's does.
class CountingSink final : public levada::BlockSink {
 public:
  void block(levada::StateBlock&& block) override {
    entries += block.entries;
    bytes += block.bytes.size();
    if (block.bytes.capacity() < kSpareBytes || spares_.size() == kSparesMax) return;
    spares_.push_back(std::move(block.bytes));
  }
  void captured(levada::CapturedRows&& rows) override {
    if (spares_.size() < kSparesMax) spares_.push_back(std::move(rows.bytes));
  }
  levada::Bytes spare() override {
    if (spares_.empty()) return {};
    levada::Bytes spare = std::move(spares_.back());
    spares_.pop_back();
    return spare;
  }
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;

 private:
  static constexpr std::size_t kSpareBytes = 16 * 1024;
  static constexpr std::size_t kSparesMax = 256;
  std::vector<levada::Bytes> spares_;
};

constexpr std::size_t kScanEntries = 4096;

// An entry is one item: found, encoded, handed out.
template <class K>
void state_snapshot(benchmark::State& state) {
  KeyTable<K> table(static_cast<std::uint64_t>(state.range(0)));
  table.fill();
  CountingSink sink;
  levada::CheckpointId checkpoint = 0;
  for (auto _ : state) {
    table.table().begin_snapshot(++checkpoint, sink);
    while (!table.table().scan(kScanEntries)) {
    }
    table.table().end_snapshot();
  }
  if (sink.entries != static_cast<std::uint64_t>(state.iterations() * state.range(0))) {
    state.SkipWithError("entries are missing");
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(sink.entries));
  state.SetBytesProcessed(static_cast<std::int64_t>(sink.bytes));
}
BENCHMARK(state_snapshot<std::uint64_t>)->Arg(1'000)->Arg(1'000'000)->Arg(10'000'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(state_snapshot<std::string>)->Arg(1'000'000)->Unit(benchmark::kMicrosecond);

// Batches after a barrier: nearly all of their rows save their entry's old value first. A row is one item. With 0, the
// same without a barrier.
template <class K>
void state_capture(benchmark::State& state) {
  constexpr std::size_t kBatches = 256;
  KeyTable<K> table(static_cast<std::uint64_t>(state.range(0)));
  table.fill();
  CountingSink sink;
  levada::CheckpointId checkpoint = 0;
  std::size_t first = 0;
  for (auto _ : state) {
    if (state.range(1) != 0) table.table().begin_snapshot(++checkpoint, sink);
    for (std::size_t i = 0; i < kBatches; ++i) {
      table.add_rows(first, kBatchRows);
      first = (first + kBatchRows) % table.draws();
    }
    state.PauseTiming();
    while (!table.table().scan(kScanEntries)) {
    }
    table.table().end_snapshot();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatches * kBatchRows));
}
BENCHMARK(state_capture<std::uint64_t>)
    ->Args({10'000'000, 0})
    ->Args({10'000'000, 1})
    ->Iterations(20)
    ->Unit(benchmark::kMillisecond);

// What a restore does with the blocks of a snapshot. An entry is one item.
template <class K>
void state_restore(benchmark::State& state) {
  KeyTable<K> table(static_cast<std::uint64_t>(state.range(0)));
  table.fill();
  struct Keep final : levada::BlockSink {
    void block(levada::StateBlock&& block) override { blocks.push_back(std::move(block)); }
    std::vector<levada::StateBlock> blocks;
  } kept;
  table.table().begin_snapshot(1, kept);
  while (!table.table().scan(kScanEntries)) {
  }
  table.table().end_snapshot();
  for (auto _ : state) {
    levada::MemoryShare share("state", std::size_t{4} << 30);
    typename KeyTable<K>::Table into("sums", "bench", {0, kKeyGroups}, kKeyGroups, share);
    for (const levada::StateBlock& block : kept.blocks) {
      into.restore({block.name_space, block.key_group, block.entries, levada::View(block.bytes)});
    }
    benchmark::DoNotOptimize(into.entries());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(state_restore<std::uint64_t>)->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(state_restore<std::string>)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace bench
