// error: sum: the column is not a number
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.key_by(&Order::user).window(levada::tumbling(1s)).aggregate(levada::sum(&Order::item)); }
#else
void f() { orders.key_by(&Order::user).window(levada::tumbling(1s)).aggregate(levada::sum(&Order::ms)); }
#endif
