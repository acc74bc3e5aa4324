#include "unit/connectors_kafka/mock_kafka.h"

#include <stdexcept>

// rd_kafka_producev's macros check their arguments with statement expressions.
#pragma GCC diagnostic ignored "-Wpedantic"
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-statement-expression-from-macro-expansion"
#endif

namespace levada::testing {
namespace {

void check(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

void ignore_log(const rd_kafka_t*, int, const char*, const char*) {}

}  // namespace

KafkaProducer::KafkaProducer(const std::string& brokers,
                             std::vector<std::pair<std::string, std::string>> options) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  options.insert(options.begin(), {{"bootstrap.servers", brokers}, {"linger.ms", "1"}});
  char why[512];
  for (const auto& [key, value] : options) {
    check(rd_kafka_conf_set(conf, key.c_str(), value.c_str(), why, sizeof why) == RD_KAFKA_CONF_OK,
          why);
  }
  rd_kafka_conf_set_log_cb(conf, &ignore_log);
  rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* message, void*) {
    check(message->err == RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_err2str(message->err));
  });
  handle_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  check(handle_ != nullptr, why);
}

KafkaProducer::~KafkaProducer() {
  rd_kafka_destroy(handle_);
}

void KafkaProducer::produce(const Produced& record) {
  rd_kafka_headers_t* headers = rd_kafka_headers_new(record.headers.size());
  for (const auto& [name, value] : record.headers) {
    rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()), value.data(),
                        static_cast<ssize_t>(value.size()));
  }
  void* value = record.value ? const_cast<char*>(record.value->data()) : nullptr;
  const std::size_t size = record.value ? record.value->size() : 0;
  for (;;) {
    const auto error = rd_kafka_producev(
        handle_, RD_KAFKA_V_TOPIC(record.topic.c_str()), RD_KAFKA_V_PARTITION(record.partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE(value, size),
        RD_KAFKA_V_KEY(record.key.empty() ? nullptr : record.key.data(), record.key.size()),
        RD_KAFKA_V_TIMESTAMP(record.timestamp_ms), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) break;
    check(error == RD_KAFKA_RESP_ERR__QUEUE_FULL, rd_kafka_err2str(error));
    rd_kafka_poll(handle_, 10);
  }
  rd_kafka_poll(handle_, 0);
}

void KafkaProducer::flush() {
  check(rd_kafka_flush(handle_, 30'000) == RD_KAFKA_RESP_ERR_NO_ERROR, "records are not stored");
}

MockKafka::MockKafka() {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set_log_cb(conf, &ignore_log);
  char why[512];
  host_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  check(host_ != nullptr, why);
  cluster_ = rd_kafka_mock_cluster_new(host_, 1);
  check(cluster_ != nullptr, "no mock cluster");
}

MockKafka::~MockKafka() {
  rd_kafka_mock_cluster_destroy(cluster_);
  rd_kafka_destroy(host_);
}

std::string MockKafka::brokers() const {
  return rd_kafka_mock_cluster_bootstraps(cluster_);
}

void MockKafka::create_topic(const std::string& topic, int partitions) {
  check(rd_kafka_mock_topic_create(cluster_, topic.c_str(), partitions, 1) ==
            RD_KAFKA_RESP_ERR_NO_ERROR,
        "topic not made");
}

void MockKafka::fail_topic(const std::string& topic, rd_kafka_resp_err_t error) {
  rd_kafka_mock_topic_set_error(cluster_, topic.c_str(), error);
}

void MockKafka::set_down() {
  rd_kafka_mock_broker_set_down(cluster_, 1);
}
void MockKafka::set_up() {
  rd_kafka_mock_broker_set_up(cluster_, 1);
}

void MockKafka::produce(const std::vector<Produced>& records) {
  KafkaProducer producer(brokers());
  for (const Produced& record : records) producer.produce(record);
  producer.flush();
}

}  // namespace levada::testing
