// What functions under test are told to do with the state of a key, and what they say.
#pragma once

#include <cstdint>
#include <string>

#include "levada/type_info.h"

namespace levada::testing {

/// `verb` and its operands.
struct Order {
  std::string key, verb;
  std::int64_t a = 0, b = 0;
};
LEVADA_RECORD(Order, key, verb, a, b)

struct Said {
  std::string key, text;
  auto operator<=>(const Said&) const = default;
};
LEVADA_RECORD(Said, key, text)

}  // namespace levada::testing
