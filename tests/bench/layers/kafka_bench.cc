// The Kafka source's reader on librdkafka's mock cluster: JSON records of 57 bytes, parsed. The broker runs
// in this process, so the CPU time of the process holds its part too; a record is one item.
#include <benchmark/benchmark.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "levada/connectors/kafka.h"
#include "levada/levada.h"
#include "unit/connectors_kafka/mock_kafka.h"

namespace bench {
namespace {

struct Order {
  std::int64_t user = 0;
  std::int64_t item = 0;
  std::int64_t amount = 0;
  levada::Timestamp ts;
};
LEVADA_RECORD(Order, user, item, amount, ts)

constexpr std::int64_t kRecords = 40'000;  // the mock keeps no more than 5 MB of a partition
constexpr std::int32_t kPartitions = 2;

void produce(levada::testing::MockKafka& kafka) {
  kafka.create_topic("orders", kPartitions);
  std::vector<levada::testing::Produced> records;
  for (std::int64_t i = 0; i < kRecords; ++i) {
    records.push_back({.topic = "orders",
                       .partition = static_cast<std::int32_t>(i % kPartitions),
                       .value = R"({"user":)" + std::to_string(1000 + i % 9000) + R"(,"item":)" +
                                std::to_string(10 + i % 90) + R"(,"amount":)" +
                                std::to_string(100 + i % 900) + R"(,"ts":)" +
                                std::to_string(1'700'000'000'000 + i) + "}"});
  }
  kafka.produce(records);
}

// Reads all splits to their present end.
std::int64_t read_all(const std::string& brokers) {
  levada::MemoryBudget memory(std::size_t{256} << 20);
  levada::OperatorCounters counters;
  levada::OperatorContext context;
  std::atomic<bool> woken{false};
  context.node = "orders";
  context.clock = &levada::system_clock();
  context.memory = &memory;
  context.counters = &counters;
  context.log = [](levada::LogLevel, std::string_view) {};
  context.wake = [&] {
    woken = true;
    woken.notify_all();
  };
  const auto source = levada::kafka::source<Order>({.brokers = brokers, .topics = {"orders"}});
  auto splits = source.factory->discover({}, *context.clock, context.log);
  const std::unique_ptr<levada::SourceReader> reader = source.factory->make_reader();
  reader->open(context, std::move(splits));
  const levada::BatchPtr batch = levada::Batch::make(levada::batch_type<Order>(), context.batch_rows);
  std::vector<levada::SplitRun> runs;
  std::int64_t rows = 0;
  while (rows < kRecords) {
    batch->clear();
    runs.clear();
    woken = false;
    const levada::PollResult result = reader->poll(*batch, runs);
    rows += static_cast<std::int64_t>(batch->size());
    if (result == levada::PollResult::kLater && batch->empty()) woken.wait(false);
  }
  reader->close();
  return rows;
}

void kafka_read(benchmark::State& state) {
  levada::testing::MockKafka kafka;
  produce(kafka);
  std::int64_t rows = 0;
  for (auto _ : state) rows += read_all(kafka.brokers());
  if (rows != state.iterations() * kRecords) state.SkipWithError("records are missing");
  state.SetItemsProcessed(rows);
}
BENCHMARK(kafka_read)->Unit(benchmark::kMillisecond)->UseRealTime()->MeasureProcessCPUTime();

}  // namespace
}  // namespace bench
