// error: BroadcastState: only process_broadcast() may write it
#include "rows.h"

struct Function {
  levada::BroadcastState<std::string, std::int64_t> limits{"limits"};
#ifdef MUST_NOT_COMPILE
  void process(const Order& order, levada::KeyedContext<std::string, int>& ctx) { limits.put(order.user, 1, ctx); }
#else
  void process(const Order& order, levada::KeyedContext<std::string, int>&) { limits.find(order.user); }
#endif
  void process_broadcast(const Total& total, levada::BroadcastContext<int>& ctx) { limits.put(total.user, total.n, ctx); }
};
void f(levada::DataStream<Total> totals) {
  orders.key_by(&Order::user).connect(totals.broadcast()).process<int>(Function{});
}
