// error: window: this stream has no key
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.window(levada::tumbling(10s)); }
#else
void f() { orders.key_by(&Order::user).window(levada::tumbling(10s)); }
#endif
