#include "connectors/postgres_encoding.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "levada/serde.h"

namespace levada::postgres {
namespace {

template <class T>
std::string encoded(const T& value, TextForm form = TextForm::kAsIs) {
  std::string out;
  if (!append_text(type_info<T>(), &value, form, out)) return "<NULL>";
  return out;
}

std::string time_of(Timestamp time) { return encoded(time, TextForm::kTimeWithZone); }

TEST(PostgresEncoding, WritesIntegersToTheirLimits) {
  EXPECT_EQ(encoded(std::int8_t{-128}), "-128");
  EXPECT_EQ(encoded(std::uint8_t{255}), "255");
  EXPECT_EQ(encoded(std::int16_t{-32768}), "-32768");
  EXPECT_EQ(encoded(std::uint16_t{65535}), "65535");
  EXPECT_EQ(encoded(std::numeric_limits<std::int32_t>::min()), "-2147483648");
  EXPECT_EQ(encoded(std::numeric_limits<std::uint32_t>::max()), "4294967295");
  EXPECT_EQ(encoded(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(encoded(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(encoded(true), "t");
  EXPECT_EQ(encoded(false), "f");
}

TEST(PostgresEncoding, WritesFloatingPointSoThatItReadsBackExactly) {
  EXPECT_EQ(encoded(0.1), "0.1");
  EXPECT_EQ(encoded(0.1F), "0.1");
  EXPECT_EQ(encoded(5e-324), "5e-324");
  EXPECT_EQ(encoded(-1.7976931348623157e308), "-1.7976931348623157e+308");
  EXPECT_EQ(encoded(std::numeric_limits<double>::quiet_NaN()), "NaN");
  EXPECT_EQ(encoded(std::numeric_limits<double>::infinity()), "Infinity");
  EXPECT_EQ(encoded(-std::numeric_limits<float>::infinity()), "-Infinity");
}

TEST(PostgresEncoding, WritesTimesToTheMicrosecond) {
  EXPECT_EQ(time_of(Timestamp{0us}), "1970-01-01 00:00:00+00");
  EXPECT_EQ(time_of(Timestamp{1'700'000'000'123'456us}), "2023-11-14 22:13:20.123456+00");
  EXPECT_EQ(time_of(Timestamp{-1us}), "1969-12-31 23:59:59.999999+00");
  EXPECT_EQ(time_of(Timestamp{951'782'400s}), "2000-02-29 00:00:00+00");
  EXPECT_EQ(time_of(Timestamp{1us}), "1970-01-01 00:00:00.000001+00");
  EXPECT_EQ(encoded(Timestamp{0us}, TextForm::kTimeOfUtc), "1970-01-01 00:00:00");
}

TEST(PostgresEncoding, WritesTheEndsOfTime) {
  EXPECT_EQ(time_of(Timestamp::min()), "-infinity");
  EXPECT_EQ(time_of(Timestamp::max()), "infinity");
  EXPECT_EQ(time_of(Timestamp::max() - 1us), "294247-01-10 04:00:54.775806+00");
  EXPECT_EQ(time_of(Timestamp{-62'135'596'800s}), "0001-01-01 00:00:00+00");
  EXPECT_EQ(time_of(Timestamp{-62'135'596'800s} - 1us), "0001-12-31 23:59:59.999999+00 BC");
  EXPECT_EQ(time_of(Timestamp{-210'866'803'200s}), "4714-11-24 00:00:00+00 BC");
  EXPECT_THROW(time_of(Timestamp{-210'866'803'200s} - 1us), ValueError);
}

TEST(PostgresEncoding, WritesDurations) {
  EXPECT_EQ(encoded(Duration{0}), "00:00:00");
  EXPECT_EQ(encoded(Duration{-1}), "-00:00:00.000001");
  EXPECT_EQ(encoded(Duration{90'061'000'002}), "25:01:01.000002");
  EXPECT_EQ(encoded(Duration::min()), "-2562047788:00:54.775808");
}

TEST(PostgresEncoding, RefusesNulInTextAndTakesItInBytes) {
  const std::string nul("a\0b", 3);
  EXPECT_THROW(encoded(nul), ValueError);
  EXPECT_EQ(encoded(nul, TextForm::kHexBytes), "\\x610062");
  EXPECT_EQ(encoded(std::string(), TextForm::kHexBytes), "\\x");
}

TEST(PostgresEncoding, WritesNullForAnEmptyOptional) {
  EXPECT_EQ(encoded(std::optional<std::int32_t>()), "<NULL>");
  EXPECT_EQ(encoded(std::optional<std::string>("")), "");
  EXPECT_EQ(encoded(std::optional<double>(2.5)), "2.5");
}

TEST(PostgresEncoding, WritesListsAsArrayLiterals) {
  EXPECT_EQ(encoded(std::vector<std::int64_t>{}), "{}");
  EXPECT_EQ(encoded(std::vector<std::int64_t>{1, -2}), "{1,-2}");
  EXPECT_EQ(encoded(std::vector<std::string>{"", "NULL", "a,b", "\"\\{}"}),
            R"({"","NULL","a,b","\"\\{}"})");
  EXPECT_EQ(encoded(std::vector<std::optional<std::string>>{std::nullopt, "x"}), R"({NULL,"x"})");
  EXPECT_EQ(encoded(std::vector<std::string>{"a"}, TextForm::kHexBytes), R"({"\\x61"})");
}

TEST(PostgresEncoding, EscapesWhatCopyGivesAMeaningTo) {
  std::string out;
  append_copy_field("a\tb\nc\rd\\e\\N\x01", out);
  EXPECT_EQ(out, "a\\tb\\nc\\rd\\\\e\\\\N\x01");
}

}  // namespace
}  // namespace levada::postgres
