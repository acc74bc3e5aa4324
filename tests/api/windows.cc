// orders (Kafka) ─ key_by user ─ 10 s windows ─► user_totals (PostgreSQL);  late orders ─► late_orders (PostgreSQL)
#include "levada/connectors/kafka.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
using namespace std::chrono_literals;
using levada::Timestamp;

struct Order { std::string user, item; double amount = 0; Timestamp ts; };
LEVADA_RECORD(Order, user, item, amount, ts)
struct UserTotal { std::string user; Timestamp window_start; double total = 0; std::int64_t orders = 0; };
LEVADA_RECORD(UserTotal, user, window_start, total, orders)

inline constexpr levada::OutputTag<Order> kLate{"late"};

int main() {
  const std::string pg = "service=shop";
  levada::StreamEnvironment env({.parallelism = 4,
                                 .checkpoint = {.interval = 1s, .directory = "/var/lib/shop/checkpoints"},
                                 .state = levada::memory_state()});

  auto orders = env.from_source(levada::kafka::source<Order>({.brokers = "kafka:9092", .topics = {"orders"}}),
                                levada::event_time(&Order::ts, {.bounded_out_of_orderness = 2s, .idle_after = 30s}))
                    .uid("orders");

  auto totals = orders.filter([](const Order& o) { return o.amount > 0; })
                    .key_by(&Order::user)
                    .window(levada::tumbling(10s)).allowed_lateness(1min).side_output_late(kLate)
                    .aggregate(levada::key().as(&UserTotal::user),
                               levada::window_start().as(&UserTotal::window_start),
                               levada::sum(&Order::amount).as(&UserTotal::total),
                               levada::count().as(&UserTotal::orders))
                    .uid("totals");

  totals.sink_to(levada::postgres::upsert<UserTotal>(
      {.connection = pg, .table = "user_totals", .key = {&UserTotal::user, &UserTotal::window_start}})).uid("to user_totals");
  totals.side_output(kLate).sink_to(levada::postgres::insert<Order>({.connection = pg, .table = "late_orders"})).uid("to late_orders");

  env.execute("orders-per-user");
}
