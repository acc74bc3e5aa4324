// error: does not list every field of X
#include "rows.h"

#ifdef MUST_NOT_COMPILE
struct X { int a; std::string b; };
LEVADA_RECORD(X, a)
#else
struct X { int a; std::string b; };
LEVADA_RECORD(X, a, b)
#endif
