// What the programs of this folder share.
#pragma once

#include "levada/connectors/kafka.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"

using namespace std::chrono_literals;
using levada::Timestamp;

struct Order {
  std::string user, item;
  double amount = 0;
  Timestamp ts;
  std::int64_t ms = 0;
};
LEVADA_RECORD(Order, user, item, amount, ts, ms)
struct Total {
  std::string user;
  std::int64_t n = 0;
  std::int32_t few = 0;
};
LEVADA_RECORD(Total, user, n, few)
struct Undescribed {
  int x;
};

inline levada::DataStream<Order> orders;
