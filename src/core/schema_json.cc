#include "core/schema_json.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "levada/error.h"
#include "levada/time.h"

#include "base/json_text.h"

namespace levada {
namespace {

using Shape = Schema::Shape;

// Elements that take no bytes would be written as often as a damaged length says.
constexpr std::uint64_t kEmptyElementsMax = 1 << 16;

template <class N>
void append_floating(N number, std::string& out) {
  if (std::isfinite(number)) return put_digits(number, out);
  out += std::isnan(number) ? "\"NaN\"" : number > 0 ? "\"Infinity\"" : "\"-Infinity\"";
}

void append_number(TypeKind kind, View& in, std::string& out) {
  switch (kind) {
    case TypeKind::kBool:
      out += in.take_number<std::uint8_t>() != 0 ? "true" : "false";
      return;
    case TypeKind::kInt8:
      return put_digits(int{in.take_number<std::int8_t>()}, out);
    case TypeKind::kInt16:
      return put_digits(in.take_number<std::int16_t>(), out);
    case TypeKind::kInt32:
      return put_digits(in.take_number<std::int32_t>(), out);
    case TypeKind::kInt64:
      return put_digits(in.take_number<std::int64_t>(), out);
    case TypeKind::kUint8:
      return put_digits(unsigned{in.take_number<std::uint8_t>()}, out);
    case TypeKind::kUint16:
      return put_digits(in.take_number<std::uint16_t>(), out);
    case TypeKind::kUint32:
      return put_digits(in.take_number<std::uint32_t>(), out);
    case TypeKind::kUint64:
      return put_digits(in.take_number<std::uint64_t>(), out);
    case TypeKind::kFloat:
      return append_floating(in.take_number<float>(), out);
    default:
      return append_floating(in.take_number<double>(), out);
  }
}

void append_time(std::int64_t micros, std::string& out) {
  const Timestamp time{Duration{micros}};
  if (!has_four_digit_year(time)) return put_digits(micros, out);
  out += '"';
  put_iso8601(time, out);
  out += '"';
}

// The length of the UTF-8 sequence at the front; 0: there is none.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  // Longer than need be, half of a pair, or beyond the last character.
  const bool bad = (first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f) ||
                   (first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f);
  return bad ? 0 : length;
}

// `append` takes one element off the front and appends it.
template <class F>
void append_elements(std::uint64_t count, View& in, std::string& out, F append) {
  out += '[';
  std::uint64_t empty = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    const std::size_t left = in.size();
    append();
    if (in.size() == left && ++empty > kEmptyElementsMax) throw StateError("a list has too many elements");
  }
  out += ']';
}

void append_list(const Schema& element, std::uint64_t count, View& in, std::string& out) {
  append_elements(count, in, out, [&] { append_json(element, in, out); });
}

void append_map(const Schema& map, View& in, std::string& out) {
  append_elements(in.take_varint(), in, out, [&] {
    out += '[';
    append_json(map.parts[0], in, out);
    out += ',';
    append_json(map.parts[1], in, out);
    out += ']';
  });
}

}  // namespace

void append_json_text(std::string_view text, std::string& out) {
  out += '"';
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (length == 1) {
      put_json_char(text.front(), out);
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  out += '"';
}

void append_json(const Schema& schema, View& in, std::string& out) {
  switch (schema.shape) {
    case Shape::kNumber:
    case Shape::kDuration:
      return append_number(schema.number, in, out);
    case Shape::kString:
      return append_json_text(in.take_string(), out);
    case Shape::kTimestamp:
      return append_time(in.take_number<std::int64_t>(), out);
    case Shape::kOptional:
      if (in.take_number<std::uint8_t>() != 0) return append_json(schema.parts.front(), in, out);
      out += "null";
      return;
    case Shape::kList:
      return append_list(schema.parts.front(), in.take_varint(), in, out);
    case Shape::kArray:
      return append_list(schema.parts.front(), schema.length, in, out);
    case Shape::kMap:
      return append_map(schema, in, out);
    case Shape::kNamed:
      return append_json(schema.parts.front(), in, out);
    case Shape::kTuple:
    case Shape::kRecord: {
      const bool record = schema.shape == Shape::kRecord;
      out += record ? '{' : '[';
      for (std::size_t i = 0; i < schema.parts.size(); ++i) {
        if (i > 0) out += ',';
        if (record) out.append("\"").append(schema.fields[i]).append("\":");
        append_json(schema.parts[i], in, out);
      }
      out += record ? '}' : ']';
      return;
    }
    case Shape::kOpaque:
      break;
  }
  throw StateError("only the Serde of '" + schema.name + "' can read it");
}

}  // namespace levada
