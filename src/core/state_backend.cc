#include "levada/state_backend.h"

#include <string>

#include "levada/error.h"

namespace levada {

bool StateTable::find_value(std::int64_t, std::uint64_t, View, Bytes&) {
  throw StateError("state '" + std::string(name()) + "' cannot be queried");
}

}  // namespace levada
