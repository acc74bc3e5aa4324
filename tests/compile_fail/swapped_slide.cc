// error: designator or order
#include "rows.h"

#ifdef MUST_NOT_COMPILE
auto w = levada::sliding({.slide = 1s, .size = 10s});
#else
auto w = levada::sliding({.size = 10s, .slide = 1s});
#endif
