// What reading and parsing costs without a stream processor: librdkafka, one queue per partition,
// and simdjson on the payload. The other side of the benchmark's ratio.
//
//   bare_consumer BROKERS TOPIC PARTITION_COUNT END_OFFSET
//
// Reads every partition up to the offset and prints: rows=… user=… item=… amount=… ts=… (sums).

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <librdkafka/rdkafka.h>
#include <simdjson.h>

#include "kafka_client.h"

namespace bench {
namespace {

constexpr std::size_t kMessagesMax = 10'000;
constexpr int kPollMs = 100;

struct Sums {
  std::int64_t rows = 0;
  std::int64_t user = 0;
  std::int64_t item = 0;
  std::int64_t amount = 0;
  std::int64_t ts = 0;
};

class BareConsumer {
 public:
  BareConsumer(const char* brokers, const char* topic, std::int32_t partition_count,
               std::int64_t end_offset)
      : end_offset_(end_offset), unfinished_count_(partition_count) {
    consumer_ = orders::make_handle(RD_KAFKA_CONSUMER, orders::make_conf({
                                                           {"bootstrap.servers", brokers},
                                                           {"group.id", "bare-consumer"},
                                                           {"enable.auto.commit", "false"},
                                                           {"isolation.level", "read_committed"},
                                                           {"check.crcs", "true"},
                                                           // A short queue stays in the cache.
                                                           {"queued.min.messages", "50000"},
                                                           {"fetch.message.max.bytes", "8388608"},
                                                           {"fetch.wait.max.ms", "10"},
                                                       }));
    orders::KafkaPtr<rd_kafka_topic_partition_list_t> list(
        rd_kafka_topic_partition_list_new(partition_count));
    for (std::int32_t p = 0; p < partition_count; ++p) {
      rd_kafka_topic_partition_list_add(list.get(), topic, p)->offset = 0;
      // Taken off the common queue before anything is fetched.
      queues_.emplace_back(rd_kafka_queue_get_partition(consumer_.get(), topic, p));
      rd_kafka_queue_forward(queues_.back().get(), nullptr);
    }
    if (rd_kafka_assign(consumer_.get(), list.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      throw std::runtime_error("cannot assign the partitions");
    }
  }

  Sums run() {
    std::vector<bool> finished(queues_.size());
    while (unfinished_count_ > 0) {
      for (std::size_t p = 0; p < queues_.size(); ++p) {
        if (!finished[p]) finished[p] = read_batch(queues_[p].get());
      }
    }
    return sums_;
  }

 private:
  // True when the partition's last row was in the batch.
  bool read_batch(rd_kafka_queue_t* queue) {
    const ssize_t count =
        rd_kafka_consume_batch_queue(queue, kPollMs, messages_.data(), messages_.size());
    bool last = false;
    for (ssize_t i = 0; i < count; ++i) {
      rd_kafka_message_t* message = messages_[static_cast<std::size_t>(i)];
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        throw std::runtime_error(rd_kafka_message_errstr(message));
      }
      if (message->offset < end_offset_) add(*message);
      last = last || message->offset == end_offset_ - 1;
      rd_kafka_message_destroy(message);
    }
    if (last) --unfinished_count_;
    return last;
  }

  void add(const rd_kafka_message_t& message) {
    if (message.len + simdjson::SIMDJSON_PADDING > buffer_.size()) {
      buffer_.resize(2 * message.len + simdjson::SIMDJSON_PADDING);
    }
    std::memcpy(buffer_.data(), message.payload, message.len);
    auto document = parser_.iterate(buffer_.data(), message.len, buffer_.size());
    auto object = document.get_object().value();
    sums_.user += object.find_field("user").get_int64().value();
    sums_.item += object.find_field("item").get_int64().value();
    sums_.amount += object.find_field("amount").get_int64().value();
    sums_.ts += object.find_field("ts").get_int64().value();
    ++sums_.rows;
  }

  std::int64_t end_offset_;
  std::int32_t unfinished_count_;
  orders::KafkaPtr<rd_kafka_t> consumer_;
  std::vector<orders::KafkaPtr<rd_kafka_queue_t>> queues_;  // gone before the consumer
  std::array<rd_kafka_message_t*, kMessagesMax> messages_{};
  simdjson::ondemand::parser parser_;
  std::vector<char> buffer_ = std::vector<char>(1'024);
  Sums sums_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: bare_consumer BROKERS TOPIC PARTITION_COUNT END_OFFSET\n");
    return 2;
  }
  try {
    const auto consumer = std::make_unique<bench::BareConsumer>(
        argv[1], argv[2], std::stoi(argv[3]), std::stoll(argv[4]));
    const bench::Sums sums = consumer->run();
    std::printf("rows=%lld user=%lld item=%lld amount=%lld ts=%lld\n",
                static_cast<long long>(sums.rows), static_cast<long long>(sums.user),
                static_cast<long long>(sums.item), static_cast<long long>(sums.amount),
                static_cast<long long>(sums.ts));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bare_consumer: %s\n", error.what());
    return 1;
  }
}
