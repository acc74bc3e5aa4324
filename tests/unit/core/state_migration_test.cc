#include "core/state_migration.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"
#include "levada/serde.h"

#include "core/schema.h"
#include "support/schema_model.h"
#include "support/seed.h"

namespace migration_test {

// Versions of one record, each in a struct of its own.
struct ItemV1 {
  std::string name;
  std::int16_t count = 0;
};
LEVADA_RECORD(ItemV1, name, count)
struct ItemV2 {
  std::int32_t count = 0;
  std::string name;
  std::optional<std::string> note = "none yet";
};
LEVADA_RECORD(ItemV2, count, name, note)

struct OrderV1 {
  std::string user;
  std::int32_t amount = 0;
  std::uint32_t flags = 0;
  std::vector<ItemV1> items;
  std::string obsolete;
  bool operator==(const OrderV1&) const = default;
};
LEVADA_RECORD(OrderV1, user, amount, flags, items, obsolete)
struct OrderV2 {
  std::string currency = "EUR";
  std::vector<ItemV2> items;
  std::int64_t amount = 0;
  std::optional<std::string> user;
  std::int64_t flags = 0;
  std::vector<int> ranks = {1, 2, 3};
  ItemV2 first = {.count = 9, .name = "first"};
};
LEVADA_RECORD(OrderV2, currency, items, amount, user, flags, ranks, first)

struct Money {
  std::uint64_t cents = 0;
};
struct WithMoneyV1 {
  Money paid;
  std::int32_t count = 0;
};
LEVADA_RECORD(WithMoneyV1, paid, count)
struct WithMoneyV2 {
  std::int64_t count = 0;
  std::optional<Money> paid;
  Money owed = {300};
};
LEVADA_RECORD(WithMoneyV2, count, paid, owed)
struct WithoutMoney {
  std::int32_t count = 0;
};
LEVADA_RECORD(WithoutMoney, count)

}  // namespace migration_test

template <>
struct levada::Serde<migration_test::Money> {
  static void write(const migration_test::Money& money, Bytes& out) { put_varint(out, money.cents); }
  static void read(View& in, migration_test::Money& into) { into.cents = in.take_varint(); }
  static std::string schema() { return "money"; }
};

namespace levada {
namespace {

using namespace migration_test;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

template <class From, class To>
StateMigration migration_of() {
  const StateType* const types[] = {&state_type<std::string>(), &state_type<To>()};
  return plan_migration("string -> " + Serde<From>::schema(), "string -> " + Serde<To>::schema(), types);
}

template <class From, class To>
To migrated(const From& from) {
  const StateMigration migration = migration_of<From, To>();
  EXPECT_THAT(migration.problems, IsEmpty());
  if (!migration.transcoder) throw std::logic_error("nothing to migrate");
  Bytes bytes;
  Serde<std::string>::write("key", bytes);
  Serde<From>::write(from, bytes);
  Bytes made;
  migration.transcoder->transcode(View(bytes), 1, made);
  View in(made);
  std::string key;
  To to;
  Serde<std::string>::read(in, key);
  EXPECT_EQ(key, "key");
  Serde<To>::read(in, to);
  EXPECT_TRUE(in.empty());
  return to;
}

// The problems of reading `written` as `wanted`, without types.
std::vector<std::string> problems(const std::string& written, const std::string& wanted) {
  return plan_migration("string -> " + written, "string -> " + wanted, {}).problems;
}

TEST(StateMigration, IsNothingWhereTheSchemasAreTheSame) {
  const StateMigration same = migration_of<OrderV1, OrderV1>();
  EXPECT_FALSE(same.refused());
  EXPECT_THAT(same.changes, IsEmpty());
  EXPECT_EQ(same.transcoder, nullptr);
  EXPECT_EQ(plan_migration("any text", "any text", {}).transcoder, nullptr);
}

TEST(StateMigration, AddsRemovesReordersAndWidensFieldsAtAnyDepth) {
  const OrderV2 order = migrated<OrderV1, OrderV2>(
      {"ann", -5, 0xffffffff, {{"pear", -7}, {"fig", 8}}, "gone"});
  EXPECT_EQ(order.currency, "EUR");
  EXPECT_EQ(order.amount, -5);
  EXPECT_EQ(order.user, "ann");
  EXPECT_EQ(order.flags, 0xffffffff);
  EXPECT_EQ(order.ranks, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(order.first.count, 9);
  EXPECT_EQ(order.first.name, "first");
  EXPECT_EQ(order.first.note, "none yet");
  ASSERT_EQ(order.items.size(), 2u);
  EXPECT_EQ(order.items[0].name, "pear");
  EXPECT_EQ(order.items[0].count, -7);
  EXPECT_EQ(order.items[0].note, "none yet");
  EXPECT_EQ(order.items[1].count, 8);
}

TEST(StateMigration, SaysWhatChanges) {
  EXPECT_THAT((migration_of<OrderV1, OrderV2>().changes),
              UnorderedElementsAre(
                  "currency: added", "items[].count: int16 -> int32", "items[].note: added",
                  "items[]: its fields are in another order", "amount: int32 -> int64",
                  "user: string -> string?", "flags: uint32 -> int64", "ranks: added", "first: added",
                  "obsolete: removed", "the value: its fields are in another order"));
}

TEST(StateMigration, GoesThroughOptionalsTuplesAndArrays) {
  using From = std::tuple<std::optional<ItemV1>, std::array<ItemV1, 2>, std::pair<std::uint8_t, bool>>;
  using To = std::tuple<std::optional<ItemV2>, std::array<ItemV2, 2>, std::pair<std::int16_t, bool>>;
  const To made = migrated<From, To>({ItemV1{"a", 1}, {{{"b", 2}, {"c", -3}}}, {200, true}});
  EXPECT_EQ(std::get<0>(made)->name, "a");
  EXPECT_EQ(std::get<1>(made)[1].count, -3);
  EXPECT_EQ(std::get<1>(made)[1].note, "none yet");
  EXPECT_EQ(std::get<2>(made), (std::pair<std::int16_t, bool>{200, true}));
  EXPECT_FALSE(std::get<0>(migrated<From, To>({})));
  EXPECT_EQ((migrated<std::int8_t, std::optional<std::int64_t>>(-1)), std::int64_t{-1});
}

TEST(StateMigration, RefusesWithThePathOfWhatIsToBlame) {
  EXPECT_THAT(problems("{amount:int64}", "{amount:int32}"), ElementsAre("amount: int64 -> int32 narrows"));
  EXPECT_THAT(problems("{a:[{b:(int8,uint8,)?}]}", "{a:[{b:(int8,int8,)?}]}"),
              ElementsAre("a[].b<1>: uint8 -> int8 narrows"));
  EXPECT_THAT(problems("{a:int8,b:double}", "{a:uint64,b:float}"),
              ElementsAre("a: int8 -> uint64 loses the sign", "b: double -> float is another kind of number"));
  EXPECT_THAT(problems("{a:int64?}", "{a:int64}"), ElementsAre("a: int64? -> int64 may have been empty"));
  EXPECT_THAT(problems("{a:string}", "{a:[string]}"),
              ElementsAre("a: string -> [string] was a string and is a list"));
  EXPECT_THAT(problems("int64", "{a:int64}"),
              ElementsAre("the value: int64 -> {a:int64} was a number and is a record"));
  EXPECT_THAT(problems("[bool;2]", "[bool;3]"), ElementsAre(HasSubstr("another length")));
  EXPECT_THAT(problems("(bool,)", "(bool,bool,)"), ElementsAre(HasSubstr("another number of parts")));
  EXPECT_THAT(problems("duration(1/1)", "duration(1/1000)"), ElementsAre(HasSubstr("another unit")));
  EXPECT_THAT(problems("timestamp", "int64"), ElementsAre(HasSubstr("was a timestamp and is a number")));
  EXPECT_THAT(problems("min int32", "min int64"), ElementsAre(HasSubstr("must stay the same")));
  EXPECT_THAT(problems("{a:int64}", "{a:int64,b:int8}"), ElementsAre(HasSubstr("b: is new, and nothing is known")));
  EXPECT_THAT(problems("[nothing {}]", "[{}]"), ::testing::Not(IsEmpty()));
}

TEST(StateMigration, RefusesAnotherKey) {
  for (const char* key : {"int64", "{b:int8,a:int32}", "{a:int32,b:int16}", "{a:int32,c:int8}", "{a:int32}"}) {
    const StateMigration migration =
        plan_migration("{a:int32,b:int8} -> {x:int8}", std::string(key) + " -> {x:int16}", {});
    EXPECT_THAT(migration.problems, Contains(AllOf(HasSubstr("the key: {a:int32,b:int8} -> "),
                                                   HasSubstr("hash")))) << key;
    EXPECT_EQ(migration.transcoder, nullptr);
  }
  EXPECT_THAT(plan_migration("string -> int64", "string -> string -> int64", {}).problems,
              ElementsAre(HasSubstr("the state")));
}

TEST(StateMigration, StepsOverTypesWithASerdeOfTheirOwn) {
  const WithMoneyV2 made = migrated<WithMoneyV1, WithMoneyV2>({{1000}, -3});
  EXPECT_EQ(made.count, -3);
  EXPECT_EQ(made.paid->cents, 1000u);
  EXPECT_EQ(made.owed.cents, 300u);
  EXPECT_THAT((migration_of<WithMoneyV1, WithoutMoney>().problems),
              ElementsAre("paid: cannot be left out: only the Serde of 'money' knows where it ends"));
  EXPECT_THAT((migration_of<Money, std::uint64_t>().problems), ElementsAre(HasSubstr("must stay the same")));
}

TEST(StateMigration, AgreesWithTheModelForRandomSchemas) {
  const std::uint64_t seed = testing::first_seed();
  std::uint64_t refused = 0;
  std::uint64_t changed = 0;
  const std::uint64_t count = testing::seed_count(4000);
  for (std::uint64_t i = 0; i < count; ++i) {
    testing::SchemaModel model(seed + i);
    const Schema key = model.schema(2);
    const Schema from = model.schema(4);
    bool ok = true;
    const Schema to = model.evolved(from, ok);
    const StateType& type = model.type_of(to);
    const StateType* const types[] = {&model.type_of(key), &type};
    const std::string what = to_text(key) + " -> " + to_text(from) + " => " + to_text(to) + ", seed " +
                             std::to_string(seed + i);
    const StateMigration migration = plan_migration(to_text(key) + " -> " + to_text(from),
                                                    to_text(key) + " -> " + to_text(to), types);
    ASSERT_EQ(migration.refused(), !ok) << what;
    ASSERT_EQ(migration.transcoder != nullptr, ok && from != to) << what;
    refused += ok ? 0 : 1;
    if (!migration.transcoder) continue;
    ++changed;
    ASSERT_THAT(migration.changes, ::testing::Not(IsEmpty())) << what;
    Bytes written;
    Bytes expected;
    const std::uint64_t entries = model.random().below(4);
    for (std::uint64_t entry = 0; entry < entries; ++entry) {
      const auto key_value = model.value(key);
      const auto value = model.value(from);
      testing::SchemaModel::encode(key_value, key, written);
      testing::SchemaModel::encode(value, from, written);
      testing::SchemaModel::encode(key_value, key, expected);
      testing::SchemaModel::encode(testing::SchemaModel::converted(value, from, to, type), to, expected);
    }
    Bytes made;
    migration.transcoder->transcode(View(written), entries, made);
    ASSERT_EQ(made, expected) << what;
    if (written.empty()) continue;
    const View cut(written.data(), written.size() - 1);
    ASSERT_THROW(migration.transcoder->transcode(cut, entries, made), StateError) << what;
    written += '\0';
    ASSERT_THROW(migration.transcoder->transcode(View(written), entries, made), StateError) << what;
  }
  if (count > 1) {
    EXPECT_GT(refused, count / 20);
    EXPECT_GT(changed, count / 8);
  }
}

TEST(StateMigration, SurvivesDamagedBytesWithoutMakingMoreThanIsThere) {
  const std::uint64_t seed = testing::first_seed();
  for (std::uint64_t i = 0; i < testing::seed_count(3000); ++i) {
    testing::SchemaModel model(seed + i);
    const Schema from = model.schema(4);
    bool ok = true;
    const Schema to = model.evolved(from, ok);
    const StateType* const types[] = {&model.type_of(to)};
    const StateMigration migration = plan_migration(to_text(from), to_text(to), types);
    if (!migration.transcoder) continue;
    Bytes bytes;
    testing::SchemaModel::encode(model.value(from), from, bytes);
    if (bytes.empty()) continue;
    for (int flip = 0; flip < 3; ++flip) {
      bytes[model.random().below(bytes.size())] ^= static_cast<char>(1 << model.random().below(8));
    }
    Bytes made;
    try {
      migration.transcoder->transcode(View(bytes), 1, made);
    } catch (const StateError&) {
    }
    // Every byte that was there can at most make room for the defaults of all records around it.
    ASSERT_LE(made.size(), (bytes.size() + 1) * 100'000) << "seed " << seed + i;
  }
}

}  // namespace
}  // namespace levada
