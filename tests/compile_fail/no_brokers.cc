// error: use of deleted function or no matching function for call to 'source'
#include "rows.h"

#ifdef MUST_NOT_COMPILE
auto s = levada::kafka::source<Order>({.topics = {"orders"}});
#else
auto s = levada::kafka::source<Order>({.brokers = "b", .topics = {"orders"}});
#endif
