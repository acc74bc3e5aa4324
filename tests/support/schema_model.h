// Random schemas and values of them, and what a value becomes under another schema, said in the simplest way:
// by a tree of values. The transcoder works on bytes; the two have to agree.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "levada/bytes.h"
#include "levada/state_type.h"

#include "base/random.h"
#include "core/schema.h"

namespace levada::testing {

/// A value of some schema.
struct ModelValue {
  std::int64_t number = 0;  ///< kNumber, as two's complement; kTimestamp, kDuration
  std::string text;         ///< kString; the raw bytes of a floating-point number
  bool engaged = false;     ///< kOptional
  std::vector<ModelValue> parts;
  bool operator==(const ModelValue&) const = default;
};

class SchemaModel {
 public:
  using Shape = Schema::Shape;

  explicit SchemaModel(std::uint64_t seed) : random_(seed) {}
  Random& random() { return random_; }

  // ---- schemas

  Schema schema(int depth = 3) {
    Schema schema;
    switch (random_.below(depth > 0 ? 10 : 4)) {
      case 0:
      case 1:
        schema.shape = Shape::kNumber;
        schema.number = static_cast<TypeKind>(random_.below(11));
        break;
      case 2:
        schema.shape = Shape::kString;
        break;
      case 3:
        schema.shape = random_.chance(0.5) ? Shape::kTimestamp : Shape::kDuration;
        if (schema.shape == Shape::kDuration) {
          schema.name = "1/1000";
          schema.number = random_.chance(0.5) ? TypeKind::kInt64 : TypeKind::kInt32;
        }
        break;
      case 4:
        schema = wrap(Shape::kOptional, this->schema(depth - 1));
        break;
      case 5:
        schema = wrap(Shape::kList, this->schema(depth - 1));
        break;
      case 6:
        schema = wrap(Shape::kArray, this->schema(depth - 1));
        schema.length = random_.below(4);
        break;
      case 7:
        schema.shape = Shape::kTuple;
        for (std::uint64_t i = random_.below(4); i > 0; --i) schema.parts.push_back(this->schema(depth - 1));
        break;
      case 8:
        if (random_.chance(0.3)) {
          schema = wrap(Shape::kNamed, this->schema(depth - 1));
          if (schema.parts.front().shape == Shape::kOptional) schema.parts.front() = number(TypeKind::kInt8);
          schema.name = "named";
          break;
        }
        [[fallthrough]];
      default:
        schema.shape = Shape::kRecord;
        for (std::uint64_t i = 1 + random_.below(4); i > 0; --i) add_field(schema, depth);
    }
    return schema;
  }

  /// A schema that values of `from` can be read under, or now and then not; `ok` says whether they can.
  Schema evolved(const Schema& from, bool& ok, int depth = 3) {
    if (from.shape == Shape::kNamed) return from;
    if (from.shape != Shape::kOptional && random_.chance(0.1)) {
      return wrap(Shape::kOptional, evolved(from, ok, depth));
    }
    if (random_.chance(0.02)) {
      Schema other = schema(1);
      // Anything may become another thing that cannot be read; what can is not meant here.
      if (other.shape != from.shape && other.shape != Shape::kOptional) {
        ok = false;
        return other;
      }
    }
    Schema to = from;
    switch (from.shape) {
      case Shape::kNumber:
        to.number = evolved_number(from.number, ok);
        break;
      case Shape::kList:
      case Shape::kArray:
        to.parts[0] = evolved(from.parts[0], ok, depth - 1);
        if (to != from && is_empty(from.parts[0])) ok = false;
        break;
      case Shape::kOptional:
      case Shape::kTuple:
        for (Schema& part : to.parts) part = evolved(part, ok, depth - 1);
        break;
      case Shape::kRecord:
        evolve_record(to, ok, depth);
        break;
      default:
        break;
    }
    return to;
  }

  // ---- values

  ModelValue value(const Schema& schema) {
    ModelValue value;
    switch (schema.shape) {
      case Shape::kNumber:
        if (schema.number == TypeKind::kFloat || schema.number == TypeKind::kDouble) {
          for (std::size_t i = 0; i < size_of(schema.number); ++i) value.text += some_byte();
        } else if (schema.number == TypeKind::kBool) {
          value.number = random_.chance(0.5) ? 1 : 0;
        } else {
          value.number = cut(static_cast<std::int64_t>(random_.next() >> random_.below(64)) *
                                 (random_.chance(0.5) ? 1 : -1),
                             schema.number);
        }
        break;
      case Shape::kDuration:
        value.number = cut(static_cast<std::int64_t>(random_.next()), schema.number);
        break;
      case Shape::kTimestamp:
        value.number = static_cast<std::int64_t>(random_.next());
        break;
      case Shape::kString:
        for (std::uint64_t i = random_.below(random_.chance(0.1) ? 300 : 5); i > 0; --i) {
          value.text += some_byte();
        }
        break;
      case Shape::kOptional:
        value.engaged = random_.chance(0.6);
        if (value.engaged) value.parts.push_back(this->value(schema.parts[0]));
        break;
      case Shape::kList:
      case Shape::kArray:
        for (std::uint64_t i = schema.shape == Shape::kArray ? schema.length : random_.below(4); i > 0; --i) {
          value.parts.push_back(this->value(schema.parts[0]));
        }
        break;
      default:
        for (const Schema& part : schema.parts) value.parts.push_back(this->value(part));
    }
    return value;
  }

  static void encode(const ModelValue& value, const Schema& schema, Bytes& out) {
    switch (schema.shape) {
      case Shape::kNumber:
      case Shape::kDuration:
        if (schema.number == TypeKind::kFloat || schema.number == TypeKind::kDouble) {
          out += value.text;
        } else {
          char raw[8];
          std::memcpy(raw, &value.number, 8);
          out.append(raw, size_of(schema.number));
        }
        return;
      case Shape::kTimestamp:
        put_number(out, value.number);
        return;
      case Shape::kString:
        put_string(out, value.text);
        return;
      case Shape::kOptional:
        put_number(out, static_cast<std::uint8_t>(value.engaged));
        break;
      case Shape::kList:
        put_varint(out, value.parts.size());
        break;
      default:
        break;
    }
    const bool same = schema.shape == Shape::kList || schema.shape == Shape::kArray;
    for (std::size_t i = 0; i < value.parts.size(); ++i) {
      encode(value.parts[i], schema.parts[same ? 0 : i], out);
    }
  }

  /// What `value` of `from` is under `to`. `type` has the defaults of new fields.
  static ModelValue converted(const ModelValue& value, const Schema& from, const Schema& to,
                              const StateType& type) {
    if (from == to) return value;
    ModelValue made;
    if (to.shape == Shape::kOptional && from.shape != Shape::kOptional) {
      made.engaged = true;
      made.parts.push_back(converted(value, from, to.parts[0], *type.parts[0]));
      return made;
    }
    if (to.shape == Shape::kNumber) return value;  // the same number in more bytes
    made.engaged = value.engaged;
    if (to.shape == Shape::kRecord) {
      View defaults(*type.default_bytes);
      for (std::size_t i = 0; i < to.parts.size(); ++i) {
        const ModelValue begins = decode(to.parts[i], defaults);
        const auto at = std::find(from.fields.begin(), from.fields.end(), to.fields[i]);
        const auto source = static_cast<std::size_t>(at - from.fields.begin());
        made.parts.push_back(at == from.fields.end() ? begins
                                                     : converted(value.parts[source], from.parts[source],
                                                                 to.parts[i], *type.parts[i]));
      }
      return made;
    }
    const bool same = to.shape != Shape::kTuple;
    for (std::size_t i = 0; i < value.parts.size(); ++i) {
      const std::size_t part = same ? 0 : i;
      made.parts.push_back(converted(value.parts[i], from.parts[part], to.parts[part], *type.parts[part]));
    }
    return made;
  }

  static ModelValue decode(const Schema& schema, View& in) {
    ModelValue value;
    std::uint64_t count = schema.parts.size();
    switch (schema.shape) {
      case Shape::kNumber:
      case Shape::kDuration: {
        const std::string_view raw = in.take(size_of(schema.number));
        if (schema.number == TypeKind::kFloat || schema.number == TypeKind::kDouble) {
          value.text = raw;
        } else {
          std::memcpy(&value.number, raw.data(), raw.size());
          value.number = cut(value.number, schema.number);
        }
        return value;
      }
      case Shape::kTimestamp:
        value.number = in.take_number<std::int64_t>();
        return value;
      case Shape::kString:
        value.text = in.take_string();
        return value;
      case Shape::kOptional:
        value.engaged = in.take_number<std::uint8_t>() != 0;
        count = value.engaged ? 1 : 0;
        break;
      case Shape::kList:
        count = in.take_varint();
        break;
      case Shape::kArray:
        count = schema.length;
        break;
      default:
        break;
    }
    const bool same = schema.shape == Shape::kList || schema.shape == Shape::kArray;
    for (std::uint64_t i = 0; i < count; ++i) value.parts.push_back(decode(schema.parts[same ? 0 : i], in));
    return value;
  }

  /// The state type of a schema, with random defaults; lives as long as the model.
  const StateType& type_of(const Schema& schema) {
    StateType type;
    type.schema = to_text(schema);
    if (schema.shape != Shape::kNamed) {
      for (const Schema& part : schema.parts) type.parts.push_back(&type_of(part));
    }
    if (schema.shape == Shape::kRecord) encode(value(schema), schema, type.default_bytes.emplace());
    return types_.emplace_back(std::move(type));
  }

 private:
  char some_byte() { return static_cast<char>(random_.below(256)); }

  static Schema number(TypeKind kind) {
    Schema schema;
    schema.shape = Shape::kNumber;
    schema.number = kind;
    return schema;
  }
  static Schema wrap(Shape shape, Schema part) {
    Schema schema;
    schema.shape = shape;
    schema.parts.push_back(std::move(part));
    return schema;
  }

  // True when no value takes any bytes.
  static bool is_empty(const Schema& schema) {
    switch (schema.shape) {
      case Shape::kArray:
        return schema.length == 0 || is_empty(schema.parts[0]);
      case Shape::kTuple:
      case Shape::kRecord:
      case Shape::kNamed:
        return std::all_of(schema.parts.begin(), schema.parts.end(), is_empty);
      default:
        return false;
    }
  }

  // As the number would be read back from its bytes.
  static std::int64_t cut(std::int64_t number, TypeKind kind) {
    const unsigned shift = static_cast<unsigned>(64 - 8 * size_of(kind));
    const std::uint64_t high = static_cast<std::uint64_t>(number) << shift;
    const bool is_signed = kind >= TypeKind::kInt8 && kind <= TypeKind::kInt64;
    return is_signed ? static_cast<std::int64_t>(high) >> shift : static_cast<std::int64_t>(high >> shift);
  }

  TypeKind evolved_number(TypeKind from, bool& ok) {
    if (!random_.chance(0.3)) return from;
    const auto to = static_cast<TypeKind>(random_.below(11));
    if (to == from) return from;
    const auto rank = [](TypeKind kind) { return static_cast<int>(kind); };
    const auto in = [&](TypeKind kind, TypeKind first, TypeKind last) {
      return rank(kind) >= rank(first) && rank(kind) <= rank(last);
    };
    const bool from_signed = in(from, TypeKind::kInt8, TypeKind::kInt64);
    const bool from_unsigned = in(from, TypeKind::kUint8, TypeKind::kUint64);
    const bool to_signed = in(to, TypeKind::kInt8, TypeKind::kInt64);
    const bool to_unsigned = in(to, TypeKind::kUint8, TypeKind::kUint64);
    const bool wider = size_of(to) > size_of(from);
    if (!(wider && ((from_signed && to_signed) || (from_unsigned && (to_unsigned || to_signed))))) ok = false;
    return to;
  }

  void add_field(Schema& record, int depth) {
    record.fields.push_back("f" + std::to_string(next_field_++));
    record.parts.push_back(schema(depth - 1));
  }

  void evolve_record(Schema& record, bool& ok, int depth) {
    const std::size_t removed = random_.chance(0.2) ? random_.below(record.parts.size() + 1) : SIZE_MAX;
    for (std::size_t i = 0; i < record.parts.size(); ++i) {
      if (i != removed) record.parts[i] = evolved(record.parts[i], ok, depth - 1);
    }
    if (removed < record.parts.size()) {
      const auto at = static_cast<std::ptrdiff_t>(removed);
      record.parts.erase(record.parts.begin() + at);
      record.fields.erase(record.fields.begin() + at);
    }
    if (random_.chance(0.3)) add_field(record, depth);
    if (random_.chance(0.3)) {
      for (std::size_t i = record.parts.size(); i > 1; --i) {
        const std::size_t other = random_.below(i);
        std::swap(record.parts[i - 1], record.parts[other]);
        std::swap(record.fields[i - 1], record.fields[other]);
      }
    }
  }

  Random random_;
  std::uint64_t next_field_ = 0;
  std::deque<StateType> types_;
};

}  // namespace levada::testing
