#include "connectors/postgres_types.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "levada/serde.h"

namespace levada::postgres {
namespace {

struct Inner {
  int a = 0;
};
LEVADA_RECORD(Inner, a)

template <class T>
std::optional<TextForm> form(const std::string& column, bool is_array = false,
                             std::int32_t modifier = -1) {
  return text_form(type_info<T>(), {column, column, column, is_array, false, modifier});
}

TEST(TextForm, TakesIntegersIntoColumnsThatHoldAllOfThem) {
  EXPECT_TRUE(form<std::int32_t>("int8"));
  EXPECT_TRUE(form<std::int32_t>("int4"));
  EXPECT_FALSE(form<std::int32_t>("int2"));
  EXPECT_FALSE(form<std::int64_t>("int4"));
  EXPECT_FALSE(form<std::int64_t>("float8"));
  EXPECT_TRUE(form<std::uint16_t>("int4"));
  EXPECT_FALSE(form<std::uint16_t>("int2"));
  EXPECT_FALSE(form<std::uint64_t>("int8"));
  EXPECT_TRUE(form<std::uint64_t>("numeric"));
}

TEST(TextForm, TakesTextIntoTextAndBytesIntoBytea) {
  EXPECT_EQ(form<std::string>("text"), TextForm::kAsIs);
  EXPECT_EQ(form<std::string>("jsonb"), TextForm::kAsIs);
  EXPECT_EQ(form<std::string>("bytea"), TextForm::kHexBytes);
  EXPECT_FALSE(form<std::string>("int8"));
  EXPECT_FALSE(form<std::string>("timestamptz"));
  const ColumnType color{"color", "color", "color", false, true, -1};
  EXPECT_TRUE(text_form(type_info<std::string>(), color));
}

TEST(TextForm, TakesTimesOnlyWhereMicrosecondsSurvive) {
  EXPECT_EQ(form<Timestamp>("timestamptz"), TextForm::kTimeWithZone);
  EXPECT_EQ(form<Timestamp>("timestamp", false, 6), TextForm::kTimeOfUtc);
  EXPECT_FALSE(form<Timestamp>("timestamptz", false, 3));
  EXPECT_FALSE(form<Timestamp>("date"));
  EXPECT_FALSE(form<std::int64_t>("timestamptz"));
  EXPECT_TRUE(form<Duration>("interval"));
  EXPECT_FALSE(form<Duration>("int8"));
}

TEST(TextForm, LooksIntoOptionalsAndLists) {
  EXPECT_TRUE(form<std::optional<double>>("float8"));
  EXPECT_FALSE(form<std::optional<double>>("float4"));
  EXPECT_TRUE(form<std::vector<std::int32_t>>("int8", true));
  EXPECT_TRUE(form<std::vector<std::optional<std::string>>>("text", true));
  EXPECT_FALSE(form<std::vector<std::int32_t>>("int8"));
  EXPECT_FALSE(form<std::int32_t>("int8", true));
  EXPECT_FALSE(form<std::vector<std::vector<std::int32_t>>>("int4", true));
}

TEST(TextForm, TakesNoRecords) {
  EXPECT_FALSE(form<Inner>("jsonb"));
  EXPECT_FALSE(form<std::vector<Inner>>("jsonb", true));
}

TEST(Shown, NamesNestedTypes) {
  EXPECT_EQ(shown(type_info<std::vector<std::optional<std::string>>>()),
            "list of optional string");
}

}  // namespace
}  // namespace levada::postgres
