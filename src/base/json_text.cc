#include "base/json_text.h"

#include <cstdint>

namespace levada {

bool has_four_digit_year(Timestamp time) {
  const std::int64_t micros = time.time_since_epoch().count();
  return micros >= -62'167'219'200'000'000 && micros < 253'402'300'800'000'000;
}

void put_iso8601(Timestamp time, Bytes& out) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  std::int64_t micros = (time - day).count();
  const auto put = [&out](std::int64_t value, std::size_t width) {
    std::array<char, 8> digits;
    for (std::size_t i = width; i-- > 0; value /= 10)
      digits[i] = static_cast<char>('0' + value % 10);
    out.append(digits.data(), width);
  };
  put(static_cast<int>(date.year()), 4);
  out += '-';
  put(static_cast<unsigned>(date.month()), 2);
  out += '-';
  put(static_cast<unsigned>(date.day()), 2);
  out += 'T';
  put(micros / 3'600'000'000, 2);
  out += ':';
  put(micros / 60'000'000 % 60, 2);
  out += ':';
  put(micros / 1'000'000 % 60, 2);
  out += '.';
  put(micros % 1'000'000, 6);
  out += 'Z';
}

}  // namespace levada
