#include "formats/json_writer.h"

#include <cmath>
#include <cstdint>

#include "levada/error.h"

#include "base/json_text.h"
#include "formats/json_shape.h"

namespace levada::formats {
namespace {

template <class N>
void put_float(N number, Bytes& out) {
  if (!std::isfinite(number)) throw FormatError("JSON has no notation for NaN and infinity");
  put_digits(number, out);
}

void put_text(std::string_view text, Bytes& out) {
  out += '"';
  for (const char c : text) put_json_char(c, out);
  out += '"';
}

// Milliseconds, with three decimals if there are microseconds.
void put_duration(Duration duration, Bytes& out) {
  const std::int64_t micros = duration.count();
  const std::int64_t rest = micros % 1000;
  if (micros < 0 && micros / 1000 == 0 && rest != 0) out += '-';
  put_digits(micros / 1000, out);
  if (rest == 0) return;
  const std::string digits = std::to_string(1000 + (rest < 0 ? -rest : rest));
  out += '.';
  out.append(digits, 1, 3);
}

// Whole milliseconds are a number that every reader understands; anything finer keeps its microseconds.
void put_timestamp(Timestamp time, Bytes& out) {
  const bool whole = time.time_since_epoch().count() % 1000 == 0;
  if (whole || !has_four_digit_year(time)) return put_duration(time.time_since_epoch(), out);
  out += '"';
  put_iso8601(time, out);
  out += '"';
}

void put_value(const TypeInfo& type, const void* value, Bytes& out);

void put_list(const TypeInfo& type, const void* value, Bytes& out) {
  out += '[';
  for (std::size_t i = 0; const void* element = type.at(value, i); ++i) {
    if (i > 0) out += ',';
    put_value(*type.element, element, out);
  }
  out += ']';
}

void put_record(const TypeInfo& type, const void* row, Bytes& out) {
  char before = '{';
  for (const FieldInfo& field : type.fields) {
    const void* value = static_cast<const char*>(row) + field.offset;
    if (field.type->kind == TypeKind::kOptional && field.type->at(value, 0) == nullptr) continue;
    out += before;
    before = ',';
    put_text(field.name, out);
    out += ':';
    put_value(*field.type, value, out);
  }
  if (before == '{') out += '{';
  out += '}';
}

template <class N>
const N& as(const void* value) {
  return *static_cast<const N*>(value);
}

void put_value(const TypeInfo& type, const void* value, Bytes& out) {
  switch (type.kind) {
    case TypeKind::kBool: out += as<bool>(value) ? "true" : "false"; return;
    case TypeKind::kInt8: return put_digits(int{as<std::int8_t>(value)}, out);
    case TypeKind::kInt16: return put_digits(as<std::int16_t>(value), out);
    case TypeKind::kInt32: return put_digits(as<std::int32_t>(value), out);
    case TypeKind::kInt64: return put_digits(as<std::int64_t>(value), out);
    case TypeKind::kUint8: return put_digits(unsigned{as<std::uint8_t>(value)}, out);
    case TypeKind::kUint16: return put_digits(as<std::uint16_t>(value), out);
    case TypeKind::kUint32: return put_digits(as<std::uint32_t>(value), out);
    case TypeKind::kUint64: return put_digits(as<std::uint64_t>(value), out);
    case TypeKind::kFloat: return put_float(as<float>(value), out);
    case TypeKind::kDouble: return put_float(as<double>(value), out);
    case TypeKind::kString: return put_text(as<std::string>(value), out);
    case TypeKind::kTimestamp: return put_timestamp(as<Timestamp>(value), out);
    case TypeKind::kDuration: return put_duration(as<Duration>(value), out);
    case TypeKind::kOptional: {
      const void* inner = type.at(value, 0);
      if (inner == nullptr) {
        out += "null";
      } else {
        put_value(*type.element, inner, out);
      }
      return;
    }
    case TypeKind::kList: return put_list(type, value, out);
    case TypeKind::kRecord: return put_record(type, value, out);
    case TypeKind::kOpaque: break;
  }
  throw FormatError("JSON cannot hold a value of this type");
}

class JsonWriter final : public RecordWriter {
 public:
  explicit JsonWriter(const TypeInfo& type) : type_(type) {}
  void write(const void* row, Bytes& out) const override { put_record(type_, row, out); }

 private:
  const TypeInfo& type_;
};

}  // namespace

std::unique_ptr<RecordWriter> make_json_writer(const TypeInfo& type) {
  check_json_shape(type);
  return std::make_unique<JsonWriter>(type);
}

}  // namespace levada::formats
