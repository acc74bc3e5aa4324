#include "connectors/kafka_split.h"

#include <gtest/gtest.h>

#include "levada/error.h"

namespace levada::kafka {
namespace {

TEST(KafkaSplit, HasAnIdThatTellsTopicAndPartition) {
  EXPECT_EQ(split_id({"orders", 3}), "orders-3");
  EXPECT_EQ(parse_split_id("orders-3"), (TopicPartition{"orders", 3}));
  EXPECT_EQ(parse_split_id("a-b-1.c-12"), (TopicPartition{"a-b-1.c", 12}));
}

TEST(KafkaSplit, RefusesIdsOfOtherSources) {
  for (const char* id : {"", "orders", "orders-", "-1", "orders-x", "orders--1x"}) {
    EXPECT_THROW(parse_split_id(id), StateError) << id;
  }
}

TEST(KafkaSplit, WritesPositionsThatItReads) {
  EXPECT_EQ(to_text({1500, std::nullopt}), "1:1500");
  EXPECT_EQ(to_text({1500, 2000}), "1:1500..2000");
  for (const SplitPosition& position :
       {SplitPosition{0, std::nullopt}, SplitPosition{7, 0}, SplitPosition{INT64_MAX, INT64_MAX}}) {
    EXPECT_EQ(parse_position(to_text(position)), position);
  }
}

TEST(KafkaSplit, RefusesPositionsOfOtherSources) {
  for (const char* text : {"", "1", "2:5", "1:", "1:-5", "1:5..", "1:5..x", "1:5.6", "1:5 "}) {
    EXPECT_THROW(parse_position(text), StateError) << text;
  }
}

}  // namespace
}  // namespace levada::kafka
