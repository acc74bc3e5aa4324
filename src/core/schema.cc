// The grammar.
//
//   table    := type (" -> " type)*
//   type     := plain "?"*                            optional
//   plain    := number | "string" | "timestamp"
//             | "duration(" unit ")" | "duration(" unit "," number ")"     without number: int64
//             | "[" type "]" | "[" type ";" length "]"
//             | "(" (type ",")* ")"                   tuple
//             | "{" (name ":" type ("," name ":" type)*)? "}"
//             | word | word " " plain                 opaque; named
//   number   := "bool" | "int8" … "uint64" | "float" | "double"
//   unit     := digits "/" digits
//   name     := letters, digits, "_"
//   word     := a letter, then letters, digits and any of "_.:<>*&/+-"
#include "core/schema.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace levada {
namespace {

constexpr int kDepthMax = 64;
constexpr std::string_view kArrow = " -> ";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name(char c) { return is_letter(c) || is_digit(c); }
bool is_word(char c) { return is_name(c) || std::string_view(".:<>*&/+-").find(c) != std::string_view::npos; }

std::optional<TypeKind> number_called(std::string_view word) {
  constexpr TypeKind kNumbers[] = {TypeKind::kBool,   TypeKind::kInt8,  TypeKind::kInt16,  TypeKind::kInt32,
                                   TypeKind::kInt64,  TypeKind::kUint8, TypeKind::kUint16, TypeKind::kUint32,
                                   TypeKind::kUint64, TypeKind::kFloat, TypeKind::kDouble};
  for (const TypeKind kind : kNumbers) {
    if (to_string(kind) == word) return kind;
  }
  return std::nullopt;
}

Schema shape_of(Schema::Shape shape) {
  Schema schema;
  schema.shape = shape;
  return schema;
}

Schema opaque(std::string_view name) {
  Schema schema;
  schema.name = name;
  return schema;
}

// Every method that returns bool takes what it is named for off the front, or returns false and is done with.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  bool empty() const { return rest_.empty(); }

  bool take(std::string_view what) {
    if (!rest_.starts_with(what)) return false;
    rest_.remove_prefix(what.size());
    return true;
  }

  bool type(Schema& into, int depth = 0) {
    if (depth > kDepthMax || !plain(into, depth)) return false;
    for (int deep = depth; take("?"); ++deep) {
      if (deep > kDepthMax) return false;
      Schema optional = shape_of(Schema::Shape::kOptional);
      optional.parts.push_back(std::move(into));
      into = std::move(optional);
    }
    return true;
  }

 private:
  bool plain(Schema& into, int depth) {
    if (depth > kDepthMax || rest_.empty()) return false;
    if (take("[")) return list(into, depth);
    if (take("(")) return tuple(into, depth);
    if (take("{")) return record(into, depth);
    return is_letter(rest_.front()) && called(into, depth);
  }

  bool list(Schema& into, int depth) {
    into = shape_of(Schema::Shape::kList);
    if (!type(into.parts.emplace_back(), depth + 1)) return false;
    if (take(";")) {
      into.shape = Schema::Shape::kArray;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), into.length);
      if (error != std::errc{}) return false;
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    }
    return take("]");
  }

  bool tuple(Schema& into, int depth) {
    into = shape_of(Schema::Shape::kTuple);
    while (!take(")")) {
      if (!type(into.parts.emplace_back(), depth + 1) || !take(",")) return false;
    }
    return true;
  }

  bool record(Schema& into, int depth) {
    into = shape_of(Schema::Shape::kRecord);
    if (take("}")) return true;
    do {
      const std::string_view name = taken_while(is_name);
      if (name.empty() || !take(":")) return false;
      into.fields.emplace_back(name);
      if (!type(into.parts.emplace_back(), depth + 1)) return false;
    } while (take(","));
    // A name twice would say two things.
    std::vector<std::string_view> names(into.fields.begin(), into.fields.end());
    std::sort(names.begin(), names.end());
    return std::adjacent_find(names.begin(), names.end()) == names.end() && take("}");
  }

  bool called(Schema& into, int depth) {
    const std::string_view word = taken_while(is_word);
    if (const auto number = number_called(word)) {
      into = shape_of(Schema::Shape::kNumber);
      into.number = *number;
      return true;
    }
    if (word == "string") {
      into = shape_of(Schema::Shape::kString);
      return true;
    }
    if (word == "timestamp") {
      into = shape_of(Schema::Shape::kTimestamp);
      return true;
    }
    if (word == "duration") return duration(into);
    into = opaque(word);
    if (rest_.size() < 2 || rest_[0] != ' ' || rest_[1] == '-') return true;
    rest_.remove_prefix(1);
    into.shape = Schema::Shape::kNamed;
    return plain(into.parts.emplace_back(), depth + 1);
  }

  bool duration(Schema& into) {
    into = shape_of(Schema::Shape::kDuration);
    into.number = TypeKind::kInt64;
    if (!take("(")) return false;
    into.name = taken_while(is_digit);
    if (!take("/")) return false;
    into.name += '/';
    into.name += taken_while(is_digit);
    if (take(",")) {
      const auto number = number_called(taken_while(is_name));
      if (!number) return false;
      into.number = *number;
    }
    return take(")");
  }

  std::string_view taken_while(bool (*wanted)(char)) {
    std::size_t size = 0;
    while (size < rest_.size() && wanted(rest_[size])) ++size;
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::string_view rest_;
};

void append_text(const Schema& schema, std::string& text) {
  using Shape = Schema::Shape;
  switch (schema.shape) {
    case Shape::kNumber:
      text += to_string(schema.number);
      break;
    case Shape::kString:
      text += "string";
      break;
    case Shape::kTimestamp:
      text += "timestamp";
      break;
    case Shape::kDuration:
      text.append("duration(").append(schema.name);
      if (schema.number != TypeKind::kInt64) text.append(",").append(to_string(schema.number));
      text += ')';
      break;
    case Shape::kOptional:
      append_text(schema.parts.front(), text);
      text += '?';
      break;
    case Shape::kList:
    case Shape::kArray:
      text += '[';
      append_text(schema.parts.front(), text);
      if (schema.shape == Shape::kArray) text.append(";").append(std::to_string(schema.length));
      text += ']';
      break;
    case Shape::kTuple:
      text += '(';
      for (const Schema& part : schema.parts) {
        append_text(part, text);
        text += ',';
      }
      text += ')';
      break;
    case Shape::kRecord:
      text += '{';
      for (std::size_t i = 0; i < schema.parts.size(); ++i) {
        if (i > 0) text += ',';
        text.append(schema.fields[i]).append(":");
        append_text(schema.parts[i], text);
      }
      text += '}';
      break;
    case Shape::kNamed:
      text.append(schema.name).append(" ");
      append_text(schema.parts.front(), text);
      break;
    case Shape::kOpaque:
      text += schema.name;
      break;
  }
}

}  // namespace

Schema parse_schema(std::string_view text) {
  Schema schema;
  Parser parser(text);
  // What is written in another way, such as a length with leading zeros, is not of the grammar either.
  if (!parser.type(schema) || !parser.empty() || to_text(schema) != text) return opaque(text);
  return schema;
}

std::vector<Schema> parse_table_schema(std::string_view text) {
  std::vector<Schema> schemas;
  std::string same;
  Parser parser(text);
  do {
    if (!schemas.empty()) same += kArrow;
    if (!parser.type(schemas.emplace_back())) return {opaque(text)};
    append_text(schemas.back(), same);
  } while (parser.take(kArrow));
  if (!parser.empty() || same != text) return {opaque(text)};
  return schemas;
}

std::string to_text(const Schema& schema) {
  std::string text;
  append_text(schema, text);
  return text;
}

std::size_t size_of(TypeKind number) {
  switch (number) {
    case TypeKind::kBool:
    case TypeKind::kInt8:
    case TypeKind::kUint8:
      return 1;
    case TypeKind::kInt16:
    case TypeKind::kUint16:
      return 2;
    case TypeKind::kInt32:
    case TypeKind::kUint32:
    case TypeKind::kFloat:
      return 4;
    default:
      return 8;
  }
}

}  // namespace levada
