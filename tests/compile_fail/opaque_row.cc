// error: describe the row type with LEVADA_RECORD
#include "rows.h"

#ifdef MUST_NOT_COMPILE
void f(levada::StreamEnvironment& env) { env.from_values<Undescribed>({{1}}).discard(); }
#else
void f(levada::StreamEnvironment& env) { env.from_values<Total>({{"a", 1, 2}}).discard(); }
#endif
