// error: OutputTag<Total>
#include "rows.h"

#ifdef MUST_NOT_COMPILE
inline constexpr levada::OutputTag<Total> kTag{"late"};
void f() { orders.key_by(&Order::user).window(levada::tumbling(1s)).side_output_late(kTag); }
#else
inline constexpr levada::OutputTag<Order> kTag{"late"};
void f() { orders.key_by(&Order::user).window(levada::tumbling(1s)).side_output_late(kTag); }
#endif
