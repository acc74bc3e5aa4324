// error: connect: the two streams have keys of different types
#include "rows.h"

struct Function {
  void process_left(const Order&, levada::KeyedContext<std::string, int>&) {}
  void process_right(const Total&, levada::KeyedContext<std::string, int>&) {}
};
#ifdef MUST_NOT_COMPILE
void f(levada::DataStream<Total> totals) { orders.key_by(&Order::user).connect(totals.key_by(&Total::n)); }
#else
void f(levada::DataStream<Total> totals) {
  orders.key_by(&Order::user).connect(totals.key_by(&Total::user)).process<int>(Function{});
}
#endif
