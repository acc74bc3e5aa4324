// The Kafka source on a real broker: where reading starts and stops, what a record's own data becomes,
// which offsets are committed, and what is refused.
#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "jobs/servers.h"
#include "levada/connectors/kafka.h"
#include "levada/levada.h"
#include "support/in_time.h"
#include "support/temp_dir.h"
#include "unit/connectors_kafka/kafka_rows.h"

namespace levada {
namespace {

using levada::testing::brokers;
using levada::testing::KafkaProducer;
using levada::testing::Playground;
using levada::testing::range;
using levada::testing::Sale;
using levada::testing::sale;
using levada::testing::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using levada::testing::required_env;

// The time of the sale with this id.
Timestamp time_of(std::int64_t id) { return Timestamp{std::chrono::milliseconds{1'700'000'000'000 + id}}; }

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const JobError& error) {
    return error.what();
  }
  return "(none)";
}

// Partition 0 has the sales 0 to 99, partition 1 those from 100 to 199.
class KafkaSource : public ::testing::Test {
 protected:
  void SetUp() override { produce(0, 200); }

  void produce(std::int64_t first, std::int64_t last,
               std::vector<std::pair<std::string, std::string>> options = {}) {
    KafkaProducer producer(brokers(), std::move(options));
    for (std::int64_t id = first; id < last; ++id) {
      producer.produce(sale(place.topic(), id / 100 % 2 ? 1 : 0, id));
    }
    producer.flush();
  }

  kafka::SourceOptions<Sale> options() {
    return {.brokers = brokers(), .topics = {place.topic()}, .stop_at = kafka::latest()};
  }

  // The ids that a bounded job reads, sorted.
  std::vector<std::int64_t> read(kafka::SourceOptions<Sale> from, int parallelism = 2) {
    StreamEnvironment env({.parallelism = parallelism});
    const auto rows = env.from_source(kafka::source<Sale>(std::move(from))).collect();
    env.execute("reads");
    std::vector<std::int64_t> all;
    for (const Sale& row : rows.rows()) all.push_back(row.id);
    std::sort(all.begin(), all.end());
    return all;
  }

  // Where a job would start at the group's offsets, or why it cannot say so yet.
  static std::string committed(kafka::SourceOptions<Sale> from) {
    from.start_from = kafka::group_offsets();
    const auto source = kafka::source<Sale>(std::move(from));
    std::string text;
    try {
      for (const Split& split : source.factory->discover({}, system_clock(), [](LogLevel, std::string_view) {})) {
        text += split.position + " ";
      }
    } catch (const ConnectorError& error) {
      text = error.what();
    }
    return text;
  }

  Playground place{2};
};

std::vector<std::int64_t> operator+(std::vector<std::int64_t> a, const std::vector<std::int64_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_F(KafkaSource, ReadsFromTheEarliestToTheLatestAlsoWithMoreSubtasksThanPartitions) {
  EXPECT_EQ(read(options()), range(0, 200));
  EXPECT_EQ(read(options(), 5), range(0, 200));
}

TEST_F(KafkaSource, StartsAtTheLatest) {
  kafka::SourceOptions<Sale> from = options();
  from.start_from = kafka::latest();
  from.stop_at = kafka::offsets({{place.topic(), 0, 101}, {place.topic(), 1, 100}});
  StreamEnvironment env;
  const auto rows = env.from_source(kafka::source<Sale>(from)).collect();
  Job job = env.execute_async("latest");
  while (job.status().state != JobState::kRunning) std::this_thread::sleep_for(5ms);
  produce(200, 201);
  job.wait();
  ASSERT_EQ(rows.rows().size(), 1u);
  EXPECT_EQ(rows.rows()[0].id, 200);
}

TEST_F(KafkaSource, StartsAndStopsAtTimestamps) {
  kafka::SourceOptions<Sale> from = options();
  from.start_from = kafka::timestamp(time_of(40));
  from.stop_at = kafka::timestamp(time_of(150));
  EXPECT_EQ(read(from), range(40, 150));
  from.start_from = kafka::timestamp(time_of(1'000));  // behind every record: the end of the moment
  from.stop_at = kafka::latest();
  EXPECT_TRUE(read(from).empty());
}

TEST_F(KafkaSource, StartsAndStopsAtGivenOffsets) {
  kafka::SourceOptions<Sale> from = options();
  from.start_from = kafka::offsets({{place.topic(), 0, 90}});
  from.stop_at = kafka::offsets({{place.topic(), kafka::kAllPartitions, 95}});
  EXPECT_EQ(read(from), range(90, 95) + range(100, 195)) << "partition 1 from its earliest record";
}

TEST_F(KafkaSource, StartsAtWhatItsGroupHasCommittedAndCommitsWhenCheckpointsComplete) {
  TempDir dir;
  kafka::SourceOptions<Sale> from = options();
  from.group_id = place.topic() + "-group";
  from.stop_at.reset();
  std::string logged;
  {
    StreamEnvironment env({.checkpoint = {.interval = 10ms, .directory = dir.path()},
                           .log = [&](LogLevel, std::string_view text) {
                             logged += std::string(text) + "\n";
                           }});
    env.from_source(kafka::source<Sale>(from)).uid("sales").discard().uid("out");
    Job job = env.execute_async("commits");
    const auto until = std::chrono::steady_clock::now() + 120s;
    while (committed(from) != "1:100 1:100 " && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(20ms);
    }
    const std::string last = committed(from);
    job.request_stop();
    job.wait();
    EXPECT_EQ(last, "1:100 1:100 ") << logged;
  }
  produce(200, 310);
  from.start_from = kafka::group_offsets();
  from.stop_at = kafka::latest();
  EXPECT_EQ(read(from), range(200, 310));
  from.group_id = "a group that never committed";
  EXPECT_EQ(read(from), range(0, 310)) << "from the earliest record";
  from.start_from = kafka::earliest();
  from.stop_at = kafka::group_offsets();
  EXPECT_THAT(error_of([&] { read(from); }), HasSubstr("a group that never committed"));
}

// Which broker's door, with which of librdkafka's options, and what it is to say when it stays shut.
struct Door {
  const char* brokers;
  std::map<std::string, std::string> client;
  std::vector<std::string> said;
};

TEST_F(KafkaSource, ReadsThroughSaslAndTlsOrSaysAtOnceWhyItCannotAndKeepsSecrets) {
  const std::string certificates = required_env("LEVADA_TEST_SERVERS") + "/kafka/";
  const auto sasl = [](const char* password) {
    return std::map<std::string, std::string>{{"security.protocol", "sasl_plaintext"},
                                              {"sasl.mechanisms", "PLAIN"},
                                              {"sasl.username", "reader"},
                                              {"sasl.password", password}};
  };
  const auto tls = [&](const char* certificate) {
    return std::map<std::string, std::string>{{"security.protocol", "ssl"},
                                              {"ssl.ca.location", certificates + certificate}};
  };
  const Door doors[] = {
      {"LEVADA_TEST_BROKERS_SASL", sasl("right password"), {}},
      {"LEVADA_TEST_BROKERS_SASL", sasl("open sesame"), {"Authentication failed"}},
      {"LEVADA_TEST_BROKERS_SASL", tls("kafka.pem"), {"SSL handshake failed"}},
      {"LEVADA_TEST_BROKERS_TLS", tls("kafka.pem"), {}},
      {"LEVADA_TEST_BROKERS_TLS", tls("expired.pem"), {"certificate verify failed"}},
      {"LEVADA_TEST_BROKERS_TLS", sasl("open sesame"), {"127.0.0.1"}},
      {"LEVADA_TEST_BROKERS_EXPIRED", tls("expired.pem"), {"certificate verify failed"}},
      {"LEVADA_TEST_BROKERS_EXPIRED", {}, {"127.0.0.1"}},
  };
  for (const Door& door : doors) {
    kafka::SourceOptions<Sale> from = options();
    from.brokers = required_env(door.brokers);
    from.client = door.client;
    SCOPED_TRACE(std::string(door.brokers) + (door.client.empty() ? "" : " " + door.client.begin()->second));
    std::mutex mutex;
    std::string logged;
    std::string error;
    const auto took = testing::least_time(10s, [&] {
      StreamEnvironment env({.log = [&](LogLevel, std::string_view text) {
        const std::lock_guard lock(mutex);
        logged += std::string(text) + "\n";
      }});
      const auto rows = env.from_source(kafka::source<Sale>(from)).collect();
      error = error_of([&] { env.execute("doors"); });
      if (!door.said.empty()) return;
      EXPECT_EQ(error, "(none)");
      EXPECT_EQ(rows.rows().size(), 200u);
    });
    EXPECT_LT(took, 10s) << error;
    for (const std::string& what : door.said) EXPECT_THAT(error, HasSubstr(what));
    EXPECT_THAT(error + logged, Not(HasSubstr("open sesame")));
    EXPECT_THAT(error + logged, Not(HasSubstr("right password")));
  }
}

TEST_F(KafkaSource, ReadsSinglePartitions) {
  kafka::SourceOptions<Sale> from = options();
  from.topics.clear();
  from.partitions = {{place.topic(), 1}};
  EXPECT_EQ(read(from), range(100, 200));
}

TEST_F(KafkaSource, ResumesFromItsCheckpointWhateverTheStartSays) {
  TempDir dir;
  Collected<Sale> rows;
  for (const std::int64_t last : {200, 260}) {
    if (last > 200) produce(200, last);
    StreamEnvironment env({.parallelism = last > 200 ? 3 : 2,
                           .checkpoint = {.interval = 10ms, .directory = dir.path()}});
    kafka::SourceOptions<Sale> from = options();
    from.stop_at.reset();
    env.from_source(kafka::source<Sale>(from)).uid("sales").collect_into(rows).uid("rows");
    Job job = env.execute_async("resumes");
    while (rows.rows().size() < static_cast<std::size_t>(last)) std::this_thread::sleep_for(5ms);
    job.request_stop();
    job.wait();
  }
  EXPECT_EQ(rows.rows().size(), 260u);
}

TEST_F(KafkaSource, RefusesToGoOnWhereRecordsAreGone) {
  TempDir dir;
  const auto job = [&](std::optional<kafka::Position> stop_at) {
    StreamEnvironment env({.checkpoint = {.interval = 1s, .directory = dir.path()},
                           .restart = no_restart()});
    kafka::SourceOptions<Sale> from = options();
    from.start_from = kafka::offsets({{place.topic(), 0, 10}, {place.topic(), 1, 10}});
    from.stop_at = std::move(stop_at);
    env.from_source(kafka::source<Sale>(from)).uid("sales").discard().uid("out");
    return env.execute_async("gone");
  };
  {
    Job first = job(std::nullopt);
    while (first.status().checkpoints_completed == 0) std::this_thread::sleep_for(5ms);
    first.request_stop();
    first.wait();
  }
  produce(200, 300);
  // Everything before offset 150 is removed, as retention does it; the checkpoint says 100.
  {
    KafkaProducer admin(brokers());
    rd_kafka_topic_partition_list_t* offsets = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(offsets, place.topic().c_str(), 0)->offset = 150;
    rd_kafka_DeleteRecords_t* records = rd_kafka_DeleteRecords_new(offsets);
    rd_kafka_queue_t* queue = rd_kafka_queue_new(admin.handle());
    rd_kafka_DeleteRecords(admin.handle(), &records, 1, nullptr, queue);
    rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 60'000);
    ASSERT_NE(event, nullptr);
    EXPECT_EQ(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(offsets);
  }
  Job second = job(std::nullopt);
  EXPECT_THAT(error_of([&] { second.wait_for(60s); }),
              AllOf(HasSubstr(place.topic() + "-0"), HasSubstr("offset 100 is out of range")));
}

TEST_F(KafkaSource, FillsFieldsFromKeyHeadersOffsetAndTime) {
  KafkaProducer producer(brokers());
  producer.produce({.topic = place.topic(),
                    .partition = 1,
                    .value = "{\"id\":1}",
                    .key = "the key",
                    .timestamp_ms = 1'650'000'000'123,
                    .headers = {{"note", "first"}, {"note", "last"}}});
  producer.flush();
  kafka::SourceOptions<Sale> from = options();
  from.start_from = kafka::offsets({{place.topic(), 0, 100}, {place.topic(), 1, 100}});
  from.with_record = [](Sale& row, const kafka::RecordView& record) {
    row.offset = record.offset;
    row.note = std::string(record.key) + "/" + std::string(*record.header("note")) + "/" +
               std::to_string(record.partition) + "/" + std::string(record.topic);
  };
  StreamEnvironment env;
  const auto rows = env.from_source(kafka::source<Sale>(from)).collect();
  env.execute("fields");
  ASSERT_EQ(rows.rows().size(), 1u);
  EXPECT_EQ(rows.rows()[0].offset, 100);
  EXPECT_EQ(rows.rows()[0].note, "the key/last/1/" + place.topic());
  EXPECT_EQ(rows.times()[0], Timestamp{1'650'000'000'123ms});
}

TEST_F(KafkaSource, ReadsEveryCodecAndOnlyWhatWasCommitted) {
  std::int64_t first = 200;
  for (const char* codec : {"gzip", "snappy", "lz4", "zstd"}) {
    produce(first, first + 100, {{"compression.codec", codec}});
    first += 100;
  }
  {
    KafkaProducer producer(brokers(), {{"transactional.id", place.topic()}});
    ASSERT_EQ(rd_kafka_init_transactions(producer.handle(), 60'000), nullptr);
    for (const bool commits : {false, true}) {
      ASSERT_EQ(rd_kafka_begin_transaction(producer.handle()), nullptr);
      for (std::int64_t id = 0; id < 100; ++id) {
        producer.produce(sale(place.topic(), 0, commits ? first + id : 9'999));
      }
      producer.flush();
      const auto end = commits ? &rd_kafka_commit_transaction : &rd_kafka_abort_transaction;
      EXPECT_EQ(end(producer.handle(), 60'000), nullptr);
    }
  }
  EXPECT_EQ(read(options()), range(0, first + 100)) << "nothing of the transaction that was given up";
}

TEST_F(KafkaSource, PassesOptionsOnToTheClient) {
  kafka::SourceOptions<Sale> from = options();
  // Too little for the larger records but never for one: it reads them all the same.
  from.client = {{"fetch.message.max.bytes", "1024"}, {"client.id", "a client of ours"}, {"debug", "conf"}};
  std::string logged;
  StreamEnvironment env({.log = [&](LogLevel, std::string_view text) { logged += text; }});
  const auto rows = env.from_source(kafka::source<Sale>(from)).collect();
  env.execute("options");
  EXPECT_EQ(rows.rows().size(), 200u);
  EXPECT_THAT(logged, AllOf(HasSubstr("client.id = a client of ours"),
                            HasSubstr("fetch.message.max.bytes = 1024")));
}

}  // namespace
}  // namespace levada
