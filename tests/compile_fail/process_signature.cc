// error: process<Out>: the function needs void process(const Row&, KeyedContext<Key, Out>&)
#include "rows.h"

struct Function {
#ifdef MUST_NOT_COMPILE
  void process(const Total&, levada::KeyedContext<std::string, int>&) {}
#else
  void process(const Order&, levada::KeyedContext<std::string, int>&) {}
#endif
};
void f() { orders.key_by(&Order::user).process<int>(Function{}); }
