#include "levada/bytes.h"

#include "levada/error.h"

namespace levada {

void detail::throw_truncated(std::size_t wanted, std::size_t left) {
  throw StateError("the bytes end early: " + std::to_string(wanted) + " wanted, " +
                   std::to_string(left) + " left");
}

std::uint64_t View::take_varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const auto byte = take_number<std::uint8_t>();
    // The tenth byte has room for one bit only.
    if (shift == 63 && byte > 1) break;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  throw StateError("a varint has more than 64 bits");
}

void put_varint(Bytes& out, std::uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

void put_string(Bytes& out, std::string_view value) {
  put_varint(out, value.size());
  out.append(value);
}

}  // namespace levada
