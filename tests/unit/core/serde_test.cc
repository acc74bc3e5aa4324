#include "levada/serde.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "levada/error.h"

namespace serde_test {

enum class Colour : std::uint8_t { kRed = 1, kBlue = 7 };

struct Point {
  std::int32_t x = 0;
  std::int32_t y = 0;
  bool operator==(const Point&) const = default;
};
LEVADA_RECORD(Point, x, y)

struct Order {
  std::int64_t user = 0;
  std::string item;
  std::vector<std::string> tags;
  std::optional<Point> at;
  levada::Timestamp ts{};
  levada::Duration took{};
  bool operator==(const Order&) const = default;
};
LEVADA_RECORD(Order, user, item, tags, at, ts, took)

// A number with an encoding of its own, and the rest of its Serde from another type's.
struct Id {
  std::int64_t number = 0;
  operator std::int64_t() const { return number; }
};

struct Sale {
  Id id;
  Point at;
  Colour colour = Colour::kRed;
  bool paid = false;
};

}  // namespace serde_test

template <>
struct levada::Serde<serde_test::Id> : levada::Serde<std::int64_t> {
  static void write(const serde_test::Id& id, Bytes& out) {
    put_varint(out, static_cast<std::uint64_t>(id.number));
  }
  static void read(View& in, serde_test::Id& into) { into.number = static_cast<std::int64_t>(in.take_varint()); }
};

namespace serde_test {

LEVADA_RECORD(Sale, id, at, colour, paid)

}  // namespace serde_test

namespace levada {
namespace {

using serde_test::Colour;
using serde_test::Order;
using serde_test::Point;

const std::string kLong(100, 'x');

Order sample_order() {
  return {1234, "levada", {"a", kLong}, Point{3, -4}, Timestamp{1700000000s}, 5ms};
}

template <class T>
Bytes encoded(const T& value) {
  Bytes out;
  Serde<T>::write(value, out);
  return out;
}

std::string hex(const Bytes& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

// Back to the same value, into a used one; every early end is refused; equal values, equal hashes.
template <class T>
void expect_round_trip(const T& value, T used = T{}) {
  const Bytes bytes = encoded(value);
  View in(bytes);
  Serde<T>::read(in, used);
  EXPECT_TRUE(in.empty());
  EXPECT_EQ(used, value);
  EXPECT_EQ(hash_of(used), hash_of(value));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    View cut(bytes.data(), size);
    T into{};
    EXPECT_THROW(Serde<T>::read(cut, into), StateError) << size;
  }
}

template <class N>
void expect_numbers_round_trip() {
  for (const N value : {N{0}, N{1}, std::numeric_limits<N>::min(), std::numeric_limits<N>::max(),
                        std::numeric_limits<N>::lowest()}) {
    expect_round_trip(value, N{5});
  }
}

TEST(Serde, RoundTripsNumbers) {
  expect_numbers_round_trip<std::int8_t>();
  expect_numbers_round_trip<std::uint8_t>();
  expect_numbers_round_trip<std::int16_t>();
  expect_numbers_round_trip<std::uint16_t>();
  expect_numbers_round_trip<std::int32_t>();
  expect_numbers_round_trip<std::uint32_t>();
  expect_numbers_round_trip<std::int64_t>();
  expect_numbers_round_trip<std::uint64_t>();
  expect_numbers_round_trip<float>();
  expect_numbers_round_trip<double>();
  expect_round_trip(true, false);
  expect_round_trip(false, true);
  expect_round_trip(Colour::kBlue, Colour::kRed);
  expect_round_trip(std::numeric_limits<double>::infinity());
}

TEST(Serde, RoundTripsTimes) {
  expect_round_trip(Timestamp{1700000000123456us}, kMaxWatermark);
  expect_round_trip(kNoTimestamp);
  expect_round_trip(Duration{-7}, Duration{9});
  expect_round_trip(std::chrono::milliseconds{1500});
}

TEST(Serde, RoundTripsStringsAndContainers) {
  expect_round_trip(std::string(), kLong);
  expect_round_trip(std::string("with \0 inside", 13), std::string("old"));
  expect_round_trip(std::optional<std::string>(), std::optional<std::string>("old"));
  expect_round_trip(std::optional<std::string>("new"), std::optional<std::string>("old"));
  expect_round_trip(std::vector<std::string>{"a", "", kLong}, {"old", "older"});
  expect_round_trip(std::vector<std::int64_t>{}, {1, 2});
  expect_round_trip(std::array<std::string, 2>{"a", "b"});
  expect_round_trip(std::map<std::string, std::int64_t>{{"a", 1}, {kLong, -2}}, {{"old", 3}});
  expect_round_trip(std::pair<std::int32_t, std::string>{7, "b"});
  expect_round_trip(std::tuple<std::int8_t, std::string, bool>{1, "b", true});
  expect_round_trip(std::vector<std::optional<std::vector<std::string>>>{{}, {{"a"}}});
}

TEST(Serde, RoundTripsADescribedStruct) {
  expect_round_trip(sample_order());
  expect_round_trip(Order{}, sample_order());
}

TEST(Serde, DoesNotAllocateForAVectorWhoseLengthLies) {
  Bytes bytes;
  put_varint(bytes, std::uint64_t{1} << 60);
  put_number(bytes, std::int64_t{1});
  View in(bytes);
  std::vector<std::int64_t> into;
  EXPECT_THROW(Serde<std::vector<std::int64_t>>::read(in, into), StateError);
  EXPECT_LE(into.capacity(), 2u);
}

// The bytes are part of the checkpoint format: these never change.
TEST(Serde, EncodesAsItAlwaysDid) {
  EXPECT_EQ(hex(encoded(true)), "01");
  EXPECT_EQ(hex(encoded(std::int32_t{-2})), "feffffff");
  EXPECT_EQ(hex(encoded(1.5)), "000000000000f83f");
  EXPECT_EQ(hex(encoded(Colour::kBlue)), "07");
  EXPECT_EQ(hex(encoded(std::string("abc"))), "03616263");
  EXPECT_EQ(hex(encoded(Timestamp{1us})), "0100000000000000");
  EXPECT_EQ(hex(encoded(Duration{-1})), "ffffffffffffffff");
  EXPECT_EQ(hex(encoded(std::chrono::seconds{2})), "0200000000000000");
  EXPECT_EQ(hex(encoded(std::optional<std::int16_t>{5})), "010500");
  EXPECT_EQ(hex(encoded(std::optional<std::int16_t>{})), "00");
  EXPECT_EQ(hex(encoded(std::vector<std::uint8_t>{1, 2})), "020102");
  EXPECT_EQ(hex(encoded(std::array<std::uint8_t, 2>{1, 2})), "0102");
  EXPECT_EQ(hex(encoded(std::pair<std::uint8_t, std::string>{9, "z"})), "09017a");
  EXPECT_EQ(hex(encoded(std::tuple<std::uint8_t, bool>{9, true})), "0901");
  EXPECT_EQ(hex(encoded(Point{1, -1})), "01000000ffffffff");
}

TEST(Serde, EncodesPartsOfBoundedLengthInOnePieceAsItDoesOneByOne) {
  using Nested = std::tuple<std::pair<Point, bool>, std::array<std::uint16_t, 3>, Timestamp, Duration, Colour, double>;
  static_assert(BoundedEncoding<Nested> && Serde<Nested>::max_bytes() == 8 + 1 + 6 + 8 + 8 + 1 + 8);
  static_assert(!BoundedEncoding<Order> && !BoundedEncoding<std::tuple<int, std::string>>);
  const Nested nested{{{1, -2}, true}, {3, 4, 5}, Timestamp{7us}, 8us, Colour::kBlue, 0.5};
  Bytes one_by_one;
  Serde<std::int32_t>::write(1, one_by_one);
  Serde<std::int32_t>::write(-2, one_by_one);
  Serde<bool>::write(true, one_by_one);
  for (const std::uint16_t element : {3, 4, 5}) Serde<std::uint16_t>::write(element, one_by_one);
  Serde<Timestamp>::write(Timestamp{7us}, one_by_one);
  Serde<Duration>::write(8us, one_by_one);
  Serde<Colour>::write(Colour::kBlue, one_by_one);
  Serde<double>::write(0.5, one_by_one);
  EXPECT_EQ(hex(encoded(nested)), hex(one_by_one));
  // What is shorter than it could be.
  using Shorter = std::tuple<std::uint8_t, std::optional<std::pair<bool, std::uint16_t>>, std::uint8_t>;
  static_assert(BoundedEncoding<Shorter> && Serde<Shorter>::max_bytes() == 1 + (1 + 3) + 1);
  static_assert(!BoundedEncoding<std::optional<std::string>>);
  EXPECT_EQ(hex(encoded(Shorter{1, std::pair{true, std::uint16_t{2}}, 3})), "01" "01" "01" "0200" "03");
  EXPECT_EQ(hex(encoded(Shorter{1, std::nullopt, 3})), "01" "00" "03");
  expect_round_trip(Shorter{1, std::nullopt, 3});
  // What is too long for one piece.
  const std::pair<std::array<std::int64_t, 100>, bool> wide{{1, 2, 3}, true};
  EXPECT_EQ(encoded(wide).size(), 801u);
  expect_round_trip(wide);
}

TEST(Serde, OfATypeIsNotEncodedAsItsBaseWouldBe) {
  static_assert(!BoundedEncoding<serde_test::Id> && !BoundedEncoding<serde_test::Sale>);
  const serde_test::Sale sale{{300}, {1, 2}, Colour::kBlue, true};
  const Bytes bytes = encoded(sale);
  EXPECT_EQ(hex(bytes), "ac02" "01000000" "02000000" "07" "01");
  serde_test::Sale read;
  View in(bytes);
  Serde<serde_test::Sale>::read(in, read);
  EXPECT_EQ(read.id.number, 300);
}

// A hash decides a key's group, so these never change either.
TEST(Serde, HashesAsItAlwaysDid) {
  EXPECT_EQ(hash_of(std::int64_t{0}), 0xe220a8397b1dcdafu);
  EXPECT_EQ(hash_of(std::int64_t{1}), 0x910a2dec89025cc1u);
  EXPECT_EQ(hash_of(std::int32_t{42}), 0xbdd732262feb6e95u);
  EXPECT_EQ(hash_of(std::int64_t{-1}), 0xe4d971771b652c20u);
  EXPECT_EQ(hash_of(Timestamp{1700000000s}), 0xb7b8b1fcbda40e0fu);
  EXPECT_EQ(hash_of(std::string()), 0x2d06800538d394c2u);
  EXPECT_EQ(hash_of(std::string("a")), 0xe6c632b61e964e1fu);
  EXPECT_EQ(hash_of(std::string("abc")), 0x78af5f94892f3950u);
  EXPECT_EQ((hash_of(std::tuple<std::int64_t, std::int64_t>{1, 2})), 0x652322c4b4158914u);
  EXPECT_EQ((hash_of(std::pair<std::int64_t, std::int64_t>{1, 2})), 0x652322c4b4158914u);
  EXPECT_EQ(hash_of(Point{1, 2}), 0x652322c4b4158914u);
  EXPECT_EQ(hash_of(std::string(300, 'x')), 0xa5d1b4607dc83554u);
  EXPECT_EQ(hash_of(1.5), 0x2561a4889ff63458u);
  EXPECT_EQ(hash_of(std::vector<std::int32_t>{1, 2}), 0xec4d7df44c2c5407u);
}

TEST(Serde, HashesIntegersOfEveryWidthAlike) {
  EXPECT_EQ(hash_of(std::int8_t{-3}), hash_of(std::int64_t{-3}));
  EXPECT_EQ(hash_of(std::uint16_t{7}), hash_of(std::uint64_t{7}));
}

TEST(Serde, MeasuresWhatAValueHoldsOutsideItself) {
  EXPECT_EQ(heap_bytes_of(std::int64_t{1}), 0u);
  EXPECT_EQ(heap_bytes_of(std::string("short")), 0u);
  EXPECT_GT(heap_bytes_of(kLong), 100u);
  EXPECT_EQ(heap_bytes_of(std::optional<std::string>()), 0u);
  EXPECT_GT(heap_bytes_of(sample_order()), 100 + 2 * sizeof(std::string));
  EXPECT_TRUE(kFlat<Point>);
  EXPECT_TRUE(kFlat<std::optional<Point>>);
  EXPECT_FALSE(kFlat<Order>);
}

template <class T>
void expect_same_schema(std::string_view schema) {
  EXPECT_EQ(Serde<T>::schema(), schema);
  EXPECT_EQ(schema_of(type_info<T>()), schema);
}

TEST(Serde, SpellsASchemaAsTypeInfoDoes) {
  expect_same_schema<bool>("bool");
  expect_same_schema<std::int8_t>("int8");
  expect_same_schema<std::uint64_t>("uint64");
  expect_same_schema<long long>("int64");
  expect_same_schema<float>("float");
  expect_same_schema<double>("double");
  expect_same_schema<Colour>("uint8");
  expect_same_schema<std::string>("string");
  expect_same_schema<Timestamp>("timestamp");
  expect_same_schema<Duration>("duration(1/1000000)");
  expect_same_schema<std::optional<std::int64_t>>("int64?");
  expect_same_schema<std::vector<std::string>>("[string]");
  expect_same_schema<Order>(
      "{user:int64,item:string,tags:[string],at:{x:int32,y:int32}?,ts:timestamp,"
      "took:duration(1/1000000)}");
  EXPECT_EQ((Serde<std::tuple<std::int8_t, std::string>>::schema()), "(int8,string,)");
}

TEST(TypeInfo, WalksADescribedStruct) {
  const TypeInfo& type = type_info<Order>();
  EXPECT_EQ(type.kind, TypeKind::kRecord);
  EXPECT_EQ(type.name, "Order");
  ASSERT_EQ(type.fields.size(), 6u);
  EXPECT_EQ(type.fields[1].name, "item");
  const Order order = sample_order();
  const char* base = reinterpret_cast<const char*>(&order);
  EXPECT_EQ(*reinterpret_cast<const std::string*>(base + type.fields[1].offset), "levada");
  const FieldInfo& tags = type.fields[2];
  EXPECT_EQ(tags.type->kind, TypeKind::kList);
  const void* second = tags.type->at(base + tags.offset, 1);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*static_cast<const std::string*>(second), kLong);
  EXPECT_EQ(tags.type->at(base + tags.offset, 2), nullptr);
}

TEST(TypeInfo, FillsOptionalsAndLists) {
  std::optional<Point> at;
  const TypeInfo& optional = type_info<std::optional<Point>>();
  EXPECT_EQ(optional.at(&at, 0), nullptr);
  static_cast<Point*>(optional.emplace(&at))->x = 3;
  static_cast<Point*>(optional.emplace(&at))->y = 4;
  EXPECT_EQ(at, (Point{3, 4}));
  optional.clear(&at);
  EXPECT_FALSE(at.has_value());

  std::vector<std::int64_t> list{9};
  const TypeInfo& type = type_info<std::vector<std::int64_t>>();
  type.clear(&list);
  *static_cast<std::int64_t*>(type.emplace(&list)) = 7;
  EXPECT_EQ(list, (std::vector<std::int64_t>{7}));
}

}  // namespace
}  // namespace levada
