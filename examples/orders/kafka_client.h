// The few things that producer and recount need of librdkafka: owned handles, topics and offsets.
// Every failure is a std::runtime_error that names the broker or the topic.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <librdkafka/rdkafka.h>

namespace orders {

struct KafkaDeleter {
  void operator()(rd_kafka_t* handle) const { rd_kafka_destroy(handle); }
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
  void operator()(rd_kafka_topic_partition_list_t* list) const {
    rd_kafka_topic_partition_list_destroy(list);
  }
};

template <typename Handle>
using KafkaPtr = std::unique_ptr<Handle, KafkaDeleter>;

using KafkaSettings = std::initializer_list<std::pair<const char*, std::string>>;

// A configuration whose log lines go nowhere: what matters comes back as an error of a call.
KafkaPtr<rd_kafka_conf_t> make_conf(KafkaSettings settings);
KafkaPtr<rd_kafka_t> make_handle(rd_kafka_type_t type, KafkaPtr<rd_kafka_conf_t> conf);

// Topics of a real server. Creating waits until the topic's partitions are known to have a leader.
void create_topic(const std::string& brokers, const std::string& topic,
                  std::int32_t partition_count);
void delete_topic(const std::string& brokers, const std::string& topic);

struct OffsetRange {
  std::int64_t low = 0;   // the oldest offset that the server still has
  std::int64_t high = 0;  // the offset that the next record will get
};

// Asks a server for the offsets of a topic, as often as wanted over one connection.
class OffsetQuery {
 public:
  OffsetQuery(const std::string& brokers, std::string topic, std::int32_t partition_count);
  std::vector<OffsetRange> ask() const;  // index = partition

 private:
  std::string topic_;
  std::int32_t partition_count_;
  KafkaPtr<rd_kafka_t> handle_;
};

}  // namespace orders
