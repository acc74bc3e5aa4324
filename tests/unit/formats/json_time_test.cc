#include "formats/json_time.h"

#include <limits>

#include <gtest/gtest.h>

#include "base/json_text.h"

namespace levada::formats {
namespace {

TEST(JsonTime, ReadsIso8601) {
  const Timestamp noon{1'769'860'800s};  // 2026-01-31T12:00:00Z
  EXPECT_EQ(parse_iso8601("2026-01-31T12:00:00Z"), noon);
  EXPECT_EQ(parse_iso8601("2026-01-31T12:00:00"), noon);
  EXPECT_EQ(parse_iso8601("2026-01-31 12:00"), noon);
  EXPECT_EQ(parse_iso8601("2026-01-31t12:00z"), noon);
  EXPECT_EQ(parse_iso8601("2026-01-31T13:30:00+01:30"), noon);
  EXPECT_EQ(parse_iso8601("2026-01-31T13:30:00+0130"), noon);
  EXPECT_EQ(parse_iso8601("2026-01-31T04:00:00-08"), noon);
  EXPECT_EQ(parse_iso8601("2026-01-31"), noon - 12h);
  EXPECT_EQ(parse_iso8601("2026-01-31T12:00:00.5Z"), noon + 500ms);
  EXPECT_EQ(parse_iso8601("2026-01-31T12:00:00.123456789Z"), noon + 123'456us);
  EXPECT_EQ(parse_iso8601("1969-12-31T23:59:59.999999Z"), Timestamp{-1us});
  EXPECT_EQ(parse_iso8601("2024-02-29T00:00:00Z"), Timestamp{1'709'164'800s});
}

TEST(JsonTime, RefusesWhatIsNoTime) {
  for (const char* text :
       {"", "2026", "2026-1-31", "2026-13-01", "2026-02-29", "2026-01-32", "2026-01-31T", "now",
        "2026-01-31T24:00", "2026-01-31T12:60", "2026-01-31T12:00:60Z", "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00+25:00", "2026-01-31T12:00:00+1", "2026-01-31T12:00:00Zx",
        "2026-01-31T12:00:00+01:3", "2026-01-31Z", "26-01-31T12:00:00Z"}) {
    EXPECT_EQ(parse_iso8601(text), std::nullopt) << text;
  }
}

TEST(JsonTime, WritesWhatItReads) {
  for (const Timestamp time : {Timestamp{0us}, Timestamp{-1us}, Timestamp{1'700'000'000'123'456us},
                               Timestamp{253'402'300'799'999'999us}}) {
    Bytes text;
    put_iso8601(time, text);
    EXPECT_EQ(parse_iso8601(text), time) << text;
  }
  Bytes text;
  put_iso8601(Timestamp{1'700'000'000'000'001us}, text);
  EXPECT_EQ(text, "2023-11-14T22:13:20.000001Z");
}

TEST(JsonTime, TurnsMillisecondsIntoMicroseconds) {
  EXPECT_EQ(micros_of_millis(std::int64_t{-7}), -7ms);
  EXPECT_EQ(micros_of_millis(std::numeric_limits<std::int64_t>::max()), std::nullopt);
  EXPECT_EQ(micros_of_millis(1700000000123.457), 1'700'000'000'123'457us);
  EXPECT_EQ(micros_of_millis(1e300), std::nullopt);
}

}  // namespace
}  // namespace levada::formats
