#include "core/schema_json.h"

#include <limits>

#include <gtest/gtest.h>

#include "levada/aggregate.h"
#include "levada/error.h"
#include "levada/serde.h"

#include "support/schema_model.h"
#include "support/seed.h"

namespace schema_json_test {

struct Row {
  std::string user;
  std::optional<std::int32_t> amount;
  std::vector<std::string> tags;
};
LEVADA_RECORD(Row, user, amount, tags)

}  // namespace schema_json_test

namespace levada {
namespace {

using schema_json_test::Row;

template <class T>
std::string json(const T& value) {
  Bytes bytes;
  Serde<T>::write(value, bytes);
  View in(bytes);
  std::string out;
  append_json(parse_schema(Serde<T>::schema()), in, out);
  EXPECT_TRUE(in.empty());
  return out;
}

TEST(SchemaJson, WritesEveryShape) {
  EXPECT_EQ(json(Row{"ann", 5, {"a", "b"}}), R"({"user":"ann","amount":5,"tags":["a","b"]})");
  EXPECT_EQ(json(Row{}), R"({"user":"","amount":null,"tags":[]})");
  EXPECT_EQ(json(std::tuple{true, std::int8_t{-1}, std::uint8_t{200}}), "[true,-1,200]");
  EXPECT_EQ(json(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(json(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(json(std::array<std::int16_t, 2>{1, 2}), "[1,2]");
  EXPECT_EQ(json(0.1), "0.1");
  EXPECT_EQ(json(0.1f), "0.1");
  EXPECT_EQ(json(std::numeric_limits<double>::quiet_NaN()), "\"NaN\"");
  EXPECT_EQ(json(-std::numeric_limits<float>::infinity()), "\"-Infinity\"");
  EXPECT_EQ(json(std::chrono::seconds{-7}), "-7");
  EXPECT_EQ(json(Window{Timestamp{0s}, Timestamp{10s}}),
            R"({"start":"1970-01-01T00:00:00.000000Z","end":"1970-01-01T00:00:10.000000Z"})");
}

TEST(SchemaJson, WritesTimesAsTextWhereYearsHaveFourDigits) {
  EXPECT_EQ(json(Timestamp{1700000000123456us}), "\"2023-11-14T22:13:20.123456Z\"");
  EXPECT_EQ(json(Timestamp{-1us}), "\"1969-12-31T23:59:59.999999Z\"");
  EXPECT_EQ(json(Timestamp{-62'167'219'200'000'000us}), "\"0000-01-01T00:00:00.000000Z\"");
  EXPECT_EQ(json(Timestamp{-62'167'219'200'000'001us}), "-62167219200000001");
  EXPECT_EQ(json(Timestamp{253'402'300'799'999'999us}), "\"9999-12-31T23:59:59.999999Z\"");
  EXPECT_EQ(json(Timestamp{253'402'300'800'000'000us}), "253402300800000000");
}

TEST(SchemaJson, EscapesTextAndReplacesWhatIsNotUtf8) {
  EXPECT_EQ(json(std::string("a\"b\\c\n\x01")), R"("a\"b\\c\u000a\u0001")");
  EXPECT_EQ(json(std::string("äöü €😀")), "\"äöü €😀\"");
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(json(std::string("a\xff\xc3")), "\"a" + bad + bad + "\"");
  EXPECT_EQ(json(std::string("\xc0\xaf")), "\"" + bad + bad + "\"");          // longer than need be
  EXPECT_EQ(json(std::string("\xed\xa0\x80")), "\"" + bad + bad + bad + "\"");  // half of a pair
  EXPECT_EQ(json(std::string("\xf4\x90\x80\x80")), "\"" + bad + bad + bad + bad + "\"");
}

TEST(SchemaJson, RefusesWhatItCannotRead) {
  std::string out;
  const Bytes bytes(16, '\xff');
  for (const char* text : {"money", "{a:int8,b:money}", "[int64]", "string", "[nothing {}]",
                           "[nothing {};99999999999]", "(int64,int64,int64,)"}) {
    View in(bytes);
    EXPECT_THROW(append_json(parse_schema(text), in, out), StateError) << text;
  }
}

TEST(SchemaJson, TakesExactlyTheBytesOfAValue) {
  const std::uint64_t seed = testing::first_seed();
  for (std::uint64_t i = 0; i < testing::seed_count(2000); ++i) {
    testing::SchemaModel model(seed + i);
    const Schema schema = model.schema(4);
    Bytes bytes;
    testing::SchemaModel::encode(model.value(schema), schema, bytes);
    bytes += "rest";
    View in(bytes);
    std::string out;
    append_json(schema, in, out);
    ASSERT_EQ(in.rest(), "rest") << to_text(schema) << " seed " << seed + i;
    for (std::size_t flip = 0; flip < 8; ++flip) {
      Bytes damaged = bytes;
      damaged[model.random().below(damaged.size())] ^= static_cast<char>(1 << flip);
      View damaged_in(damaged);
      try {
        append_json(schema, damaged_in, out);
      } catch (const StateError&) {
      }
    }
  }
}

}  // namespace
}  // namespace levada
