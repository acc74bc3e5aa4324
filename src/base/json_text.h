// The pieces of JSON text that everything which writes JSON has in common.
//
// Threads: pure functions.
#pragma once

#include <array>
#include <charconv>

#include "levada/bytes.h"
#include "levada/time.h"

namespace levada {

/// Appends a number with as many digits as it needs. A floating-point one must be finite.
template <class N>
void put_digits(N number, Bytes& out) {
  std::array<char, 32> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  out.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

/// Appends a character of a string, escaped where it must be.
inline void put_json_char(char c, Bytes& out) {
  constexpr char kHex[] = "0123456789abcdef";
  if (c == '"' || c == '\\') {
    out += '\\';
    out += c;
  } else if (static_cast<unsigned char>(c) < 0x20) {
    out += "\\u00";
    out += kHex[static_cast<unsigned char>(c) >> 4];
    out += kHex[c & 15];
  } else {
    out += c;
  }
}

/// Whether ISO-8601 text can say it: the years 0 to 9999.
bool has_four_digit_year(Timestamp time);
/// Appends `YYYY-MM-DDTHH:MM:SS.ffffffZ`. REQUIRES: has_four_digit_year(time).
void put_iso8601(Timestamp time, Bytes& out);

}  // namespace levada
