// error: Sink<Total>
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.sink_to(levada::postgres::insert<Total>({.connection = "x", .table = "t"})); }
#else
void f() { orders.sink_to(levada::postgres::insert<Order>({.connection = "x", .table = "t"})); }
#endif
