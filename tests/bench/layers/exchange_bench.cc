// Exchange: a hop through a channel, and the scattering end of an edge.
#include <benchmark/benchmark.h>

#include <memory>
#include <stdexcept>
#include <thread>

#include "exchange/channel.h"
#include "exchange/output_edge.h"
#include "layers/rows.h"
#include "levada/detail/key.h"

namespace bench {
namespace {

using levada::Channel;
using levada::Element;
using levada::ExchangeKind;
using levada::MemoryShare;
using levada::OutputEdge;
using levada::PlanEdge;

// A batch there and back on one thread: what the rings themselves cost.
void channel_hop(benchmark::State& state) {
  MemoryShare share("channels", std::size_t{64} << 20);
  Channel channel(levada::batch_type<Row>(), kBatchRows, share);
  for (auto _ : state) {
    BatchPtr batch = channel.take_empty();
    batch->set_size(kBatchRows);
    Element element{.kind = Element::Kind::kBatch};
    element.batch = std::move(batch);
    channel.push(std::move(element));
    BatchPtr taken = std::move(channel.front()->batch);
    channel.pop();
    channel.give_back(std::move(taken));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatchRows));
}
BENCHMARK(channel_hop);

// The same with another thread that reads each row; both ask again and again.
void channel_hop_threads(benchmark::State& state) {
  MemoryShare share("channels", std::size_t{64} << 20);
  Channel channel(levada::batch_type<Row>(), kBatchRows, share);
  std::uint64_t sum = 0;
  std::thread consumer([&] {
    for (;;) {
      Element* element = channel.front();
      if (element == nullptr) {
        std::this_thread::yield();
        continue;
      }
      const bool end = element->kind == Element::Kind::kEnd;
      BatchPtr batch = std::move(element->batch);
      channel.pop();
      if (end) return;
      for (std::size_t i = 0; i < batch->size(); ++i) sum += batch->rows<Row>()[i].value;
      channel.give_back(std::move(batch));
    }
  });
  for (auto _ : state) {
    BatchPtr batch;
    while (!channel.has_room() || !(batch = channel.take_empty())) std::this_thread::yield();
    Row* rows = batch->rows<Row>();
    for (std::size_t i = 0; i < kBatchRows; ++i) rows[i].value = i;
    batch->set_size(kBatchRows);
    Element element{.kind = Element::Kind::kBatch};
    element.batch = std::move(batch);
    channel.push(std::move(element));
  }
  while (!channel.has_control_room()) std::this_thread::yield();
  channel.push(Element{.kind = Element::Kind::kEnd});
  consumer.join();
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatchRows));
}
BENCHMARK(channel_hop_threads)->UseRealTime()->MeasureProcessCPUTime();

void drain(Channel& channel) {
  while (Element* element = channel.front()) {
    BatchPtr batch = std::move(element->batch);
    channel.pop();
    if (batch) channel.give_back(std::move(batch));
  }
}

// Rows through an edge to `targets` channels, which are emptied at once. The rows' values are moved on and
// replaced by old ones, which does not matter to the edge: the hashes stay.
void edge(benchmark::State& state, ExchangeKind kind) {
  MemoryShare share("channels", std::size_t{64} << 20);
  const auto targets = static_cast<std::size_t>(state.range(0));
  PlanEdge plan;
  plan.type = &levada::batch_type<Row>();
  plan.exchange = {kind, levada::detail::make_key_selector<Row>(&Row::key)};
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<OutputEdge::End> ends;
  for (std::size_t i = 0; i < targets; ++i) {
    channels.push_back(std::make_unique<Channel>(*plan.type, kBatchRows, share));
    ends.push_back({.channel = channels.back().get()});
  }
  OutputEdge out(plan, kKeyGroups, ends, 0);
  BatchPtr batch = make_batch<Row>(0, 1'000'000);
  for (auto _ : state) {
    batch->set_size(kBatchRows);
    batch->set_has_hashes(false);
    for (std::size_t row = 0; !out.write(batch, row);) {
      for (const auto& channel : channels) drain(*channel);
    }
    for (const auto& channel : channels) drain(*channel);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatchRows));
}
BENCHMARK_CAPTURE(edge, hash, ExchangeKind::kHash)->Arg(2)->Arg(8);
BENCHMARK_CAPTURE(edge, rebalance, ExchangeKind::kRebalance)->Arg(2);
BENCHMARK_CAPTURE(edge, broadcast, ExchangeKind::kBroadcast)->Arg(2);

}  // namespace
}  // namespace bench
