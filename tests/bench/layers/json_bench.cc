// What a described struct costs over simdjson used by hand, on the order of the main job (57 bytes).
// Compare the two rows of one run; absolute figures are for orientation.
#include <benchmark/benchmark.h>
#include <simdjson.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "levada/formats.h"
#include "levada/serde.h"

namespace bench {
namespace {

struct Order {
  std::int64_t user = 0, item = 0, amount = 0;
  levada::Timestamp ts;
};
LEVADA_RECORD(Order, user, item, amount, ts)

std::vector<std::string> make_orders() {
  std::vector<std::string> orders;
  for (int i = 0; i < 1000; ++i) {
    orders.push_back(R"({"user":)" + std::to_string(1000 + i * 7) + R"(,"item":)" +
                     std::to_string(10 + i % 90) + R"(,"amount":)" + std::to_string(100 + i % 900) +
                     R"(,"ts":)" + std::to_string(1'700'000'000'000 + i) + "}");
  }
  return orders;
}

// As the source does: from borrowed bytes, through a padded buffer.
bool parse_bare(simdjson::ondemand::parser& parser, std::vector<char>& buffer,
                const std::string& bytes, Order& order) {
  std::memcpy(buffer.data(), bytes.data(), bytes.size());
  simdjson::ondemand::document document;
  if (parser.iterate(buffer.data(), bytes.size(), buffer.size()).get(document)) return false;
  simdjson::ondemand::object object;
  if (document.get_object().get(object)) return false;
  std::int64_t millis;
  if (object.find_field("user").get(order.user) || object.find_field("item").get(order.item) ||
      object.find_field("amount").get(order.amount) || object.find_field("ts").get(millis)) {
    return false;
  }
  order.ts = levada::Timestamp{std::chrono::milliseconds{millis}};
  return true;
}

void json_bare_simdjson(benchmark::State& state) {
  const std::vector<std::string> orders = make_orders();
  std::vector<char> buffer(4096);
  simdjson::ondemand::parser parser;
  Order order;
  std::size_t i = 0;
  for (auto _ : state) {
    if (!parse_bare(parser, buffer, orders[i], order)) state.SkipWithError("refused");
    benchmark::DoNotOptimize(order);
    if (++i == orders.size()) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(json_bare_simdjson);

void json_described_struct(benchmark::State& state) {
  const std::vector<std::string> orders = make_orders();
  auto parser = levada::json().make_parser(levada::type_info<Order>());
  Order order;
  std::size_t i = 0;
  for (auto _ : state) {
    if (!parser->parse(orders[i], &order)) state.SkipWithError("refused");
    benchmark::DoNotOptimize(order);
    if (++i == orders.size()) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(json_described_struct);

void json_described_struct_written(benchmark::State& state) {
  auto writer = levada::json().make_writer(levada::type_info<Order>());
  const Order order{1234, 56, 789, levada::Timestamp{std::chrono::milliseconds{1'700'000'000'000}}};
  levada::Bytes out;
  for (auto _ : state) {
    out.clear();
    writer->write(&order, out);
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(json_described_struct_written);

}  // namespace
}  // namespace bench
