// error: filter: the function is mutable
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.filter([n = 0](const Order&) mutable { return n++ > 0; }); }
#else
void f() { orders.filter([n = 0](const Order&) { return n > 0; }); }
#endif
