#include <chrono>

#include <gmock/gmock.h>

#include "levada/error.h"

#include "support/in_time.h"
#include "unit/connectors_kafka/kafka_rows.h"
#include "unit/connectors_kafka/mock_kafka.h"
#include "unit/connectors_kafka/reader_harness.h"

namespace levada::kafka {
namespace {

using levada::testing::MockKafka;
using levada::testing::ReaderHarness;
using levada::testing::Sale;
using levada::testing::sales;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<Split> discover(SourceOptions<Sale> options, const std::vector<Split>& restored = {}) {
  return ReaderHarness<Sale>(source<Sale>(std::move(options))).discover(restored);
}

std::string failure(SourceOptions<Sale> options, const std::vector<Split>& restored = {}) {
  try {
    discover(std::move(options), restored);
  } catch (const ConnectorError& error) {
    return (error.retryable() ? "retryable: " : "final: ") + std::string(error.what());
  }
  return "(none)";
}

std::vector<std::string> texts(const std::vector<Split>& splits) {
  std::vector<std::string> made;
  for (const Split& split : splits) made.push_back(split.id + " " + split.position);
  return made;
}

class KafkaDiscovery : public ::testing::Test {
 protected:
  void SetUp() override {
    kafka_.create_topic("orders", 3);
    kafka_.produce(sales("orders", 1, 0, 10));
  }
  MockKafka kafka_;
};

TEST_F(KafkaDiscovery, FindsAllPartitionsAtTheirEarliestRecord) {
  EXPECT_THAT(texts(discover({.brokers = kafka_.brokers(), .topics = {"orders"}})),
              ElementsAre("orders-0 1:0", "orders-1 1:0", "orders-2 1:0"));
}

TEST_F(KafkaDiscovery, FindsTheEnds) {
  EXPECT_THAT(
      texts(discover({.brokers = kafka_.brokers(), .topics = {"orders"}, .start_from = latest()})),
      ElementsAre("orders-0 1:0", "orders-1 1:10", "orders-2 1:0"));
  EXPECT_THAT(
      texts(discover({.brokers = kafka_.brokers(), .topics = {"orders"}, .stop_at = latest()})),
      ElementsAre("orders-0 1:0..0", "orders-1 1:0..10", "orders-2 1:0..0"));
}

TEST_F(KafkaDiscovery, TakesGivenOffsetsAndPartitions) {
  EXPECT_THAT(texts(discover({.brokers = kafka_.brokers(),
                              .partitions = {{"orders", 1}},
                              .start_from = offsets({{"orders", 1, 4}}),
                              .stop_at = offsets({{"orders", 1, 7}})})),
              ElementsAre("orders-1 1:4..7"));
}

TEST_F(KafkaDiscovery, KeepsRestoredSplitsAndStartsNewPartitionsAtTheirEarliestRecord) {
  EXPECT_THAT(
      texts(discover({.brokers = kafka_.brokers(), .topics = {"orders"}, .start_from = latest()},
                     {{"orders-0", "1:5"}, {"orders-2", "1:6..9"}})),
      ElementsAre("orders-0 1:5", "orders-1 1:0", "orders-2 1:6..9"));
}

TEST_F(KafkaDiscovery, RefusesARestoredPartitionThatIsGone) {
  EXPECT_THAT(failure({.brokers = kafka_.brokers(), .topics = {"orders"}}, {{"orders-7", "1:5"}}),
              AllOf(HasSubstr("final: "), HasSubstr("orders-7, which does not exist any more")));
}

TEST_F(KafkaDiscovery, NamesAMissingTopicOrPartition) {
  // The mock makes topics that are asked for, unless it is told otherwise.
  kafka_.fail_topic("ordres", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  EXPECT_THAT(
      failure({.brokers = kafka_.brokers(), .topics = {"ordres"}}),
      AllOf(HasSubstr("final: Kafka at 127.0.0.1"), HasSubstr("topic \"ordres\" does not exist")));
  EXPECT_THAT(failure({.brokers = kafka_.brokers(), .partitions = {{"orders", 3}}}),
              HasSubstr("orders-3: the topic has no such partition"));
  kafka_.fail_topic("orders", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  EXPECT_THAT(failure({.brokers = kafka_.brokers(), .topics = {"orders"}}),
              AllOf(HasSubstr("topic \"orders\""), HasSubstr("authorization failed")));
}

TEST(KafkaDiscoveryWithoutBroker, SaysSoWithinTenSeconds) {
  const auto took = testing::least_time(10s, [] {
    EXPECT_THAT(failure({.brokers = "127.0.0.1:1", .topics = {"orders"}}),
                AllOf(HasSubstr("retryable: Kafka at 127.0.0.1:1: cannot be reached: "),
                      HasSubstr("Connection refused")));
  });
  EXPECT_LT(took, 10s);
}

TEST(KafkaDiscoveryWithoutBroker, AsksForATopicFirst) {
  EXPECT_THAT(failure({.brokers = "127.0.0.1:1"}), HasSubstr("give .topics or .partitions"));
  EXPECT_THAT(failure({.brokers = "", .topics = {"orders"}}), HasSubstr(".brokers is empty"));
}

TEST_F(KafkaDiscovery, RefusesPositionsThatCannotBe) {
  const std::string brokers = kafka_.brokers();
  EXPECT_THAT(failure({.brokers = brokers, .topics = {"orders"}, .start_from = group_offsets()}),
              HasSubstr("group_offsets() needs .group_id"));
  EXPECT_THAT(
      failure(
          {.brokers = brokers, .topics = {"orders"}, .start_from = offsets({{"orders", 9, 0}})}),
      HasSubstr("an offset is given for orders-9, which is not read"));
  EXPECT_THAT(
      failure(
          {.brokers = brokers, .topics = {"orders"}, .start_from = offsets({{"orders", 0, -2}})}),
      HasSubstr("orders-0: an offset is never negative"));
  EXPECT_THAT(
      failure({.brokers = brokers, .topics = {"orders"}, .stop_at = offsets({{"orders", 0, 5}})}),
      HasSubstr(".stop_at gives no offset of orders-1"));
}

TEST(KafkaClientOptions, RefusesUnknownKeysAndBadValuesByName) {
  EXPECT_THAT(
      failure({.brokers = "127.0.0.1:1", .topics = {"t"}, .client = {{"fetch.wiat", "1"}}}),
      AllOf(HasSubstr("final: "), HasSubstr("option \"fetch.wiat\": No such configuration")));
  EXPECT_THAT(
      failure({.brokers = "127.0.0.1:1", .topics = {"t"}, .client = {{"fetch.wait.max.ms", "x"}}}),
      HasSubstr("option \"fetch.wait.max.ms\""));
}

TEST(KafkaClientOptions, RefusesWhatWouldBreakTheSource) {
  for (const char* key :
       {"bootstrap.servers", "group.id", "enable.auto.commit", "auto.offset.reset",
        "enable.auto.offset.store", "enable.partition.eof"}) {
    EXPECT_THAT(failure({.brokers = "127.0.0.1:1", .topics = {"t"}, .client = {{key, "x"}}}),
                HasSubstr("option \"" + std::string(key) + "\" must not be set: "))
        << key;
  }
}

TEST(KafkaClientOptions, NeverShowsASecret) {
  EXPECT_THAT(failure({.brokers = "127.0.0.1:1",
                       .topics = {"t"},
                       .client = {{"sasl.password", "hunter2"},
                                  {"sasl.mechanisms", "NONSENSE"},
                                  {"security.protocol", "sasl_plaintext"}}}),
              AllOf(HasSubstr("final: Kafka source: "), Not(HasSubstr("hunter2"))));
}

TEST(KafkaSource, RefusesARowThatItsFormatCannotHold) {
  const Source<std::int64_t> numbers =
      source<std::int64_t>({.brokers = "127.0.0.1:1", .topics = {"t"}});
  EXPECT_THROW(numbers.factory->discover({}, system_clock(), nullptr), FormatError);
}

TEST(KafkaSource, IsNamedAfterWhatItReads) {
  EXPECT_EQ(source<Sale>({.brokers = "b", .topics = {"a", "b"}, .partitions = {{"c", 1}}}).name,
            "kafka a b c-1");
}

}  // namespace
}  // namespace levada::kafka
