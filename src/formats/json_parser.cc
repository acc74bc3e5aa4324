// How a record is read:
// 1. The row's TypeInfo is compiled once into a tree of Nodes, one per place of the row.
// 2. simdjson's first stage finds the structure of the bytes and checks their UTF-8; then the tree is
//    walked along with the document, front to back, each value going straight to its field's address.
// 3. Members are looked for where the last one left off, so that records whose members come in the
//    order of the fields need one comparison a member.
// 4. A refusal is a `false` that travels up; each level puts its name in front of the path. Nothing is
//    formatted for a record that fits.
// 5. Before all that, a record of integers alone is tried as programs write it: members in order, no spaces. That
//    takes half the time. Whatever does not look so, and all that is wrong, is left to simdjson.
#include "formats/json_parser.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <simdjson.h>

#include "formats/json_integer.h"
#include "formats/json_shape.h"
#include "formats/json_time.h"

namespace levada::formats {
namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;

static_assert(kFormatPaddingBytes >= simdjson::SIMDJSON_PADDING);
static_assert(kFormatPaddingBytes >= kIntegerReadsBytes);

constexpr int kDepthMax = 128;

struct Member;

// How one place of the row is read.
struct Node {
  const TypeInfo* type = nullptr;
  bool compact = false;           // a record of integers, but for what may be missing
  std::unique_ptr<Node> element;  // of an optional or a list
  std::vector<Member> members;    // of a record
};

// A name as it stands in a document, with its closing quote. The first eight bytes are compared as one
// number; reading them is allowed anywhere in a document, for there is padding behind it.
class QuotedName {
 public:
  explicit QuotedName(std::string_view name) : text_(std::string(name) + '"') {
    const std::size_t head = std::min(text_.size(), sizeof head_);
    std::memcpy(&head_, text_.data(), head);
    std::memset(&mask_, 0xff, head);
  }

  // `at` points behind a name's opening quote, `end` to the document's end.
  bool stands_at(const char* at, const char* end) const {
    std::uint64_t found;
    std::memcpy(&found, at, sizeof found);
    if ((found & mask_) != head_) return false;
    return text_.size() <= sizeof head_ || tail_stands_at(at, end);
  }

  std::string_view name() const { return {text_.data(), text_.size() - 1}; }
  std::size_t quoted_size() const { return text_.size(); }

 private:
  bool tail_stands_at(const char* at, const char* end) const {
    return end - at >= static_cast<std::ptrdiff_t>(text_.size()) &&
           std::memcmp(at, text_.data(), text_.size()) == 0;
  }

  std::uint64_t head_ = 0;
  std::uint64_t mask_ = 0;
  std::string text_;
};

struct Member {
  QuotedName name;
  TypeKind kind;
  std::size_t offset;
  Node node;
};

// Which members of an object have come.
class Seen {
 public:
  // True for the first time.
  bool insert(std::size_t index) {
    const std::uint64_t bit = std::uint64_t{1} << (index % 64);
    const bool fresh = (words_[index / 64] & bit) == 0;
    words_[index / 64] |= bit;
    return fresh;
  }
  bool contains(std::size_t index) const { return (words_[index / 64] >> (index % 64) & 1) != 0; }

 private:
  std::uint64_t words_[kJsonFieldsMax / 64] = {};
};

Node make_node(const TypeInfo& type) {
  Node node;
  node.type = &type;
  if (type.element != nullptr) node.element = std::make_unique<Node>(make_node(*type.element));
  for (const FieldInfo& field : type.fields) {
    node.members.push_back(
        {QuotedName(field.name), field.type->kind, field.offset, make_node(*field.type)});
  }
  node.compact = std::all_of(node.members.begin(), node.members.end(), [](const Member& member) {
    return member.kind == TypeKind::kInt64 || member.kind == TypeKind::kTimestamp ||
           member.kind == TypeKind::kOptional;
  });
  return node;
}

// The first byte that is not UTF-8.
std::size_t find_invalid_utf8(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto lead = static_cast<unsigned char>(bytes[at]);
    const std::size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (at + size > bytes.size() || !simdjson::validate_utf8(bytes.data() + at, size)) break;
    at += size;
  }
  return at;
}

// "a string", "null", "12.5": what stands at the start of `token`.
std::string describe(std::string_view token) {
  if (token.empty()) return "nothing";
  switch (token[0]) {
    case '"': return "a string";
    case '{': return "an object";
    case '[': return "an array";
    case 't':
    case 'f': return "a bool";
    case 'n': return "null";
    default: break;
  }
  std::string_view word = token.substr(0, token.find_first_of(" \t\r\n"));
  return std::string(word.substr(0, 40));
}

bool is_number(std::string_view token) {
  return !token.empty() && (token[0] == '-' || (token[0] >= '0' && token[0] <= '9'));
}

class JsonParser final : public RecordParser {
 public:
  explicit JsonParser(const TypeInfo& type) : root_(make_node(type)) {}

  bool parse(std::string_view bytes, void* row) override {
    if (buffer_.size() < bytes.size() + kFormatPaddingBytes) {
      buffer_.resize(2 * bytes.size() + kFormatPaddingBytes);
    }
    if (!bytes.empty()) std::memcpy(buffer_.data(), bytes.data(), bytes.size());
    return parse_padded({buffer_.data(), bytes.size()}, row);
  }

  bool parse_padded(std::string_view bytes, void* row) override {
    begin_ = bytes.data();
    end_ = begin_ + bytes.size();
    if (root_.compact && read_compact(row)) return true;
    ondemand::document document;
    if (const error_code error = iterate(bytes).get(document)) return refuse_bytes(error);
    ondemand::object object;
    if (const error_code error = document.get_object().get(object)) {
      return refuse_root(error);
    }
    if (!read_record(root_, object, row)) return finish_refusal();
    // Exactly at the end, neither before it nor beyond: a missing bracket may have been found behind.
    const char* rest = nullptr;
    const error_code at_end = document.current_location().get(rest);
    if (at_end == simdjson::OUT_OF_BOUNDS) return true;
    refuse(rest != nullptr && rest < end_ ? "there is more behind the object" : "it ends too early",
           rest);
    return finish_refusal();
  }

  const std::string& problem() const override { return problem_; }

 private:
  simdjson::simdjson_result<ondemand::document> iterate(std::string_view bytes) {
    return parser_.iterate(bytes.data(), bytes.size(), bytes.size() + kFormatPaddingBytes);
  }

  // ---- values

  bool read(Node& node, ondemand::value value, void* into) {
    switch (node.type->kind) {
      case TypeKind::kBool: return read_bool(value, static_cast<bool*>(into));
      case TypeKind::kInt8: return read_signed<std::int8_t>(node, value, into);
      case TypeKind::kInt16: return read_signed<std::int16_t>(node, value, into);
      case TypeKind::kInt32: return read_signed<std::int32_t>(node, value, into);
      case TypeKind::kInt64: return read_signed<std::int64_t>(node, value, into);
      case TypeKind::kUint8: return read_unsigned<std::uint8_t>(node, value, into);
      case TypeKind::kUint16: return read_unsigned<std::uint16_t>(node, value, into);
      case TypeKind::kUint32: return read_unsigned<std::uint32_t>(node, value, into);
      case TypeKind::kUint64: return read_unsigned<std::uint64_t>(node, value, into);
      case TypeKind::kFloat: return read_float<float>(node, value, into);
      case TypeKind::kDouble: return read_float<double>(node, value, into);
      case TypeKind::kString: return read_string(value, static_cast<std::string*>(into));
      case TypeKind::kTimestamp: return read_timestamp(value, static_cast<Timestamp*>(into));
      case TypeKind::kDuration: return read_duration(value, static_cast<Duration*>(into));
      case TypeKind::kOptional: return read_optional(node, value, into);
      case TypeKind::kList: return read_list(node, value, into);
      case TypeKind::kRecord: return read_nested(node, value, into);
      case TypeKind::kOpaque: break;
    }
    return refuse("its type cannot be read", value);
  }

  bool read_bool(ondemand::value value, bool* into) {
    if (value.get_bool().get(*into) == simdjson::SUCCESS) return true;
    return refuse_value("a bool", value);
  }

  template <class N>
  bool read_signed(const Node& node, ondemand::value value, void* into) {
    std::int64_t number;
    if (!read_int64(value, number)) return refuse_value(node.type->name, value);
    if (!std::in_range<N>(number)) return refuse_range(node, std::to_string(number));
    *static_cast<N*>(into) = static_cast<N>(number);
    return true;
  }

  // A short one stays where it is: whoever goes on behind it passes over it.
  simdjson_inline static bool read_int64(ondemand::value& value, std::int64_t& number) {
    const char* const at = value.raw_json_token().data();
    const ShortInteger integer = parse_short_integer(at);
    if (integer.digits > 0 && ends_number(at[integer.digits])) {
      number = integer.value;
      return true;
    }
    return value.get_int64().get(number) == simdjson::SUCCESS;
  }

  template <class N>
  bool read_unsigned(const Node& node, ondemand::value value, void* into) {
    std::uint64_t number;
    if (value.get_uint64().get(number) != simdjson::SUCCESS) {
      return refuse_value(node.type->name, value);
    }
    if (!std::in_range<N>(number)) return refuse_range(node, std::to_string(number));
    *static_cast<N*>(into) = static_cast<N>(number);
    return true;
  }

  template <class N>
  bool read_float(const Node& node, ondemand::value value, void* into) {
    double number;
    if (value.get_double().get(number) != simdjson::SUCCESS) {
      return refuse_value(node.type->name, value);
    }
    if (std::abs(number) > static_cast<double>(std::numeric_limits<N>::max())) {
      return refuse_range(node, std::to_string(number));
    }
    *static_cast<N*>(into) = static_cast<N>(number);
    return true;
  }

  bool read_string(ondemand::value value, std::string* into) {
    std::string_view text;
    if (value.get_string().get(text) != simdjson::SUCCESS) return refuse_value("a string", value);
    into->assign(text);
    return true;
  }

  bool read_timestamp(ondemand::value value, Timestamp* into) {
    if (token_of(value).starts_with('"')) return read_iso8601(value, into);
    const std::optional<Duration> since_1970 = read_millis(value);
    if (!since_1970) return refuse_value("milliseconds since 1970 or ISO-8601 text", value);
    *into = Timestamp{*since_1970};
    return true;
  }

  bool read_iso8601(ondemand::value value, Timestamp* into) {
    const char* at = token_of(value).data();
    std::string_view text;
    if (value.get_string().get(text) != simdjson::SUCCESS) return refuse_value("a string", value);
    const std::optional<Timestamp> time = parse_iso8601(text);
    if (!time) {
      return refuse("\"" + std::string(text.substr(0, 40)) + "\" is no ISO-8601 time", at);
    }
    *into = *time;
    return true;
  }

  bool read_duration(ondemand::value value, Duration* into) {
    const std::optional<Duration> duration = read_millis(value);
    if (!duration) return refuse_value("milliseconds", value);
    *into = *duration;
    return true;
  }

  std::optional<Duration> read_millis(ondemand::value value) {
    std::int64_t whole;
    if (read_int64(value, whole)) return micros_of_millis(whole);
    double fraction;
    if (value.get_double().get(fraction) == simdjson::SUCCESS) return micros_of_millis(fraction);
    return std::nullopt;
  }

  bool read_optional(Node& node, ondemand::value value, void* into) {
    if (token_of(value).starts_with('n')) {
      bool null = false;
      if (value.is_null().get(null) != simdjson::SUCCESS || !null) {
        return refuse_value(node.type->element->name, value);
      }
      node.type->clear(into);
      return true;
    }
    return read(*node.element, value, node.type->emplace(into));
  }

  bool read_list(Node& node, ondemand::value value, void* into) {
    ondemand::array array;
    if (value.get_array().get(array) != simdjson::SUCCESS) return refuse_value("an array", value);
    node.type->clear(into);
    std::size_t index = 0;
    for (auto item : array) {
      ondemand::value element;
      if (const error_code error = item.get(element)) return refuse_syntax(error, nullptr);
      if (!read(*node.element, element, node.type->emplace(into))) {
        return in_path("[" + std::to_string(index) + "]");
      }
      ++index;
    }
    return true;
  }

  bool read_nested(Node& node, ondemand::value value, void* into) {
    ondemand::object object;
    if (value.get_object().get(object) != simdjson::SUCCESS) {
      return refuse_value("an object", value);
    }
    return read_record(node, object, into);
  }

  // ---- records as programs write them

  // Reads a record of integers whose members come in the order of the fields, without a space. False: it is another
  // one, or none; what is in the row then means nothing.
  bool read_compact(void* row) {
    const char* at = begin_;
    if (at == end_ || *at != '{') return false;
    for (Member& member : root_.members) {
      char* const into = static_cast<char*>(row) + member.offset;
      // A comma, or the bracket before the first one, is where a member ends.
      if (at < end_ && at[1] == '"' && member.name.stands_at(at + 2, end_)) [[likely]] {
        if (at == begin_ ? *at != '{' : *at != ',') return false;
        at += 2 + member.name.quoted_size();
        if (*at++ != ':') return false;
        const ShortInteger integer = parse_short_integer(at);
        if (integer.digits == 0 || !write_integer(member.kind, integer.value, into)) return false;
        at += integer.digits;
      } else if (member.kind == TypeKind::kOptional) {
        member.node.type->clear(into);
      } else {
        return false;
      }
    }
    return at != begin_ && *at == '}' && at + 1 == end_;
  }

  static bool write_integer(TypeKind kind, std::int64_t value, void* into) {
    if (kind == TypeKind::kInt64) {
      *static_cast<std::int64_t*>(into) = value;
      return true;
    }
    if (kind != TypeKind::kTimestamp) return false;
    *static_cast<Timestamp*>(into) = Timestamp{std::chrono::milliseconds{value}};  // of 15 digits: it fits
    return true;
  }

  // ---- objects

  bool read_record(Node& node, ondemand::object& object, void* row) {
    Seen seen;
    std::size_t expected = 0;
    std::size_t missing = node.members.size();
    for (auto item : object) {
      if (item.error() != simdjson::SUCCESS) return refuse_syntax(item.error(), nullptr);
      // In place: a copy of it is read from the stack in other widths than it was written in, which
      // stalls for as long as the parsing takes.
      ondemand::field&& field = std::move(item).value_unsafe();
      const char* name = field.key().raw();
      Member* member = find(node, name, expected);
      if (member == nullptr && !find_escaped(node, field.key(), member)) {
        return refuse_syntax(simdjson::STRING_ERROR, name);
      }
      if (member == nullptr) {
        if (!pass_over(std::move(field).value(), 1)) return in_path(name_at(name));
        continue;
      }
      const auto index = static_cast<std::size_t>(member - node.members.data());
      missing -= seen.insert(index);
      expected = index + 1;
      if (!read_member(*member, field.value(), static_cast<char*>(row) + member->offset)) {
        return in_path(member->name.name());
      }
    }
    return missing == 0 || reset_missing(node, seen, row);
  }

  // The commonest kinds without a further call; read() takes the others, and refuses what failed here.
  simdjson_inline bool read_member(Member& member, ondemand::value& value, void* into) {
    if (member.kind == TypeKind::kInt64) {
      if (read_int64(value, *static_cast<std::int64_t*>(into))) return true;
    } else if (member.kind == TypeKind::kTimestamp) {
      std::int64_t millis;
      std::int64_t micros;
      if (read_int64(value, millis) &&
          !__builtin_mul_overflow(millis, std::int64_t{1000}, &micros)) {
        *static_cast<Timestamp*>(into) = Timestamp{Duration{micros}};
        return true;
      }
    } else if (member.kind == TypeKind::kDouble) {
      if (value.get_double().get(*static_cast<double*>(into)) == simdjson::SUCCESS) return true;
    }
    return read_slowly(member.node, value, into);
  }

  [[gnu::noinline]] bool read_slowly(Node& node, ondemand::value value, void* into) {
    return read(node, value, into);
  }

  Member* find(Node& node, const char* name, std::size_t expected) const {
    const std::size_t count = node.members.size();
    if (expected < count && node.members[expected].name.stands_at(name, end_)) [[likely]] {
      return &node.members[expected];
    }
    for (Member& member : node.members) {
      if (member.name.stands_at(name, end_)) return &member;
    }
    return nullptr;
  }

  // A name may be written with escapes. False: they are malformed.
  bool find_escaped(Node& node, ondemand::raw_json_string key, Member*& found) {
    const char* at = key.raw();
    while (at < end_ && *at != '"' && *at != '\\') ++at;
    if (at == end_ || *at == '"') return true;
    unescaped_.resize(static_cast<std::size_t>(end_ - key.raw()) + kFormatPaddingBytes);
    std::uint8_t* to = unescaped_.data();
    std::string_view name;
    if (parser_.unescape(key, to).get(name) != simdjson::SUCCESS) return false;
    for (Member& member : node.members) {
      if (member.name.name() == name) found = &member;
    }
    return true;
  }

  bool reset_missing(Node& node, const Seen& seen, void* row) {
    for (std::size_t i = 0; i < node.members.size(); ++i) {
      if (seen.contains(i)) continue;
      const Member& member = node.members[i];
      if (member.node.type->kind != TypeKind::kOptional) {
        refuse("it is missing (only a std::optional may be)", nullptr);
        return in_path(member.name.name());
      }
      member.node.type->clear(static_cast<char*>(row) + member.offset);
    }
    return true;
  }

  // Checks a value that no field wants. Recursion is bounded by kDepthMax.
  bool pass_over(ondemand::value value, int depth) {
    const std::string_view token = token_of(value);
    const char first = token.empty() ? '\0' : token[0];
    if (first == '{' || first == '[') {
      if (depth > kDepthMax) return refuse("nested deeper than 128", value);
      return first == '{' ? pass_over_object(value, depth) : pass_over_array(value, depth);
    }
    if (!pass_over_scalar(value, first)) return refuse_value("a value", value);
    return true;
  }

  bool pass_over_object(ondemand::value value, int depth) {
    ondemand::object object;
    if (const error_code error = value.get_object().get(object))
      return refuse_syntax(error, nullptr);
    for (auto item : object) {
      ondemand::field field;
      if (const error_code error = std::move(item).get(field)) return refuse_syntax(error, nullptr);
      const char* name = field.key().raw();
      if (field.unescaped_key().error() != simdjson::SUCCESS) {
        return refuse_syntax(simdjson::STRING_ERROR, name);
      }
      if (!pass_over(field.value(), depth + 1)) return false;
    }
    return true;
  }

  bool pass_over_array(ondemand::value value, int depth) {
    ondemand::array array;
    if (const error_code error = value.get_array().get(array)) return refuse_syntax(error, nullptr);
    for (auto item : array) {
      ondemand::value element;
      if (const error_code error = item.get(element)) return refuse_syntax(error, nullptr);
      if (!pass_over(element, depth + 1)) return false;
    }
    return true;
  }

  static bool pass_over_scalar(ondemand::value value, char first) {
    switch (first) {
      case '"': return value.get_string().error() == simdjson::SUCCESS;
      case 't':
      case 'f': return value.get_bool().error() == simdjson::SUCCESS;
      case 'n': {
        bool null = false;
        return value.is_null().get(null) == simdjson::SUCCESS && null;
      }
      default: return value.get_double().error() == simdjson::SUCCESS;
    }
  }

  // ---- refusals

  std::string_view token_of(ondemand::value value) const {
    const std::string_view token = value.raw_json_token();
    const auto left = static_cast<std::size_t>(std::max<std::ptrdiff_t>(end_ - token.data(), 0));
    return token.substr(0, left);
  }

  // Keeps the innermost reason; what is around it adds the path.
  bool refuse(std::string reason, const char* at) {
    reason_ = std::move(reason);
    path_.clear();
    offset_.reset();
    if (at != nullptr) offset_ = static_cast<std::size_t>(std::min(at, end_) - begin_);
    return false;
  }

  bool refuse(std::string reason, ondemand::value value) {
    return refuse(std::move(reason), token_of(value).data());
  }

  bool refuse_value(std::string_view wanted, ondemand::value value) {
    const std::string_view token = token_of(value);
    std::string found = describe(token);
    if (is_number(token)) found = "the number " + found;
    return refuse("expected " + std::string(wanted) + ", found " + found, token.data());
  }

  bool refuse_range(const Node& node, const std::string& number) {
    return refuse(number + " does not fit " + std::string(node.type->name), nullptr);
  }

  bool refuse_syntax(error_code error, const char* at) {
    return refuse(std::string("malformed JSON: ") + simdjson::error_message(error), at);
  }

  bool in_path(std::string_view part) {
    if (!path_.empty() && path_[0] != '[') path_.insert(0, ".");
    path_.insert(0, part);
    return false;
  }

  std::string_view name_at(const char* raw) const {
    const char* at = raw;
    while (at < end_ && *at != '"') ++at;
    return {raw, static_cast<std::size_t>(std::min<std::ptrdiff_t>(at - raw, 80))};
  }

  bool finish_refusal() {
    problem_.clear();
    if (!path_.empty()) problem_ += "field \"" + path_ + "\"";
    if (offset_) {
      problem_ += (problem_.empty() ? "at byte " : " at byte ") + std::to_string(*offset_);
    }
    problem_ += (problem_.empty() ? "" : ": ") + reason_;
    return false;
  }

  // The bytes are no JSON text at all.
  bool refuse_bytes(error_code error) {
    if (begin_ == end_) {
      refuse("the record is empty", nullptr);
    } else if (error == simdjson::UTF8_ERROR) {
      const auto size = static_cast<std::size_t>(end_ - begin_);
      refuse("not UTF-8", begin_ + find_invalid_utf8({begin_, size}));
    } else {
      refuse_syntax(error, nullptr);
    }
    return finish_refusal();
  }

  bool refuse_root(error_code error) {
    const char* at = begin_;
    while (at < end_ && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) ++at;
    if (at < end_ && *at == '{') {
      refuse(error == simdjson::INCOMPLETE_ARRAY_OR_OBJECT
                 ? "it does not end with the object's bracket"
                 : std::string("malformed JSON: ") + simdjson::error_message(error),
             end_);
    } else {
      const auto left = static_cast<std::size_t>(end_ - at);
      refuse("expected an object, found " + describe({at, left}), at);
    }
    return finish_refusal();
  }

  Node root_;
  ondemand::parser parser_;
  std::vector<char> buffer_;             // a record and its padding
  std::vector<std::uint8_t> unescaped_;  // a member's name
  const char* begin_ = nullptr;          // of the record being parsed
  const char* end_ = nullptr;
  std::string path_, reason_, problem_;
  std::optional<std::size_t> offset_;
};

}  // namespace

std::unique_ptr<RecordParser> make_json_parser(const TypeInfo& type) {
  check_json_shape(type);
  return std::make_unique<JsonParser>(type);
}

}  // namespace levada::formats
