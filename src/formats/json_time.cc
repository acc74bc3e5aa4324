#include "formats/json_time.h"

#include <cmath>
#include <cstdint>
#include <limits>

namespace levada::formats {
namespace {

// Takes fixed-width parts off the front of the text.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  bool done() const { return rest_.empty(); }
  bool digit_next() const { return !rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9'; }

  bool take(char wanted) {
    if (rest_.empty() || rest_[0] != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // Exactly `width` digits.
  bool take_digits(std::size_t width, int& value) {
    if (rest_.size() < width) return false;
    value = 0;
    for (std::size_t i = 0; i < width; ++i) {
      if (rest_[i] < '0' || rest_[i] > '9') return false;
      value = value * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(width);
    return true;
  }

  // At least one digit; those behind the sixth do not count.
  bool take_fraction(std::int64_t& micros) {
    if (!digit_next()) return false;
    std::int64_t unit = 100'000;
    for (micros = 0; digit_next(); rest_.remove_prefix(1), unit /= 10) {
      micros += (rest_[0] - '0') * unit;
    }
    return true;
  }

 private:
  std::string_view rest_;
};

bool take_date(Cursor& in, std::chrono::sys_days& day) {
  int year, month, dom;
  if (!in.take_digits(4, year) || !in.take('-') || !in.take_digits(2, month) || !in.take('-') ||
      !in.take_digits(2, dom)) {
    return false;
  }
  const std::chrono::year_month_day date{std::chrono::year{year},
                                         std::chrono::month{static_cast<unsigned>(month)},
                                         std::chrono::day{static_cast<unsigned>(dom)}};
  day = date;
  return date.ok();
}

bool take_clock(Cursor& in, Duration& of_day) {
  int hour, minute, second = 0;
  std::int64_t micros = 0;
  if (!in.take_digits(2, hour) || !in.take(':') || !in.take_digits(2, minute)) return false;
  if (in.take(':')) {
    if (!in.take_digits(2, second)) return false;
    if (in.take('.') && !in.take_fraction(micros)) return false;
  }
  of_day = std::chrono::hours{hour} + std::chrono::minutes{minute} + std::chrono::seconds{second} +
           Duration{micros};
  return hour < 24 && minute < 60 && second < 60;
}

bool take_offset(Cursor& in, Duration& offset) {
  if (in.done() || in.take('Z') || in.take('z')) return true;
  const bool west = in.take('-');
  if (!west && !in.take('+')) return false;
  int hour, minute = 0;
  if (!in.take_digits(2, hour)) return false;
  const bool colon = in.take(':');
  if ((colon || in.digit_next()) && !in.take_digits(2, minute)) return false;
  offset = std::chrono::hours{hour} + std::chrono::minutes{minute};
  if (west) offset = -offset;
  return hour < 24 && minute < 60;
}

}  // namespace

std::optional<Timestamp> parse_iso8601(std::string_view text) {
  Cursor in(text);
  std::chrono::sys_days day;
  Duration of_day{0}, offset{0};
  if (!take_date(in, day)) return std::nullopt;
  if (!in.done()) {
    if (!in.take('T') && !in.take('t') && !in.take(' ')) return std::nullopt;
    if (!take_clock(in, of_day) || !take_offset(in, offset)) return std::nullopt;
  }
  if (!in.done()) return std::nullopt;
  return Timestamp{day} + of_day - offset;
}

std::optional<Duration> micros_of_millis(std::int64_t millis) {
  std::int64_t micros;
  if (__builtin_mul_overflow(millis, std::int64_t{1000}, &micros)) return std::nullopt;
  return Duration{micros};
}

std::optional<Duration> micros_of_millis(double millis) {
  const double micros = std::round(millis * 1000);
  // 2^63 is the first double that does not fit; the comparison also refuses NaN.
  if (!(std::abs(micros) < 9223372036854775808.0)) return std::nullopt;
  return Duration{static_cast<std::int64_t>(micros)};
}

}  // namespace levada::formats
