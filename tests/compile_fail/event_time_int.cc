// error: event_time: the field must be a levada::Timestamp
#include "rows.h"

#ifdef MUST_NOT_COMPILE
auto w = levada::event_time(&Order::ms);
#else
auto w = levada::event_time(&Order::ts);
#endif
