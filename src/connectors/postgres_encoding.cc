#include "connectors/postgres_encoding.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "levada/time.h"

namespace levada::postgres {
namespace {

template <class T>
T read(const void* value) {
  T copy;
  std::memcpy(&copy, value, sizeof copy);
  return copy;
}

template <class T>
void append_integer(T value, std::string& out) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

template <class T>
void append_floating(T value, std::string& out) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value < 0 ? "-Infinity" : "Infinity";
  } else {
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out.append(digits.data(), end);
  }
}

// Exactly `width` digits; `value` has no more.
void append_padded(std::uint64_t value, int width, std::string& out) {
  out.append(static_cast<std::size_t>(width), '0');
  for (char* at = out.data() + out.size(); value > 0; value /= 10) {
    *--at = static_cast<char>('0' + value % 10);
  }
}

struct Date {
  std::int64_t year;  // astronomical: 0 is 1 BC
  unsigned month;
  unsigned day;
};

// Days since 1970-01-01 as a date of the proleptic Gregorian calendar; std::chrono ends at the year 32767.
// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
Date date_of(std::int64_t days) {
  days += 719'468;
  const std::int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const auto day_of_era = static_cast<unsigned>(days - era * 146'097);
  const unsigned year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned month_from_march = (5 * day_of_year + 2) / 153;
  const unsigned month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  return {static_cast<std::int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0), month,
          day_of_year - (153 * month_from_march + 2) / 5 + 1};
}

// H:MM:SS.ffffff of a count of microseconds >= 0; the hours with at least two digits.
void append_clock(std::uint64_t micros, std::string& out) {
  const std::uint64_t seconds = micros / 1'000'000;
  if (seconds < 36'000) out += '0';
  append_integer(seconds / 3600, out);
  out += ':';
  append_padded(seconds / 60 % 60, 2, out);
  out += ':';
  append_padded(seconds % 60, 2, out);
  if (micros % 1'000'000 != 0) {
    out += '.';
    append_padded(micros % 1'000'000, 6, out);
  }
}

// 4714-11-24 BC, where PostgreSQL's calendar begins. Its end lies behind Timestamp's.
constexpr std::int64_t kFirstDay = -2'440'588;
constexpr std::int64_t kMicrosADay = 86'400'000'000;

void append_timestamp(std::int64_t micros, bool with_zone, std::string& out) {
  if (micros == Timestamp::min().time_since_epoch().count()) {
    out += "-infinity";
    return;
  }
  if (micros == Timestamp::max().time_since_epoch().count()) {
    out += "infinity";
    return;
  }
  const std::int64_t days =
      micros / kMicrosADay - (micros % kMicrosADay < 0 ? 1 : 0);
  if (days < kFirstDay) throw ValueError("a time before 4714-11-24 BC");
  const Date date = date_of(days);
  const std::int64_t year = date.year > 0 ? date.year : 1 - date.year;
  append_padded(static_cast<std::uint64_t>(year), year < 10'000 ? 4 : year < 100'000 ? 5 : 6, out);
  out += '-';
  append_padded(date.month, 2, out);
  out += '-';
  append_padded(date.day, 2, out);
  out += ' ';
  append_clock(static_cast<std::uint64_t>(micros - days * kMicrosADay), out);
  if (with_zone) out += "+00";
  if (date.year <= 0) out += " BC";
}

void append_interval(std::int64_t micros, std::string& out) {
  const auto bits = static_cast<std::uint64_t>(micros);
  if (micros < 0) out += '-';
  append_clock(micros < 0 ? 0 - bits : bits, out);
}

void append_string(const std::string& text, std::string& out) {
  if (std::memchr(text.data(), '\0', text.size()) != nullptr) {
    throw ValueError("text with a NUL byte (a bytea column could hold it)");
  }
  out += text;
}

void append_hex(const std::string& bytes, std::string& out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out += "\\x";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
}

void append_list(const TypeInfo& type, const void* list, TextForm form, std::string& out) {
  const bool plain = is_plain(*type.element);
  std::string text;
  out += '{';
  std::size_t count = 0;
  while (const void* element = type.at(list, count)) {
    if (count++ > 0) out += ',';
    text.clear();
    if (!append_text(*type.element, element, form, text)) {
      out += "NULL";
    } else if (plain) {
      out += text;
    } else {
      append_array_element(text, out);
    }
  }
  out += '}';
}

void append_scalar(const TypeInfo& type, const void* value, TextForm form, std::string& out) {
  switch (type.kind) {
    case TypeKind::kBool: out += read<bool>(value) ? 't' : 'f'; return;
    case TypeKind::kInt8: append_integer(static_cast<int>(read<std::int8_t>(value)), out); return;
    case TypeKind::kInt16: append_integer(read<std::int16_t>(value), out); return;
    case TypeKind::kInt32: append_integer(read<std::int32_t>(value), out); return;
    case TypeKind::kInt64: append_integer(read<std::int64_t>(value), out); return;
    case TypeKind::kUint8: append_integer(static_cast<int>(read<std::uint8_t>(value)), out); return;
    case TypeKind::kUint16: append_integer(read<std::uint16_t>(value), out); return;
    case TypeKind::kUint32: append_integer(read<std::uint32_t>(value), out); return;
    case TypeKind::kUint64: append_integer(read<std::uint64_t>(value), out); return;
    case TypeKind::kFloat: append_floating(read<float>(value), out); return;
    case TypeKind::kDouble: append_floating(read<double>(value), out); return;
    case TypeKind::kString: {
      const auto& text = *static_cast<const std::string*>(value);
      return form == TextForm::kHexBytes ? append_hex(text, out) : append_string(text, out);
    }
    case TypeKind::kTimestamp:
      return append_timestamp(read<std::int64_t>(value), form == TextForm::kTimeWithZone, out);
    case TypeKind::kDuration: return append_interval(read<std::int64_t>(value), out);
    case TypeKind::kOptional:
    case TypeKind::kList:
    case TypeKind::kRecord:
    case TypeKind::kOpaque: break;
  }
  throw ValueError("a value of type " + std::string(to_string(type.kind)));
}

// Appends `text` with a backslash before every character for which `letter_of` gives a letter.
template <class F>
void append_escaped(std::string_view text, std::string& out, F letter_of) {
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char letter = letter_of(text[i]);
    if (letter == 0) continue;
    out.append(text, done, i - done);
    out += '\\';
    out += letter;
    done = i + 1;
  }
  out.append(text, done, text.size() - done);
}

}  // namespace

bool append_text(const TypeInfo& type, const void* value, TextForm form, std::string& out) {
  if (type.kind == TypeKind::kOptional) {
    const void* inner = type.at(value, 0);
    return inner != nullptr && append_text(*type.element, inner, form, out);
  }
  if (type.kind == TypeKind::kList) {
    append_list(type, value, form, out);
  } else {
    append_scalar(type, value, form, out);
  }
  return true;
}

bool is_plain(const TypeInfo& type) {
  const TypeInfo& value = value_type(type);
  return value.kind != TypeKind::kString && value.kind != TypeKind::kList;
}

void append_array_element(std::string_view text, std::string& out) {
  out += '"';
  append_escaped(text, out, [](char c) { return c == '"' || c == '\\' ? c : '\0'; });
  out += '"';
}

void append_copy_field(std::string_view text, std::string& out) {
  append_escaped(text, out, [](char c) {
    switch (c) {
      case '\\': return '\\';
      case '\t': return 't';
      case '\n': return 'n';
      case '\r': return 'r';
      default: return '\0';
    }
  });
}

}  // namespace levada::postgres
