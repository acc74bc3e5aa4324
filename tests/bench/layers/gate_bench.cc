// The gate: taking batches and times of several channels, and aligning a barrier.
#include <benchmark/benchmark.h>

#include <memory>

#include "exchange/channel.h"
#include "exchange/input_gate.h"
#include "layers/rows.h"

namespace bench {
namespace {

using levada::Channel;
using levada::Element;
using levada::GateEvent;
using levada::InputGate;
using levada::MemoryShare;

class Gate {
 public:
  explicit Gate(std::int64_t channels) {
    std::vector<InputGate::Port> ports;
    for (std::int64_t i = 0; i < channels; ++i) {
      channels_.push_back(std::make_unique<Channel>(levada::batch_type<Row>(), kBatchRows, share_));
      ports.push_back({channels_.back().get(), 0});
    }
    gate_ = std::make_unique<InputGate>(std::move(ports));
  }

  void push_batches(std::int64_t time) {
    for (const auto& channel : channels_) {
      Element element{.kind = Element::Kind::kBatch, .has_time = true};
      element.batch = channel->take_empty();
      element.batch->set_size(kBatchRows);
      element.time.watermark = Timestamp{Duration{time}};
      channel->push(std::move(element));
    }
  }
  void push_barriers(levada::CheckpointId checkpoint) {
    for (const auto& channel : channels_) {
      channel->push(Element{.kind = Element::Kind::kBarrier, .barrier = {.checkpoint = checkpoint}});
    }
  }
  // Returns how many events there were.
  std::size_t drain() {
    for (std::size_t events = 0;; ++events) {
      GateEvent event = gate_->poll();
      if (event.kind == GateEvent::Kind::kNothing) return events;
      if (event.batch) event.channel->give_back(std::move(event.batch));
    }
  }

 private:
  MemoryShare share_{"channels", std::size_t{64} << 20};
  std::vector<std::unique_ptr<Channel>> channels_;
  std::unique_ptr<InputGate> gate_;
};

// A batch with a watermark of each channel.
void gate_batches(benchmark::State& state) {
  Gate gate(state.range(0));
  std::int64_t time = 0;
  for (auto _ : state) {
    gate.push_batches(++time);
    benchmark::DoNotOptimize(gate.drain());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(gate_batches)->Arg(1)->Arg(2)->Arg(16);

// A barrier of each channel; one event comes of them.
void gate_barriers(benchmark::State& state) {
  Gate gate(state.range(0));
  levada::CheckpointId checkpoint = 0;
  for (auto _ : state) {
    gate.push_barriers(++checkpoint);
    if (gate.drain() != 1) state.SkipWithError("the barriers were not aligned");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(gate_barriers)->Arg(1)->Arg(2)->Arg(16);

}  // namespace
}  // namespace bench
