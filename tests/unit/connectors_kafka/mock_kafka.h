// A Kafka cluster of one broker inside the test's process, and a producer for it.
//
// Threads: of the test.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

namespace levada::testing {

/// A record to be produced.
struct Produced {
  std::string topic;
  std::int32_t partition = 0;
  std::optional<std::string> value;
  std::string key{};
  std::int64_t timestamp_ms = 1'700'000'000'000;
  std::vector<std::pair<std::string, std::string>> headers{};
};

/// A producer for any broker.
class KafkaProducer {
 public:
  explicit KafkaProducer(const std::string& brokers,
                         std::vector<std::pair<std::string, std::string>> options = {});
  ~KafkaProducer();
  KafkaProducer(const KafkaProducer&) = delete;
  KafkaProducer& operator=(const KafkaProducer&) = delete;

  void produce(const Produced& record);
  /// Waits until all records are stored; throws if one is not.
  void flush();
  rd_kafka_t* handle() const { return handle_; }

 private:
  rd_kafka_t* handle_;
};

class MockKafka {
 public:
  MockKafka();
  ~MockKafka();
  MockKafka(const MockKafka&) = delete;
  MockKafka& operator=(const MockKafka&) = delete;

  std::string brokers() const;
  void create_topic(const std::string& topic, int partitions);
  void fail_topic(const std::string& topic, rd_kafka_resp_err_t error);
  void set_down();
  void set_up();

  /// Stores the records in their order.
  void produce(const std::vector<Produced>& records);

 private:
  rd_kafka_t* host_;
  rd_kafka_mock_cluster_t* cluster_;
};

}  // namespace levada::testing
