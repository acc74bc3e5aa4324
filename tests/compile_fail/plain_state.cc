// error: ValueState<T>: describe T with LEVADA_RECORD
#include "rows.h"

struct Function {
#ifdef MUST_NOT_COMPILE
  levada::ValueState<Undescribed> last{"last"};
#else
  levada::ValueState<Order> last{"last"};
#endif
};
Function function;
