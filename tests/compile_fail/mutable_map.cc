// error: map: the function is mutable
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.map([n = 0](const Order& o) mutable { return n++, o; }); }
#else
void f() { orders.map([](const Order& o) { return o; }); }
#endif
