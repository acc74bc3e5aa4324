// error: ValueState, ListState and the like belong to a key; call key_by first
#include "rows.h"

struct Function {
  levada::ValueState<double> total{"total"};
  template <class C>
  void process(const Order& order, C&) {
    total.get() += order.amount;
  }
};
#ifdef MUST_NOT_COMPILE
void f() { orders.process<int>(Function{}); }
#else
void f() { orders.key_by(&Order::user).process<int>(Function{}); }
#endif
