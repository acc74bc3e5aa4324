// The command line of orders_to_postgres.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "levada/connectors/kafka.h"
#include "levada/time.h"

struct JobOptions {
  std::string brokers;
  std::string topic;
  std::string name = "orders-to-postgres";  // of the job, in checkpoints and markers
  std::string group = "orders-to-postgres";
  std::string postgres;
  std::string checkpoints;
  std::string totals_table = "user_totals";
  std::string late_table = "late_orders";
  std::string log_table;  // empty: none
  int parallelism = 2;
  int batch_rows = 1024;
  levada::Duration window = std::chrono::seconds(10);
  levada::Duration lateness = std::chrono::seconds(5);
  levada::Duration interval = std::chrono::seconds(1);
  levada::Duration progress = std::chrono::seconds(1);  // from one line of progress to the next
  std::optional<std::int64_t> end_offset;  // of every partition; none: without end
  bool list_fail_points = false;

  /// Throws std::invalid_argument naming the option that is unknown, missing or malformed.
  static JobOptions parse(int argc, char** argv);

  /// Where every partition ends, as the source wants it.
  std::optional<levada::kafka::Position> stop_at() const;
};
