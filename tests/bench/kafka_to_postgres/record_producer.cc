#include "record_producer.h"

#include <stdexcept>
#include <utility>

#include "kafka_client.h"
#include "records.h"

namespace bench {
namespace {

constexpr int kFlushTimeoutMs = 120'000;

void count_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* delivered_count) {
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) ++*static_cast<std::int64_t*>(delivered_count);
}

}  // namespace

void produce_records(const std::string& brokers, const std::string& topic, std::int64_t row_count) {
  std::int64_t delivered_count = 0;  // touched by this thread's polls only
  auto conf = orders::make_conf({{"bootstrap.servers", brokers},
                                 {"linger.ms", "50"},
                                 {"batch.num.messages", "50000"},
                                 {"batch.size", "1000000"},
                                 {"queue.buffering.max.messages", "1000000"},
                                 {"acks", "1"}});
  rd_kafka_conf_set_opaque(conf.get(), &delivered_count);
  rd_kafka_conf_set_dr_msg_cb(conf.get(), count_delivery);
  const auto producer = orders::make_handle(RD_KAFKA_PRODUCER, std::move(conf));
  const orders::KafkaPtr<rd_kafka_topic_t> named(
      rd_kafka_topic_new(producer.get(), topic.c_str(), nullptr));

  std::string json;
  for (std::int64_t i = 0; i < row_count; ++i) {
    orders::write_json(record(i), json);
    while (rd_kafka_produce(named.get(), static_cast<std::int32_t>(i % kPartitionCount),
                            RD_KAFKA_MSG_F_COPY, json.data(), json.size(), nullptr, 0,
                            nullptr) != 0) {
      rd_kafka_poll(producer.get(), 10);
    }
    if (i % 1'024 == 0) rd_kafka_poll(producer.get(), 0);
  }
  rd_kafka_flush(producer.get(), kFlushTimeoutMs);
  if (delivered_count != row_count) throw std::runtime_error("not every record was delivered");
  for (const auto& range : orders::OffsetQuery(brokers, topic, kPartitionCount).ask()) {
    if (range.low != 0 || range.high != row_count / kPartitionCount) {
      throw std::runtime_error("a partition does not hold the records that were produced");
    }
  }
}

}  // namespace bench
