#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "levada/error.h"
#include "levada/formats.h"
#include "levada/serde.h"

namespace levada {

struct JsonOrder {
  std::int64_t user = 0, item = 0, amount = 0;
  Timestamp ts;
  bool operator==(const JsonOrder&) const = default;
};
LEVADA_RECORD(JsonOrder, user, item, amount, ts)

enum class Colour : std::uint8_t { kRed, kGreen };

struct JsonKinds {
  bool yes = false;
  std::int8_t i8 = 0;
  std::int16_t i16 = 0;
  std::int32_t i32 = 0;
  std::int64_t i64 = 0;
  std::uint8_t u8 = 0;
  std::uint16_t u16 = 0;
  std::uint32_t u32 = 0;
  std::uint64_t u64 = 0;
  float f = 0;
  double d = 0;
  std::string s;
  Colour colour{};
  Duration wait{};
};
LEVADA_RECORD(JsonKinds, yes, i8, i16, i32, i64, u8, u16, u32, u64, f, d, s, colour, wait)

struct JsonPoint {
  int x = 0, y = 0;
  bool operator==(const JsonPoint&) const = default;
};
LEVADA_RECORD(JsonPoint, x, y)

struct JsonShape {
  JsonPoint centre;
  std::vector<JsonPoint> corners;
  std::optional<std::string> note;
  std::optional<JsonPoint> hole;
  std::vector<std::vector<std::optional<int>>> table;
};
LEVADA_RECORD(JsonShape, centre, corners, note, hole, table)

struct JsonVisit {
  std::optional<std::int64_t> page;
  std::int64_t a_very_long_name = 0;
  Timestamp at;
  std::optional<std::string> note;
  std::int64_t n = 0;
  bool operator==(const JsonVisit&) const = default;
};
LEVADA_RECORD(JsonVisit, page, a_very_long_name, at, note, n)

struct JsonText {
  std::string text;
};
LEVADA_RECORD(JsonText, text)

template <class N>
struct One {
  N v{};
};
using OneI8 = One<std::int8_t>;
using OneU8 = One<std::uint8_t>;
using OneI32 = One<std::int32_t>;
using OneI64 = One<std::int64_t>;
using OneU64 = One<std::uint64_t>;
using OneFloat = One<float>;
using OneTime = One<Timestamp>;
LEVADA_RECORD(OneI8, v)
LEVADA_RECORD(OneU8, v)
LEVADA_RECORD(OneI32, v)
LEVADA_RECORD(OneI64, v)
LEVADA_RECORD(OneU64, v)
LEVADA_RECORD(OneFloat, v)
LEVADA_RECORD(OneTime, v)

struct JsonOpaque {
  int fine = 0;
  std::pair<int, int> pair;
};
LEVADA_RECORD(JsonOpaque, fine, pair)

namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class T>
std::unique_ptr<RecordParser> parser_of() {
  return json().make_parser(type_info<T>());
}

template <class T>
T parsed(std::string_view bytes) {
  auto parser = parser_of<T>();
  T row{};
  EXPECT_TRUE(parser->parse(bytes, &row)) << bytes << ": " << parser->problem();
  return row;
}

template <class T>
std::string problem(std::string_view bytes) {
  auto parser = parser_of<T>();
  T row{};
  if (parser->parse(bytes, &row)) return "(accepted)";
  return parser->problem();
}

TEST(JsonParser, ReadsAnOrder) {
  const auto order =
      parsed<JsonOrder>(R"({"user":1234,"item":56,"amount":789,"ts":1700000000000})");
  EXPECT_EQ(order, (JsonOrder{1234, 56, 789, Timestamp{1'700'000'000s}}));
}

TEST(JsonParser, TakesMembersInAnyOrderWithSpacesAndUnknownOnes) {
  const auto order = parsed<JsonOrder>(
      " {\n \"ts\" : 1 , \"x\":{\"y\":[1,{\"z\":null},\"}\"]}, \"amount\":3,\"item\":2,"
      "\"b\":true,\"n\":null,\"d\":1.5e3,\"user\":1 } \n");
  EXPECT_EQ(order, (JsonOrder{1, 2, 3, Timestamp{1ms}}));
}

TEST(JsonParser, ReadsEveryKind) {
  const auto row = parsed<JsonKinds>(
      R"({"yes":true,"i8":-128,"i16":-32768,"i32":-2147483648,"i64":-9223372036854775808,)"
      R"("u8":255,"u16":65535,"u32":4294967295,"u64":18446744073709551615,"f":1.5,"d":-2e-3,)"
      R"("s":"a\"\\\/\n\u00e9\ud83d\ude00é","colour":1,"wait":2.5})");
  EXPECT_TRUE(row.yes);
  EXPECT_EQ(row.i8, -128);
  EXPECT_EQ(row.i16, -32768);
  EXPECT_EQ(row.i32, std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(row.i64, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(row.u8, 255);
  EXPECT_EQ(row.u16, 65535);
  EXPECT_EQ(row.u32, 4294967295u);
  EXPECT_EQ(row.u64, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(row.f, 1.5f);
  EXPECT_EQ(row.d, -2e-3);
  EXPECT_EQ(row.s, "a\"\\/\né😀é");
  EXPECT_EQ(row.colour, Colour::kGreen);
  EXPECT_EQ(row.wait, 2500us);
}

TEST(JsonParser, ReadsNestedRecordsListsAndOptionals) {
  const auto row = parsed<JsonShape>(
      R"({"centre":{"x":1,"y":2},"corners":[{"y":4,"x":3},{"x":5,"y":6}],"note":"n",)"
      R"("hole":{"x":7,"y":8},"table":[[],[1,null],[2]]})");
  EXPECT_EQ(row.centre, (JsonPoint{1, 2}));
  EXPECT_THAT(row.corners, ElementsAre(JsonPoint{3, 4}, JsonPoint{5, 6}));
  EXPECT_EQ(row.note, "n");
  EXPECT_EQ(row.hole, (JsonPoint{7, 8}));
  ASSERT_EQ(row.table.size(), 3u);
  EXPECT_THAT(row.table[1], ElementsAre(std::optional<int>(1), std::nullopt));
}

TEST(JsonParser, AssignsIntoAnOldRowAndKeepsItsCapacity) {
  auto parser = parser_of<JsonShape>();
  JsonShape row;
  ASSERT_TRUE(parser->parse(
      R"({"centre":{"x":1,"y":2},"corners":[{"x":3,"y":4}],"note":"a text beyond the small buffer",)"
      R"("hole":{"x":7,"y":8},"table":[[1]]})",
      &row));
  const char* const characters = row.note->data();
  const std::size_t capacity = row.corners.capacity();
  ASSERT_TRUE(
      parser->parse(R"({"centre":{"x":9,"y":9},"corners":[],"note":"short","table":[]})", &row));
  EXPECT_EQ(row.note, "short");
  EXPECT_EQ(row.note->data(), characters);
  EXPECT_TRUE(row.corners.empty());
  EXPECT_EQ(row.corners.capacity(), capacity);
  EXPECT_FALSE(row.hole);
  ASSERT_TRUE(
      parser->parse(R"({"centre":{"x":9,"y":9},"corners":[],"note":null,"table":[]})", &row));
  EXPECT_FALSE(row.note);
}

TEST(JsonParser, CountsTheLastOfAMemberGivenTwice) {
  EXPECT_EQ(parsed<JsonPoint>(R"({"x":1,"y":2,"x":3})"), (JsonPoint{3, 2}));
}

TEST(JsonParser, KnowsMembersWhoseNamesAreEscaped) {
  EXPECT_EQ(parsed<JsonPoint>(R"({"\u0078":1,"y":2})"), (JsonPoint{1, 2}));
  EXPECT_THAT(problem<JsonPoint>(R"({"\u00zz":1,"x":1,"y":2})"), HasSubstr("malformed JSON"));
}

TEST(JsonParser, ReadsTimesAsMillisecondsAndAsText) {
  EXPECT_EQ(parsed<OneTime>(R"({"v":1700000000123})").v, Timestamp{1'700'000'000'123ms});
  EXPECT_EQ(parsed<OneTime>(R"({"v":1700000000123.456})").v, Timestamp{1'700'000'000'123'456us});
  EXPECT_EQ(parsed<OneTime>(R"({"v":-1})").v, Timestamp{-1ms});
  EXPECT_EQ(parsed<OneTime>(R"({"v":"2023-11-14T22:13:20.000001Z"})").v,
            Timestamp{1'700'000'000'000'001us});
  EXPECT_THAT(problem<OneTime>(R"({"v":"yesterday"})"),
              AllOf(HasSubstr("field \"v\" at byte 5"), HasSubstr("\"yesterday\" is no ISO-8601")));
  EXPECT_THAT(problem<OneTime>(R"({"v":9223372036854775807})"), HasSubstr("milliseconds"));
  EXPECT_THAT(problem<OneTime>(R"({"v":true})"), HasSubstr("found a bool"));
}

TEST(JsonParser, RefusesAMissingFieldByName) {
  EXPECT_EQ(problem<JsonOrder>(R"({"user":1,"item":2,"ts":3})"),
            "field \"amount\": it is missing (only a std::optional may be)");
  EXPECT_THAT(problem<JsonShape>(R"({"centre":{"x":1},"corners":[],"table":[]})"),
              HasSubstr("field \"centre.y\": it is missing"));
  EXPECT_THAT(problem<JsonPoint>("{}"), HasSubstr("field \"x\": it is missing"));
}

TEST(JsonParser, NamesFieldOffsetAndWhatItFound) {
  EXPECT_EQ(problem<JsonOrder>(R"({"user":1,"item":"x","amount":1,"ts":1})"),
            "field \"item\" at byte 17: expected int64, found a string");
  EXPECT_EQ(problem<JsonOrder>(R"({"user":1.5,"item":1,"amount":1,"ts":1})"),
            "field \"user\" at byte 8: expected int64, found the number 1.5");
  EXPECT_THAT(problem<JsonOrder>(R"({"user":null,"item":1,"amount":1,"ts":1})"),
              HasSubstr("expected int64, found null"));
  EXPECT_THAT(problem<JsonOrder>(R"({"user":NaN,"item":1,"amount":1,"ts":1})"),
              HasSubstr("field \"user\" at byte 8: expected int64, found NaN"));
  EXPECT_THAT(problem<JsonText>(R"({"text":5})"),
              HasSubstr("expected a string, found the number 5"));
  EXPECT_THAT(
      problem<JsonShape>(
          R"({"centre":{"x":1,"y":2},"corners":[{"x":1,"y":2},{"x":1,"y":[]}],"table":[]})"),
      HasSubstr("field \"corners[1].y\" at byte 60: expected int32, found an array"));
  EXPECT_THAT(problem<JsonShape>(R"({"centre":{"x":1,"y":2},"corners":[],"table":[[1,2],[true]]})"),
              HasSubstr("field \"table[1][0]\""));
}

TEST(JsonParser, RefusesNumbersThatDoNotFit) {
  EXPECT_EQ(problem<OneI8>(R"({"v":128})"), "field \"v\": 128 does not fit int8");
  EXPECT_EQ(problem<OneU8>(R"({"v":256})"), "field \"v\": 256 does not fit uint8");
  EXPECT_EQ(problem<OneI32>(R"({"v":-2147483649})"), "field \"v\": -2147483649 does not fit int32");
  EXPECT_THAT(problem<OneI64>(R"({"v":9223372036854775808})"), HasSubstr("expected int64"));
  EXPECT_THAT(problem<OneU64>(R"({"v":18446744073709551616})"), HasSubstr("expected uint64"));
  EXPECT_THAT(problem<OneU64>(R"({"v":-1})"), HasSubstr("expected uint64"));
  EXPECT_THAT(problem<OneFloat>(R"({"v":1e39})"), HasSubstr("does not fit float"));
  EXPECT_THAT(problem<OneFloat>(R"({"v":1e999})"), HasSubstr("field \"v\""));
  EXPECT_THAT(problem<OneI32>(R"({"v":01})"), HasSubstr("field \"v\""));
}

// However many digits it has, with whatever before and behind it.
TEST(JsonParser, ReadsIntegersOfAnyLengthAndNothingElse) {
  std::string digits;
  for (int length = 1; length <= 25; ++length) {
    digits += static_cast<char>('0' + (length * 7 + 2) % 10);  // 9, 6, 3, 0, …
    for (const char* sign : {"", "-"}) {
      const std::string number = sign + digits;
      errno = 0;
      const std::int64_t value = std::strtoll(number.c_str(), nullptr, 10);
      const bool fits = errno == 0;
      for (const char* behind : {"", " ", "\t", "\n", "\r"}) {
        const std::string text = R"({"v":)" + number + behind + "}";
        if (fits) {
          EXPECT_EQ(parsed<OneI64>(text).v, value) << text;
        } else {
          EXPECT_NE(problem<OneI64>(text), "(accepted)") << text;
        }
        const std::string order = R"({"user":)" + number + behind + R"(,"item":1,"amount":2,"ts":3})";
        EXPECT_EQ(problem<JsonOrder>(order) == "(accepted)", fits) << order;
      }
      for (const char* behind : {"x", ".5", "e1", "\"", ":", "-", "\x01", "/"}) {
        EXPECT_NE(problem<OneI64>(R"({"v":)" + number + behind + "}"), "(accepted)") << number << behind;
      }
      EXPECT_NE(problem<OneI64>(R"({"v":)" + (sign + ("0" + digits)) + "}"), "(accepted)") << digits;
    }
  }
}

// With a space in front a record is none that is written without them.
template <class T>
void expect_same_with_a_space(const std::string& text, const T& of_before, RecordParser& parser) {
  T compact = of_before, spaced{};
  const bool taken = parser.parse(text, &compact);
  ASSERT_EQ(parser.parse(" " + text, &spaced), taken) << text;
  if (taken) {
    ASSERT_EQ(compact, spaced) << text;
  }
}

template <class T>
void expect_same_of_changed(const T& of_before, const std::vector<std::string>& texts) {
  static constexpr std::string_view kBytes = "0123456789{}[],:\"-.e+ \n\\abcnust\x01\xc3";
  std::mt19937 random(7);
  const auto below = [&](std::size_t n) { return random() % n; };
  const auto parser = parser_of<T>();
  int taken = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::string text = texts[below(texts.size())];
    for (std::size_t changes = below(4); changes > 0 && !text.empty(); --changes) {
      const std::size_t at = below(text.size());
      switch (below(5)) {
        case 0: text[at] = kBytes[below(kBytes.size())]; break;
        case 1: text.insert(at, 1, kBytes[below(kBytes.size())]); break;
        case 2: text.erase(at, 1 + below(3)); break;
        case 3: text.insert(at, text.substr(below(text.size()), below(12))); break;
        default: text.resize(1 + below(text.size()));
      }
    }
    T row{};
    taken += parser->parse(text, &row) ? 1 : 0;
    expect_same_with_a_space(text, of_before, *parser);
  }
  EXPECT_GT(taken, 10'000);
  EXPECT_LT(taken, 90'000);
}

TEST(JsonParser, ReadsWhatIsWrittenWithoutSpacesLikeWhatIsNot) {
  expect_same_of_changed(JsonOrder{9, 9, 9, {}},
                         {R"({"user":1234,"item":56,"amount":789,"ts":1700000000000})",
                          R"({"user":0,"item":123456789012345,"amount":1234567890123456,"ts":1})",
                          R"({"item":1,"user":-2,"amount":3,"ts":"2023-11-14T22:13:20Z"})"});
  expect_same_of_changed(JsonVisit{.page = 8, .note = "of before"},
                         {R"({"a_very_long_name":1,"at":1700000000000,"n":12345678})",
                          R"({"page":7,"a_very_long_name":1,"at":2,"note":"x","n":3})",
                          R"({"page":null,"a_very_long_name":12,"at":2,"n":999999999999999})"});
}

TEST(JsonParser, RefusesMalformedBytes) {
  EXPECT_THAT(problem<JsonPoint>(""), HasSubstr("empty"));
  EXPECT_THAT(problem<JsonPoint>("   "), HasSubstr("malformed JSON"));
  EXPECT_THAT(problem<JsonPoint>("hello"), HasSubstr("expected an object, found hello"));
  EXPECT_THAT(problem<JsonPoint>("[1]"), HasSubstr("expected an object, found an array"));
  EXPECT_THAT(problem<JsonPoint>("5"), HasSubstr("expected an object, found 5"));
  EXPECT_THAT(problem<JsonPoint>(R"({"x":1 "y":2})"), HasSubstr("malformed JSON"));
  EXPECT_THAT(problem<JsonPoint>(R"({"x" 1,"y":2})"), HasSubstr("malformed JSON"));
  EXPECT_THAT(problem<JsonPoint>(R"({"x":1,"y":2,})"), HasSubstr("malformed JSON"));
  EXPECT_THAT(problem<JsonPoint>(R"({"x":1,"y":2)"), HasSubstr("bracket"));
  EXPECT_THAT(problem<JsonText>("{\"text\":\"a\nb\"}"), HasSubstr("malformed JSON"));
  EXPECT_THAT(problem<JsonText>(R"({"text":"\q"})"), HasSubstr("field \"text\""));
  EXPECT_THAT(problem<JsonText>(R"({"text":"abc)"), HasSubstr("malformed JSON"));
}

TEST(JsonParser, RefusesWhatStandsBehindTheObject) {
  for (const char* tail : {"x", "{}", "}", "]", ",", "0", "\"\"", " {\"x\":1,\"y\":2}"}) {
    EXPECT_NE(problem<JsonPoint>(std::string(R"({"x":1,"y":2})") + tail), "(accepted)") << tail;
  }
}

TEST(JsonParser, RefusesEveryTruncation) {
  const std::string whole =
      R"({"centre":{"x":1,"y":2},"corners":[{"x":3,"y":4}],"note":"n","table":[[1],[]],)"
      R"("hole":{"x":7,"y":8}})";
  auto parser = parser_of<JsonShape>();
  JsonShape row;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // A longer record before it leaves brackets behind in the parser's buffer.
    ASSERT_TRUE(parser->parse(whole + std::string(size % 7, ' '), &row));
    EXPECT_FALSE(parser->parse(std::string_view(whole).substr(0, size), &row)) << size;
  }
}

TEST(JsonParser, DoesNotUseWhatLiesBehindAPaddedRecord) {
  auto parser = parser_of<JsonShape>();
  JsonShape row;
  const std::string cut = R"({"centre":{"x":1,"y":2},"corners":[],"table":[],"hole":{"x":7,"y":8})";
  std::string padded = cut;
  padded.resize(cut.size() + kFormatPaddingBytes, '}');
  EXPECT_FALSE(parser->parse_padded({padded.data(), cut.size()}, &row));
  padded[cut.size()] = '}';
  padded.replace(cut.size() + 1, kFormatPaddingBytes - 1, kFormatPaddingBytes - 1, ',');
  EXPECT_TRUE(parser->parse_padded({padded.data(), cut.size() + 1}, &row)) << parser->problem();
}

// Not even when a longer record was there before, and names are longer than the padding.
TEST(JsonParser, ReadsNothingBehindThePadding) {
  const std::string name(80, 'n');
  const std::string whole = "{\"n\":1,\"" + name + "\":2,\"m\":3}";
  const TypeInfo* const number = type_info<OneI64>().fields[0].type;
  const std::vector<FieldInfo> fields{{"n", number, 0}, {name, number, 8}, {"m", number, 16}};
  TypeInfo type = type_info<OneI64>();
  type.size_bytes = 24;
  type.fields = fields;
  const auto parser = json().make_parser(type);
  std::int64_t row[3] = {};
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    // What can be read ends where the padding does.
    const auto bytes = std::make_unique<char[]>(size + kFormatPaddingBytes);
    std::memcpy(bytes.get(), whole.data(), std::min(whole.size(), size + kFormatPaddingBytes));
    EXPECT_EQ(parser->parse_padded({bytes.get(), size}, row), size == whole.size()) << size;
  }
  EXPECT_THAT(row, ElementsAre(1, 2, 3));
}

TEST(JsonParser, RefusesTextThatIsNotUtf8) {
  EXPECT_EQ(problem<JsonText>("{\"text\":\"\xc3\x28\"}"), "at byte 9: not UTF-8");
  EXPECT_EQ(problem<JsonText>("{\"text\":\"\xed\xa0\x80\"}"), "at byte 9: not UTF-8");
  EXPECT_THAT(problem<JsonText>(R"({"text":"\ud800"})"), HasSubstr("field \"text\""));
}

TEST(JsonParser, RefusesNestingBeyond128) {
  const auto nested = [](std::size_t depth) {
    return R"({"deep":)" + std::string(depth, '[') + std::string(depth, ']') + R"(,"text":"t"})";
  };
  EXPECT_EQ(problem<JsonText>(nested(128)), "(accepted)");
  EXPECT_THAT(problem<JsonText>(nested(129)),
              AllOf(HasSubstr("field \"deep\""), HasSubstr("nested deeper than 128")));
  EXPECT_NE(problem<JsonText>(nested(100'000)), "(accepted)");
}

TEST(JsonParser, ChecksUnknownMembersToo) {
  for (const char* value : {"tru", "nul", "1.2.3", R"("\q")", "[1 2]", R"({"a" 1})", "[,]", "-"}) {
    EXPECT_NE(problem<JsonText>(std::string(R"({"u":)") + value + R"(,"text":"t"})"), "(accepted)")
        << value;
  }
}

TEST(JsonParser, GoesOnAfterABadRecord) {
  auto parser = parser_of<JsonPoint>();
  JsonPoint row;
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(parser->parse(R"({"x":"bad"})", &row));
    EXPECT_TRUE(parser->parse(R"({"x":1,"y":2})", &row));
  }
}

TEST(JsonParser, ReadsRecordsOfAnySize) {
  auto parser = parser_of<JsonText>();
  JsonText row;
  for (const std::size_t size : {0, 1, 63, 64, 65, 4095, 1 << 20, 3}) {
    const std::string text(size, 'x');
    ASSERT_TRUE(parser->parse(R"({"text":")" + text + R"("})", &row)) << parser->problem();
    EXPECT_EQ(row.text, text);
  }
}

TEST(JsonParser, RefusesRowTypesThatJsonCannotHold) {
  EXPECT_THROW(json().make_parser(type_info<int>()), FormatError);
  try {
    json().make_parser(type_info<JsonOpaque>());
    FAIL() << "a pair has no notation";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("\"pair\""));
  }
  EXPECT_THROW(json().make_writer(type_info<JsonOpaque>()), FormatError);
}

}  // namespace
}  // namespace levada
