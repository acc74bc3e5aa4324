// error: flat_map: the function is mutable
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.flat_map<Order>([n = 0](const Order&, auto&) mutable { ++n; }); }
#else
void f() { orders.flat_map<Order>([](const Order&, auto&) {}); }
#endif
