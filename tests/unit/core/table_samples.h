// Keys and values that tests of tables write.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace levada::detail {

template <class T>
T make(std::uint64_t n);
template <>
inline std::uint64_t make(std::uint64_t n) {
  return n;
}
template <>
inline std::int32_t make(std::uint64_t n) {
  return static_cast<std::int32_t>(n);
}
template <>
inline std::string make(std::uint64_t n) {
  return n % 3 == 0 ? std::to_string(n) : "a key that lies outside of the row " + std::to_string(n);
}
template <>
inline std::tuple<std::string, std::int32_t> make(std::uint64_t n) {
  return {make<std::string>(n / 2), static_cast<std::int32_t>(n % 2)};
}

// So that neither what is lost nor what is done twice or in another order goes unseen.
inline void change(std::int64_t& value, std::uint64_t by) {
  value = value % 1'000'000'007 * 3 + static_cast<std::int64_t>(by % 1000);
}
inline void change(std::int8_t& value, std::uint64_t by) {
  value = static_cast<std::int8_t>((value * 3 + static_cast<int>(by % 50)) % 100);
}
inline void change(std::optional<std::array<std::int64_t, 8>>& value, std::uint64_t by) {
  if (!value) value.emplace();
  for (std::int64_t& part : *value) change(part, by);
  if (by % 3 == 0) value.reset();
}
inline void change(std::vector<std::uint64_t>& value, std::uint64_t by) { value.push_back(by); }

}  // namespace levada::detail
