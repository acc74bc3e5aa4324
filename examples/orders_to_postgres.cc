// orders (Kafka) ─ filter ─ key_by user ─ 10 s windows ─► user_totals (PostgreSQL, upsert)
//                                              └ late ─► late_orders (PostgreSQL, insert)
//
// Totals of each user's orders: how many, their sum, the smallest and the largest, per window of event
// time. Orders that come too late go to a table of their own, with partition and offset. A checkpoint each
// second: kill the program at any time and start it again, and the totals are right.
#include <chrono>
#include <cstdio>
#include <exception>

#include "levada/connectors/kafka.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "job/job_options.h"
#include "job/job_progress.h"

using namespace std::chrono_literals;
using levada::Timestamp;

struct Order {
  std::int64_t user = 0, item = 0, amount = 0;  // amount in cents
  Timestamp ts;
  std::optional<std::int32_t> partition;  // not in the JSON: filled from the record
  std::optional<std::int64_t> offset;
};
LEVADA_RECORD(Order, user, item, amount, ts, partition, offset)

struct UserTotal {
  std::int64_t user = 0;
  Timestamp window_start;
  std::int64_t orders = 0, total = 0, smallest = 0, largest = 0;
};
LEVADA_RECORD(UserTotal, user, window_start, orders, total, smallest, largest)

inline constexpr levada::OutputTag<Order> kLate{"late"};

levada::Job start(const JobOptions& options) {
  levada::StreamEnvironment env(
      {.parallelism = options.parallelism,
       .checkpoint = {.interval = options.interval, .directory = options.checkpoints},
       .batch_rows = options.batch_rows,
       .log = &log_to_stderr});

  auto orders = env.from_source(
      levada::kafka::source<Order>({.brokers = options.brokers,
                                    .topics = {options.topic},
                                    .group_id = options.group,
                                    .with_record = [](Order& order, const levada::kafka::RecordView& record) {
                                      order.partition = record.partition;
                                      order.offset = record.offset;
                                    },
                                    .stop_at = options.stop_at()}),
      levada::event_time(&Order::ts, {.bounded_out_of_orderness = 2s, .idle_after = 30s}))
      .uid("orders");

  auto totals = orders.filter([](const Order& order) { return order.amount > 0; })
      .key_by(&Order::user)
      .window(levada::tumbling(options.window)).allowed_lateness(options.lateness).side_output_late(kLate)
      .aggregate(levada::key().as(&UserTotal::user),
                 levada::window_start().as(&UserTotal::window_start),
                 levada::count().as(&UserTotal::orders),
                 levada::sum(&Order::amount).as(&UserTotal::total),
                 levada::min(&Order::amount).as(&UserTotal::smallest),
                 levada::max(&Order::amount).as(&UserTotal::largest))
      .uid("totals");

  totals.sink_to(levada::postgres::upsert<UserTotal>({.connection = options.postgres,
                                                      .table = options.totals_table,
                                                      .key = {&UserTotal::user, &UserTotal::window_start}}))
      .uid("to totals");
  totals.side_output(kLate)
      .sink_to(levada::postgres::insert<Order>({.connection = options.postgres, .table = options.late_table}))
      .uid("to late orders");
  if (!options.log_table.empty()) {  // every firing, as it came
    totals.sink_to(levada::postgres::insert<UserTotal>({.connection = options.postgres, .table = options.log_table}))
        .uid("to log");
  }
  return env.execute_async(options.name);
}

int main(int argc, char** argv) {
  try {
    const JobOptions options = JobOptions::parse(argc, argv);
    if (options.list_fail_points) return print_fail_points();
    levada::Job job = start(options);
    stop_on_signals(job);
    report_until_end(job, options.progress);
    job.wait();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "orders_to_postgres: %s\n", error.what());
    return 1;
  }
}
