// Integers of JSON, eight digits at a time: most numbers of records are short, and one step a digit waits for the
// digit before.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace levada::formats {

inline constexpr std::size_t kIntegerReadsBytes = 16;  // from its first digit

namespace detail {

inline constexpr std::uint64_t kEveryByte = 0x0101010101010101;

/// Eight bytes as they lie in memory, the first one lowest.
inline std::uint64_t load_bytes(const char* at) {
  std::uint64_t bytes;
  std::memcpy(&bytes, at, sizeof bytes);
  return bytes;
}

/// How many of the bytes are digits before one that is none.
inline unsigned count_digits(std::uint64_t bytes) {
  // What a sum or difference carries goes to later bytes only.
  const std::uint64_t others = ((bytes + 0x46 * kEveryByte) | (bytes - 0x30 * kEveryByte)) & 0x80 * kEveryByte;
  return others == 0 ? 8 : static_cast<unsigned>(std::countr_zero(others)) / 8;
}

/// The number of the first `count` digits, 1 to 8.
inline std::uint64_t number_of_digits(std::uint64_t bytes, unsigned count) {
  std::uint64_t digits = (bytes & 0x0f * kEveryByte) << (64 - 8 * count);  // zeros in front
  digits = digits * 10 + (digits >> 8);                                    // pairs, in every other byte
  const std::uint64_t mask = 0x000000ff000000ff;
  return ((digits & mask) * 0x000f424000000064 + ((digits >> 16) & mask) * 0x0000271000000001) >> 32;
}

}  // namespace detail

struct ShortInteger {
  std::int64_t value = 0;
  unsigned digits = 0;  ///< 0: there is none
};

/// The number that starts at `at`, if it is an integer of at most 15 digits without a sign. What follows the digits is
/// for the caller to look at. Reads kIntegerReadsBytes.
inline ShortInteger parse_short_integer(const char* at) {
  static_assert(std::endian::native == std::endian::little);
  static constexpr std::uint64_t kPowers[] = {1, 10, 100, 1'000, 10'000, 100'000, 1'000'000, 10'000'000};
  const std::uint64_t head = detail::load_bytes(at);
  unsigned count = detail::count_digits(head);
  if (count == 0) return {};
  std::uint64_t number = detail::number_of_digits(head, count);
  if (count == 8) {
    const std::uint64_t tail = detail::load_bytes(at + 8);
    const unsigned more = detail::count_digits(tail);
    if (more == 8) return {};
    if (more > 0) number = number * kPowers[more] + detail::number_of_digits(tail, more);
    count += more;
  }
  if (*at == '0' && count > 1) return {};
  return {static_cast<std::int64_t>(number), count};
}

/// Whether a number may end before this byte.
inline bool ends_number(char byte) {
  switch (byte) {
    case ',':
    case '}':
    case ']':
    case ' ':
    case '\t':
    case '\n':
    case '\r': return true;
    default: return false;
  }
}

}  // namespace levada::formats
