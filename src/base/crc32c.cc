#include "base/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

#ifdef __x86_64__
#include <nmmintrin.h>
#endif

namespace levada {
namespace {

// The reflected polynomial 0x1EDC6F41.
constexpr std::uint32_t kPolynomial = 0x82F63B78;

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t table = 1; table < 8; ++table) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[table - 1][byte];
      tables[table][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

// Eight bytes a step: table i advances a byte over the i bytes behind it.
std::uint32_t extend_by_table(std::uint32_t crc, const char* at, std::size_t left) noexcept {
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    word ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (; left > 0; ++at, --left) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<unsigned char>(*at)) & 0xff];
  }
  return crc;
}

#ifdef __x86_64__
// The instruction takes three cycles, and one can begin in each: three lanes of so many bytes go side by side.
constexpr std::size_t kLaneBytes = 1024;

using LaneTables = std::array<std::array<std::uint32_t, 256>, 4>;

// What each byte of a checksum becomes when a lane of zeros follows: that is linear, so 32 bits say it all.
constexpr LaneTables make_lane_tables() {
  std::array<std::uint32_t, 32> bits{};
  for (std::uint32_t bit = 0; bit < 32; ++bit) {
    std::uint32_t crc = std::uint32_t{1} << bit;
    for (std::size_t i = 0; i < kLaneBytes; ++i) crc = (crc >> 8) ^ kTables[0][crc & 0xff];
    bits[bit] = crc;
  }
  LaneTables tables{};
  for (std::uint32_t table = 0; table < 4; ++table) {
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      for (std::uint32_t bit = 0; bit < 8; ++bit) {
        if ((byte >> bit & 1) != 0) tables[table][byte] ^= bits[8 * table + bit];
      }
    }
  }
  return tables;
}

constexpr LaneTables kLaneTables = make_lane_tables();

std::uint32_t skip_lane(std::uint64_t crc) noexcept {
  return kLaneTables[0][crc & 0xff] ^ kLaneTables[1][crc >> 8 & 0xff] ^ kLaneTables[2][crc >> 16 & 0xff] ^
         kLaneTables[3][crc >> 24 & 0xff];
}

std::uint64_t word_at(const char* at) noexcept {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

__attribute__((target("sse4.2"))) std::uint32_t extend_by_instruction(std::uint32_t crc,
                                                                      const char* at,
                                                                      std::size_t left) noexcept {
  for (; left >= 3 * kLaneBytes; at += 3 * kLaneBytes, left -= 3 * kLaneBytes) {
    std::uint64_t first = crc, second = 0, third = 0;
    for (const char* word = at; word < at + kLaneBytes; word += 8) {
      first = _mm_crc32_u64(first, word_at(word));
      second = _mm_crc32_u64(second, word_at(word + kLaneBytes));
      third = _mm_crc32_u64(third, word_at(word + 2 * kLaneBytes));
    }
    crc = skip_lane(skip_lane(first) ^ second) ^ static_cast<std::uint32_t>(third);
  }
  std::uint64_t wide = crc;
  for (; left >= 8; at += 8, left -= 8) wide = _mm_crc32_u64(wide, word_at(at));
  crc = static_cast<std::uint32_t>(wide);
  for (; left > 0; ++at, --left) crc = _mm_crc32_u8(crc, static_cast<unsigned char>(*at));
  return crc;
}

bool has_instruction() noexcept {
  static const bool has = __builtin_cpu_supports("sse4.2");
  return has;
}
#endif

}  // namespace

std::uint32_t crc32c(std::string_view bytes, std::uint32_t before) noexcept {
#ifdef __x86_64__
  if (has_instruction()) return ~extend_by_instruction(~before, bytes.data(), bytes.size());
#endif
  return crc32c_portable(bytes, before);
}

std::uint32_t crc32c_portable(std::string_view bytes, std::uint32_t before) noexcept {
  return ~extend_by_table(~before, bytes.data(), bytes.size());
}

}  // namespace levada
