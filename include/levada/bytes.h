// Bytes and View: what rows and state are encoded into and decoded from. Integers are little-endian and
// of fixed width, lengths are varints; every reader checks what is left before it reads.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace levada {

/// A growing buffer of bytes; appending reuses its capacity after clear().
using Bytes = std::string;

namespace detail {
/// Throws StateError: the bytes end before the value that should be there.
[[noreturn]] void throw_truncated(std::size_t wanted, std::size_t left);
}  // namespace detail

/// A cursor over borrowed bytes: reads from the front, throws StateError when they end too early.
///
/// Lifetime: borrows; the bytes must outlive it.
class View {
 public:
  View() = default;
  View(std::string_view bytes) : at_(bytes.data()), left_(bytes.size()) {}  // NOLINT: a view of it
  View(const char* data, std::size_t size) : at_(data), left_(size) {}

  const char* data() const noexcept { return at_; }
  std::size_t size() const noexcept { return left_; }
  bool empty() const noexcept { return left_ == 0; }
  std::string_view rest() const noexcept { return {at_, left_}; }

  /// Takes `n` bytes off the front.
  std::string_view take(std::size_t n) {
    if (n > left_) detail::throw_truncated(n, left_);
    std::string_view taken{at_, n};
    at_ += n;
    left_ -= n;
    return taken;
  }

  /// Takes a fixed-width number off the front.
  template <class N>
    requires std::is_arithmetic_v<N> || std::is_enum_v<N>
  N take_number() {
    N value;
    std::memcpy(&value, take(sizeof(N)).data(), sizeof(N));
    return value;
  }

  /// Takes a varint (at most ten bytes) off the front.
  std::uint64_t take_varint();
  /// Takes a length-prefixed string off the front.
  std::string_view take_string() { return take(take_varint()); }

 private:
  const char* at_ = nullptr;
  std::size_t left_ = 0;
};

static_assert(std::endian::native == std::endian::little, "the formats are written in place");

/// Appends a number in its fixed width.
template <class N>
  requires std::is_arithmetic_v<N> || std::is_enum_v<N>
void put_number(Bytes& out, N value) {
  char raw[sizeof(N)];
  std::memcpy(raw, &value, sizeof(N));
  out.append(raw, sizeof(N));
}

/// Appends a varint: seven bits a byte, least significant first.
void put_varint(Bytes& out, std::uint64_t value);
/// Appends a length and the characters.
void put_string(Bytes& out, std::string_view value);

}  // namespace levada
