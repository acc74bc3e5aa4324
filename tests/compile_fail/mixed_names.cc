// error: aggregate: name every column with .as(&Row::field), or none
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.key_by(&Order::user).aggregate(levada::key().as(&Total::user), levada::count()); }
#else
void f() { orders.key_by(&Order::user).aggregate(levada::key(), levada::count()); }
#endif
