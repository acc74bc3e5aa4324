#include "core/schema.h"

#include <gtest/gtest.h>

#include "levada/aggregate.h"
#include "levada/serde.h"

#include "base/random.h"
#include "core/encoding_walk.h"
#include "levada/error.h"
#include "support/schema_model.h"
#include "support/seed.h"

namespace schema_test {

struct Point {
  std::int32_t x = 0;
  std::uint8_t y = 0;
};
LEVADA_RECORD(Point, x, y)

struct Row {
  std::string user;
  std::vector<std::optional<Point>> points;
  std::array<std::tuple<bool, double>, 2> pairs;
  levada::Timestamp at{};
  std::chrono::seconds took{};
  std::chrono::duration<std::int32_t, std::milli> pause{};
};
LEVADA_RECORD(Row, user, points, pairs, at, took, pause)

struct Money {
  std::int64_t cents = 0;
};

}  // namespace schema_test

template <>
struct levada::Serde<schema_test::Money> {
  static void write(const schema_test::Money& money, Bytes& out) {
    put_varint(out, static_cast<std::uint64_t>(money.cents));
  }
  static void read(View& in, schema_test::Money& into) {
    into.cents = static_cast<std::int64_t>(in.take_varint());
  }
  static std::string schema() { return "money"; }
};

namespace levada {
namespace {

using schema_test::Money;
using schema_test::Row;
using Shape = Schema::Shape;

template <class T>
Schema schema_of_type() {
  return parse_schema(Serde<T>::schema());
}

TEST(Schema, IsTheTreeOfTheTextOfEveryShape) {
  const std::string text = Serde<Row>::schema();
  EXPECT_EQ(text,
            "{user:string,points:[{x:int32,y:uint8}?],pairs:[(bool,double,);2],at:timestamp,"
            "took:duration(1/1),pause:duration(1/1000,int32)}");
  const Schema row = parse_schema(text);
  ASSERT_EQ(row.shape, Shape::kRecord);
  EXPECT_EQ(row.fields, (std::vector<std::string>{"user", "points", "pairs", "at", "took", "pause"}));
  ASSERT_EQ(row.parts[1].shape, Shape::kList);
  ASSERT_EQ(row.parts[1].parts[0].shape, Shape::kOptional);
  EXPECT_EQ(row.parts[1].parts[0].parts[0].parts[1].number, TypeKind::kUint8);
  ASSERT_EQ(row.parts[2].shape, Shape::kArray);
  EXPECT_EQ(row.parts[2].length, 2u);
  EXPECT_EQ(row.parts[2].parts[0].shape, Shape::kTuple);
  EXPECT_EQ(row.parts[4].number, TypeKind::kInt64);
  EXPECT_EQ(row.parts[5].number, TypeKind::kInt32);
  EXPECT_EQ(row.parts[5].name, "1/1000");
}

TEST(Schema, KnowsTypesWithASerdeOfTheirOwnByTheirWord) {
  const Schema money = schema_of_type<Money>();
  EXPECT_EQ(money.shape, Shape::kOpaque);
  EXPECT_EQ(money.name, "money");
  const Schema window = schema_of_type<std::optional<Window>>();
  ASSERT_EQ(window.shape, Shape::kOptional);
  ASSERT_EQ(window.parts[0].shape, Shape::kNamed);
  EXPECT_EQ(window.parts[0].name, "window");
  EXPECT_EQ(window.parts[0].parts[0].fields, (std::vector<std::string>{"start", "end"}));
  const Schema least = parse_schema("min int64?");
  ASSERT_EQ(least.shape, Shape::kOptional);
  EXPECT_EQ(least.parts[0].shape, Shape::kNamed);
  EXPECT_EQ(parse_schema("nothing {}").shape, Shape::kNamed);
  EXPECT_EQ(parse_schema("ns::Decimal<2>").shape, Shape::kOpaque);
  EXPECT_EQ((schema_of_type<Aggregated<std::string, std::int64_t>>().shape), Shape::kRecord);
}

TEST(Schema, OfATableHasOneTreeAPart) {
  const std::vector<Schema> parts = parse_table_schema("string -> (int64,min int32,)");
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].shape, Shape::kString);
  EXPECT_EQ(parts[1].parts[1].shape, Shape::kNamed);
  EXPECT_EQ(parse_table_schema("money -> money").size(), 2u);
  EXPECT_EQ(parse_table_schema("string -> int64 -> int32").size(), 3u);
  for (const std::string text : {"", "string ->", "string -> ", "string->int64", " -> int64", "a b c -> d?e"}) {
    const std::vector<Schema> one = parse_table_schema(text);
    ASSERT_EQ(one.size(), 1u) << text;
    EXPECT_EQ(one[0].shape, Shape::kOpaque) << text;
    EXPECT_EQ(one[0].name, text);
  }
}

TEST(Schema, IsOpaqueWhereTheTextIsNotOfTheGrammar) {
  for (const std::string text :
       {"", "{", "{a}", "{a:}", "{a:int64", "{a:int64,}", "{a:int64,a:int32}", "{:int64}", "[int64", "[]",
        "[int64;]", "[int64;-1]", "[int64;01]", "[int64;99999999999999999999]", "(int64)", "(int64,",
        "duration", "duration(1/)x", "duration(1/1000,int64)", "duration(1/1,money)", "?", "int64 ?", " int64",
        "int64 ", "int64,int64", "money ", "money\t{}", "1money"}) {
    const Schema schema = parse_schema(text);
    EXPECT_EQ(schema.shape, Shape::kOpaque) << text;
    EXPECT_EQ(to_text(schema), text);
  }
}

TEST(Schema, DoesNotFollowATextAsDeepAsItLikes) {
  for (const char open : {'[', '(', '{'}) {
    EXPECT_EQ(parse_schema(std::string(1'000'000, open)).shape, Shape::kOpaque);
  }
  EXPECT_EQ(parse_schema("int64" + std::string(1'000'000, '?')).shape, Shape::kOpaque);
  std::string words;
  for (int i = 0; i < 100'000; ++i) words += "a ";
  EXPECT_EQ(parse_schema(words + "int64").shape, Shape::kOpaque);
}

TEST(Schema, ReadsBackWhatItWrites) {
  const std::uint64_t seed = testing::first_seed();
  for (std::uint64_t i = 0; i < testing::seed_count(5000); ++i) {
    testing::SchemaModel model(seed + i);
    const Schema schema = model.schema(4);
    const std::string text = to_text(schema);
    ASSERT_EQ(parse_schema(text), schema) << text << " seed " << seed + i;
  }
}

TEST(Schema, SurvivesAnyBytes) {
  const std::uint64_t seed = testing::first_seed();
  constexpr std::string_view kLetters = "{}[]();,:?- >01ab_int64string\n\xff";
  for (std::uint64_t i = 0; i < testing::seed_count(20'000); ++i) {
    testing::SchemaModel model(seed + i);
    std::string text = to_text(model.schema(3));
    for (std::uint64_t change = 1 + model.random().below(3); change > 0; --change) {
      const std::size_t at = model.random().below(text.size() + 1);
      const char letter = kLetters[model.random().below(kLetters.size())];
      switch (model.random().below(3)) {
        case 0: text.insert(at, 1, letter); break;
        case 1: text.erase(at, 1); break;
        default: if (at < text.size()) text[at] = letter;
      }
    }
    ASSERT_EQ(to_text(parse_schema(text)), text) << "seed " << seed + i;
    ASSERT_FALSE(parse_table_schema(text).empty());
  }
}

TEST(EncodingWalk, StepsOverEveryValueAndRefusesEveryEarlyEnd) {
  const std::uint64_t seed = testing::first_seed();
  for (std::uint64_t i = 0; i < testing::seed_count(3000); ++i) {
    testing::SchemaModel model(seed + i);
    const Schema schema = model.schema(4);
    Bytes bytes;
    testing::SchemaModel::encode(model.value(schema), schema, bytes);
    const auto walk = EncodingWalk::of(schema, {});
    ASSERT_TRUE(walk);
    View in(bytes);
    walk->skip(in);
    ASSERT_TRUE(in.empty()) << to_text(schema) << " seed " << seed + i;
    ASSERT_EQ(walk->fixed_bytes().value_or(bytes.size()), bytes.size());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      View cut(bytes.data(), size);
      ASSERT_THROW(walk->skip(cut), StateError) << to_text(schema) << " seed " << seed + i;
    }
  }
}

TEST(EncodingWalk, NeedsToKnowWhatIsOpaque) {
  const Schema schema = parse_schema("{a:int64,paid:money?}");
  std::string missing;
  EXPECT_FALSE(EncodingWalk::of(schema, {}, &missing));
  EXPECT_EQ(missing, "money");
  OpaqueTypes known;
  add_opaque_types(state_type<std::vector<std::pair<int, Money>>>(), known);
  const auto walk = EncodingWalk::of(schema, known);
  ASSERT_TRUE(walk);
  const Bytes bytes("12345678\1\x80\1rest");
  View in(bytes);
  walk->skip(in);
  EXPECT_EQ(in.rest(), "rest");
}

TEST(EncodingWalk, EndsWithListsThatLie) {
  Bytes bytes;
  put_varint(bytes, UINT64_MAX);
  for (const char* text : {"[int64]", "[string]", "[nothing {}]", "[[nothing {};1000000000000]]",
                           "[[int64;4611686018427387904];4611686018427387904]"}) {
    const auto walk = EncodingWalk::of(parse_schema(text), {});
    ASSERT_TRUE(walk) << text;
    View in(bytes);
    if (std::string_view(text).find("nothing") != std::string_view::npos) {
      walk->skip(in);  // any number of nothings is no bytes
      EXPECT_TRUE(in.empty());
    } else {
      EXPECT_THROW(walk->skip(in), StateError) << text;
    }
  }
}

}  // namespace
}  // namespace levada
