// error: key_by: a floating-point key has no exact equality
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f() { orders.key_by(&Order::amount); }
#else
void f() { orders.key_by(&Order::user); }
#endif
