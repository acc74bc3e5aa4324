// error: a key field must be a field of the sink's own row
#include "rows.h"

#ifdef MUST_NOT_COMPILE
auto s = levada::postgres::upsert<Total>({.connection = "x", .table = "t", .key = {&Order::user}});
#else
auto s = levada::postgres::upsert<Total>({.connection = "x", .table = "t", .key = {&Total::user}});
#endif
