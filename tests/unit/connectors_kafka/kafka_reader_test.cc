#include "connectors/kafka_reader.h"

#include <chrono>
#include <random>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include "levada/error.h"

#include "unit/connectors_kafka/kafka_rows.h"
#include "unit/connectors_kafka/mock_kafka.h"
#include "unit/connectors_kafka/reader_harness.h"

namespace levada::kafka {
namespace {

using levada::testing::ids;
using levada::testing::KafkaProducer;
using levada::testing::MockKafka;
using levada::testing::Produced;
using levada::testing::range;
using levada::testing::ReaderHarness;
using levada::testing::Sale;
using levada::testing::sale;
using levada::testing::sales;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

using Harness = ReaderHarness<Sale>;

class KafkaReaderTest : public ::testing::Test {
 protected:
  MockKafka kafka_;
};

TEST_F(KafkaReaderTest, GivesEachPartitionInOrder) {
  kafka_.create_topic("t", 4);
  std::vector<Produced> records;
  for (std::int64_t id = 0; id < 2000; ++id) {
    for (std::int32_t p = 0; p < 4; ++p) records.push_back(sale("t", p, id));
  }
  kafka_.produce(records);
  Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}));
  harness.open();
  ASSERT_TRUE(harness.run_until_caught_up());
  for (std::size_t split = 0; split < 4; ++split) {
    EXPECT_EQ(ids(harness.rows(), split), range(0, 2000));
    EXPECT_EQ(harness.reader().position(split), "1:2000");
    EXPECT_EQ(harness.reader().position_text(split), "2000");
    EXPECT_FALSE(harness.reader().finished(split));
  }
  EXPECT_EQ(harness.rows()[7].time,
            Timestamp{std::chrono::milliseconds{1'700'000'000'000 + harness.rows()[7].row.id}});
}

TEST_F(KafkaReaderTest, FillsBatchesFairly) {
  kafka_.create_topic("t", 2);
  kafka_.produce(sales("t", 0, 0, 6400));
  kafka_.produce(sales("t", 1, 0, 6400));
  std::vector<std::size_t> seen;
  const std::vector<std::size_t> fair{10, 320, 320};  // batches, and rows of each partition
  for (std::chrono::milliseconds time{500}; seen != fair && time < 60s; time *= 2) {
    Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}));
    harness.open();
    std::this_thread::sleep_for(time);  // both queues fill
    ASSERT_TRUE(harness.run_until_rows(640));
    seen = {harness.batches(), ids(harness.rows(), 0).size(), ids(harness.rows(), 1).size()};
  }
  EXPECT_EQ(seen, fair);
}

TEST_F(KafkaReaderTest, GoesOnFromACheckpoint) {
  kafka_.create_topic("t", 2);
  kafka_.produce(sales("t", 0, 0, 1000));
  kafka_.produce(sales("t", 1, 0, 1000));
  std::mt19937 random(7);
  std::vector<Split> at =
      Harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}})).discover();
  std::vector<std::int64_t> seen[2];
  for (int run = 0; run < 6; ++run) {
    Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}),
                    1 + random() % 90);
    harness.open(at);
    const std::size_t rows = run == 5 ? 2000 - seen[0].size() - seen[1].size() : random() % 400;
    ASSERT_TRUE(harness.run_until_rows(rows));
    for (const auto& got : harness.rows()) seen[got.split].push_back(got.row.id);
    at = harness.checkpoint();
  }
  EXPECT_EQ(seen[0], range(0, 1000));
  EXPECT_EQ(seen[1], range(0, 1000));
}

TEST_F(KafkaReaderTest, EndsABoundedSplitAtItsStop) {
  kafka_.create_topic("t", 3);
  kafka_.produce(sales("t", 0, 0, 100));
  kafka_.produce(sales("t", 1, 0, 100));
  Harness harness(source<Sale>({.brokers = kafka_.brokers(),
                                .topics = {"t"},
                                .start_from = offsets({{"t", 0, 10}, {"t", 1, 60}}),
                                .stop_at = offsets({{"t", 0, 20}, {"t", 1, 100}, {"t", 2, 0}})}));
  harness.open();
  EXPECT_TRUE(harness.reader().finished(2));
  ASSERT_TRUE(harness.run_to_the_end());
  EXPECT_EQ(ids(harness.rows(), 0), range(10, 20));
  EXPECT_EQ(ids(harness.rows(), 1), range(60, 100));
  for (std::size_t split = 0; split < 3; ++split) EXPECT_TRUE(harness.reader().finished(split));
  EXPECT_EQ(harness.reader().position(0), "1:20..20");
  EXPECT_EQ(harness.poll(), PollResult::kFinished);

  Harness again(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}));
  again.open(harness.checkpoint());
  EXPECT_EQ(again.poll(), PollResult::kFinished);
  EXPECT_THAT(again.rows(), IsEmpty());
}

TEST_F(KafkaReaderTest, FinishesAtOnceWithoutSplits) {
  Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}));
  harness.open({});
  EXPECT_EQ(harness.poll(), PollResult::kFinished);
  EXPECT_EQ(harness.memory().prefetch().used_bytes(), 0u);
}

TEST_F(KafkaReaderTest, WakesWhenRecordsComeAfterTheEnd) {
  kafka_.create_topic("t", 2);
  kafka_.produce(sales("t", 0, 0, 5));
  Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}));
  harness.open();
  ASSERT_TRUE(harness.run_until_caught_up());
  EXPECT_EQ(harness.reader().next_poll(), kNever);
  std::thread producer([this] {
    std::this_thread::sleep_for(300ms);
    kafka_.produce(sales("t", 1, 5, 8));
  });
  EXPECT_TRUE(harness.run_until_rows(8));
  producer.join();
  EXPECT_EQ(ids(harness.rows(), 1), range(5, 8));
  EXPECT_FALSE(harness.reader().caught_up(1) && harness.reader().position(1) != "1:3");
  EXPECT_TRUE(harness.run_until_caught_up());
}

TEST_F(KafkaReaderTest, FillsFieldsFromTheRecord) {
  kafka_.create_topic("t", 2);
  kafka_.produce({{.topic = "t",
                   .partition = 1,
                   .value = "{\"id\":1}",
                   .key = "k",
                   .timestamp_ms = 1'650'000'000'123,
                   .headers = {{"h", "first"}, {"other", ""}, {"h", "last"}}},
                  {.topic = "t", .partition = 1, .value = "{\"id\":2}"}});
  std::vector<Header> headers;
  std::vector<std::string> seen;
  Harness harness(source<Sale>(
      {.brokers = kafka_.brokers(),
       .topics = {"t"},
       .with_record = [&](Sale& row, const RecordView& r) {
         row.offset = r.offset;
         row.note = r.header("h");
         seen.push_back(std::string(r.topic) + "/" + std::to_string(r.partition) + "/" +
                        (r.key.data() == nullptr ? "-" : std::string(r.key)) + "/" +
                        std::string(r.value) + "/" + std::to_string(r.headers().size()));
       }}));
  harness.open();
  ASSERT_TRUE(harness.run_until_rows(2));
  EXPECT_THAT(seen, ::testing::ElementsAre("t/1/k/{\"id\":1}/3", "t/1/-/{\"id\":2}/0"));
  EXPECT_THAT(harness.rows()[0].row.offset, Optional(0));
  EXPECT_THAT(harness.rows()[0].row.note, Optional(std::string("last")));
  EXPECT_EQ(harness.rows()[0].time, Timestamp{1'650'000'000'123ms});
  EXPECT_THAT(harness.rows()[1].row.offset, Optional(1));
  EXPECT_EQ(harness.rows()[1].row.note, std::nullopt);
}

TEST_F(KafkaReaderTest, FailsOnABadRecordAndNamesIt) {
  kafka_.create_topic("t", 2);
  kafka_.produce({sale("t", 1, 0),
                  sale("t", 1, 1),
                  {.topic = "t", .partition = 1, .value = "{\"id\":\"x\"}"},
                  sale("t", 1, 3)});
  Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}));
  harness.open();
  try {
    harness.run_until_rows(4);
    FAIL() << "the record was taken";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("topic t, partition 1, offset 2"),
                                    HasSubstr("field \"id\" at byte 6: expected int64")));
  }
  EXPECT_EQ(harness.reader().position(1), "1:2") << "a restart meets the record again";
  EXPECT_EQ(harness.counters().bad_records.value(), 0u);
}

TEST_F(KafkaReaderTest, SkipsAndCountsBadRecords) {
  kafka_.create_topic("t", 1);
  kafka_.produce({sale("t", 0, 0),
                  {.topic = "t", .value = "nonsense"},
                  sale("t", 0, 2),
                  {.topic = "t", .value = std::nullopt},
                  {.topic = "t", .value = ""},
                  sale("t", 0, 5),
                  {.topic = "t", .value = "{}"}});
  Harness harness(source<Sale>(
      {.brokers = kafka_.brokers(), .topics = {"t"}, .on_bad_record = skip_and_count()}));
  harness.open();
  ASSERT_TRUE(harness.run_until_caught_up());
  EXPECT_EQ(ids(harness.rows()), (std::vector<std::int64_t>{0, 2, 5}));
  EXPECT_EQ(harness.counters().bad_records.value(), 4u);
  EXPECT_EQ(harness.reader().position(0), "1:7");
}

TEST_F(KafkaReaderTest, PassesOnWhatTheUsersFunctionThrows) {
  kafka_.create_topic("t", 1);
  kafka_.produce(sales("t", 0, 0, 3));
  Harness harness(source<Sale>({.brokers = kafka_.brokers(),
                                .topics = {"t"},
                                .with_record = [](Sale& row, const RecordView&) {
                                  if (row.id == 1) throw std::logic_error("not this one");
                                }}));
  harness.open();
  EXPECT_THROW(harness.run_until_rows(3), std::logic_error);
  EXPECT_EQ(harness.reader().position(0), "1:1");
}

TEST_F(KafkaReaderTest, RefusesOffsetsThatAreOutOfRange) {
  kafka_.create_topic("t", 1);
  kafka_.produce(sales("t", 0, 0, 3));
  Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}));
  harness.open({{"t-0", "1:1000"}});
  try {
    harness.run_until_rows(1);
    FAIL() << "it read from somewhere else";
  } catch (const ConnectorError& error) {
    EXPECT_FALSE(error.retryable());
    EXPECT_THAT(error.what(), HasSubstr("t-0: offset 1000 is out of range"));
  }
}

TEST_F(KafkaReaderTest, WaitsForABrokerThatGoesAwayAndSaysSo) {
  kafka_.create_topic("t", 1);
  kafka_.produce(sales("t", 0, 0, 3));
  Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}));
  harness.open();
  ASSERT_TRUE(harness.run_until_caught_up());
  EXPECT_EQ(harness.reader().waiting_for(), "");
  kafka_.set_down();
  ASSERT_TRUE(harness.run_until([&] { return !harness.reader().waiting_for().empty(); }));
  EXPECT_THAT(harness.reader().waiting_for(), HasSubstr("Kafka: 127.0.0.1"));
  kafka_.set_up();
  ASSERT_TRUE(harness.run_until([&] { return harness.reader().waiting_for().empty(); }))
      << "the status is cleared although no record came";
  kafka_.produce(sales("t", 0, 3, 6));
  ASSERT_TRUE(harness.run_until_rows(6));
  EXPECT_EQ(ids(harness.rows()), range(0, 6));
}

TEST_F(KafkaReaderTest, ClosesQuicklyWhenTheBrokerIsGone) {
  kafka_.create_topic("t", 2);
  kafka_.produce(sales("t", 0, 0, 5000));
  Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}, .group_id = "g"}));
  harness.open();
  ASSERT_TRUE(harness.run_until_rows(1));
  kafka_.set_down();
  harness.complete_checkpoint();
  const auto before = std::chrono::steady_clock::now();
  harness.close();
  EXPECT_LT(std::chrono::steady_clock::now() - before, 20s);
}

TEST_F(KafkaReaderTest, TakesItsPrefetchFromTheBudgetAndGivesItBack) {
  kafka_.create_topic("t", 2);
  Harness harness(source<Sale>({.brokers = kafka_.brokers(), .topics = {"t"}}));
  harness.open();
  EXPECT_GT(harness.memory().prefetch().used_bytes(), 0u);
  EXPECT_LE(harness.memory().prefetch().used_bytes(), harness.memory().prefetch().limit_bytes());
  harness.close();
  EXPECT_EQ(harness.memory().prefetch().used_bytes(), 0u);
}

TEST_F(KafkaReaderTest, CommitsOffsetsOfCompleteCheckpoints) {
  kafka_.create_topic("t", 1);
  kafka_.produce(sales("t", 0, 0, 10));
  const SourceOptions<Sale> options{
      .brokers = kafka_.brokers(), .topics = {"t"}, .group_id = "g", .start_from = group_offsets()};
  {
    Harness harness(source<Sale>(options), 4);
    harness.open();
    harness.complete_checkpoint();  // the group's coordinator is not known yet: this one waits
    ASSERT_TRUE(harness.run_until_rows(4));
    // A commit that finds no coordinator in time fails; the next checkpoint sends the offsets again,
    // also when no record came in between.
    const auto until = std::chrono::steady_clock::now() + 120s;
    const std::vector<std::string> positions{harness.reader().position(0)};
    const auto position = [&]() -> std::string {
      try {
        return Harness(source<Sale>(options)).discover()[0].position;
      } catch (const ConnectorError& error) {
        return error.what();  // it did not learn the offsets in time
      }
    };
    while (position() != positions[0] && std::chrono::steady_clock::now() < until) {
      harness.reader().committed(positions);
      harness.poll();
    }
    EXPECT_EQ(position(), positions[0]) << harness.logged();
  }
}

// Everything that librdkafka has to say goes to the log sink; the process's own streams stay empty.
TEST_F(KafkaReaderTest, PrintsNothing) {
  char name[] = "/tmp/levada_printed_XXXXXX";
  const int file = mkstemp(name);
  ASSERT_GE(file, 0);
  const int out = dup(1), err = dup(2);
  dup2(file, 1);
  dup2(file, 2);
  std::string logged;
  {
    kafka_.create_topic("t", 1);
    kafka_.produce(sales("t", 0, 0, 3));
    Harness harness(source<Sale>(
        {.brokers = kafka_.brokers(), .topics = {"t"}, .client = {{"debug", "broker"}}}));
    harness.open();
    harness.run_until_rows(3);
    kafka_.set_down();
    harness.run_until([&] { return !harness.reader().waiting_for().empty(); });
    harness.close();
    logged = harness.logged();
  }
  dup2(out, 1);
  dup2(err, 2);
  ::close(out);
  ::close(err);
  EXPECT_EQ(lseek(file, 0, SEEK_END), 0);
  ::close(file);
  unlink(name);
  EXPECT_THAT(logged, HasSubstr("librdkafka"));
}

}  // namespace
}  // namespace levada::kafka
