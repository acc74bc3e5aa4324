// error: on_timer needs void on_timer(Timestamp, KeyedContext<Key, Out>&)
#include "rows.h"

struct Function {
  void process(const Order&, levada::KeyedContext<std::string, int>&) {}
#ifdef MUST_NOT_COMPILE
  void on_timer(Timestamp, levada::Context<int>&, int) {}
#else
  void on_timer(Timestamp, levada::Context<int>&) {}
#endif
};
void f() { orders.key_by(&Order::user).process<int>(Function{}); }
