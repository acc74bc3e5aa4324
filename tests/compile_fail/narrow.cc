// error: aggregate: a result does not fit into the field named by .as(...)
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.key_by(&Order::user).aggregate(levada::count().as(&Total::few)); }
#else
void f() { orders.key_by(&Order::user).aggregate(levada::count().as(&Total::n)); }
#endif
