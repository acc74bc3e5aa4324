// error: map: the function returns nothing
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.map([](const Order&) {}); }
#else
void f() { orders.map([](const Order& o) { return o; }); }
#endif
