#include "kafka_client.h"

#include <chrono>
#include <stdexcept>
#include <thread>

namespace orders {
namespace {

constexpr int kTimeoutMs = 30'000;

struct AdminDeleter {
  void operator()(rd_kafka_NewTopic_t* topic) const { rd_kafka_NewTopic_destroy(topic); }
  void operator()(rd_kafka_DeleteTopic_t* topic) const { rd_kafka_DeleteTopic_destroy(topic); }
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};

template <typename Handle>
using AdminPtr = std::unique_ptr<Handle, AdminDeleter>;

KafkaPtr<rd_kafka_t> admin_handle(const std::string& brokers) {
  return make_handle(RD_KAFKA_PRODUCER, make_conf({{"bootstrap.servers", brokers}}));
}

// Waits for the answer to an admin request; throws when the request or the one topic in it failed.
void wait_for_topic_result(rd_kafka_queue_t* queue, const std::string& what,
                           const std::string& brokers) {
  const AdminPtr<rd_kafka_event_t> event(rd_kafka_queue_poll(queue, 2 * kTimeoutMs));
  if (!event) throw std::runtime_error(what + ": no answer from " + brokers);
  if (rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    throw std::runtime_error(what + ": " + rd_kafka_event_error_string(event.get()));
  }
  std::size_t count = 0;
  const rd_kafka_topic_result_t** results = nullptr;
  if (const auto* created = rd_kafka_event_CreateTopics_result(event.get())) {
    results = rd_kafka_CreateTopics_result_topics(created, &count);
  } else if (const auto* deleted = rd_kafka_event_DeleteTopics_result(event.get())) {
    results = rd_kafka_DeleteTopics_result_topics(deleted, &count);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (rd_kafka_topic_result_error(results[i]) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      throw std::runtime_error(what + ": " + rd_kafka_topic_result_error_string(results[i]));
    }
  }
}

bool every_partition_has_leader(rd_kafka_t* handle, const std::string& topic,
                                std::int32_t partition_count) {
  const KafkaPtr<rd_kafka_topic_t> named(rd_kafka_topic_new(handle, topic.c_str(), nullptr));
  const rd_kafka_metadata_t* metadata = nullptr;
  if (rd_kafka_metadata(handle, 0, named.get(), &metadata, kTimeoutMs) !=
      RD_KAFKA_RESP_ERR_NO_ERROR) {
    return false;
  }
  const std::unique_ptr<const rd_kafka_metadata_t, decltype(&rd_kafka_metadata_destroy)> owned(
      metadata, &rd_kafka_metadata_destroy);
  if (metadata->topic_cnt != 1) return false;
  const rd_kafka_metadata_topic_t& found = metadata->topics[0];
  if (found.partition_cnt != partition_count) return false;
  for (int i = 0; i < found.partition_cnt; ++i) {
    if (found.partitions[i].leader < 0) return false;
  }
  return true;
}

// Errors that a broker answers with while the leader of a partition changes.
bool passes(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
         error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
}

}  // namespace

KafkaPtr<rd_kafka_conf_t> make_conf(KafkaSettings settings) {
  KafkaPtr<rd_kafka_conf_t> conf(rd_kafka_conf_new());
  rd_kafka_conf_set_log_cb(conf.get(), nullptr);
  char error[512];
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf.get(), name, value.c_str(), error, sizeof error) !=
        RD_KAFKA_CONF_OK) {
      throw std::runtime_error(error);
    }
  }
  return conf;
}

KafkaPtr<rd_kafka_t> make_handle(rd_kafka_type_t type, KafkaPtr<rd_kafka_conf_t> conf) {
  char error[512];
  rd_kafka_t* handle = rd_kafka_new(type, conf.get(), error, sizeof error);
  if (handle == nullptr) throw std::runtime_error(error);
  (void)conf.release();  // the handle has taken it
  return KafkaPtr<rd_kafka_t>(handle);
}

void create_topic(const std::string& brokers, const std::string& topic,
                  std::int32_t partition_count) {
  const std::string what = "cannot create topic " + topic;
  const KafkaPtr<rd_kafka_t> handle = admin_handle(brokers);
  const KafkaPtr<rd_kafka_queue_t> queue(rd_kafka_queue_new(handle.get()));
  char error[512];
  const AdminPtr<rd_kafka_NewTopic_t> wanted(
      rd_kafka_NewTopic_new(topic.c_str(), partition_count, 1, error, sizeof error));
  if (!wanted) throw std::runtime_error(what + ": " + error);
  rd_kafka_NewTopic_t* request[] = {wanted.get()};
  rd_kafka_CreateTopics(handle.get(), request, 1, nullptr, queue.get());
  wait_for_topic_result(queue.get(), what, brokers);

  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kTimeoutMs);
  while (!every_partition_has_leader(handle.get(), topic, partition_count)) {
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error(what + ": no leader for every partition");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

void delete_topic(const std::string& brokers, const std::string& topic) {
  const KafkaPtr<rd_kafka_t> handle = admin_handle(brokers);
  const KafkaPtr<rd_kafka_queue_t> queue(rd_kafka_queue_new(handle.get()));
  const AdminPtr<rd_kafka_DeleteTopic_t> wanted(rd_kafka_DeleteTopic_new(topic.c_str()));
  rd_kafka_DeleteTopic_t* request[] = {wanted.get()};
  rd_kafka_DeleteTopics(handle.get(), request, 1, nullptr, queue.get());
  wait_for_topic_result(queue.get(), "cannot delete topic " + topic, brokers);
}

OffsetQuery::OffsetQuery(const std::string& brokers, std::string topic,
                         std::int32_t partition_count)
    : topic_(std::move(topic)),
      partition_count_(partition_count),
      handle_(make_handle(RD_KAFKA_CONSUMER, make_conf({{"bootstrap.servers", brokers},
                                                        {"group.id", "orders-offsets"}}))) {}

std::vector<OffsetRange> OffsetQuery::ask() const {
  std::vector<OffsetRange> ranges(static_cast<std::size_t>(partition_count_));
  for (std::int32_t p = 0; p < partition_count_; ++p) {
    OffsetRange& range = ranges[static_cast<std::size_t>(p)];
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kTimeoutMs);
    for (;;) {
      const rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(
          handle_.get(), topic_.c_str(), p, &range.low, &range.high, kTimeoutMs);
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR) break;
      if (!passes(error) || std::chrono::steady_clock::now() > deadline) {
        throw std::runtime_error("cannot ask for the offsets of " + topic_ + ": " +
                                 rd_kafka_err2str(error));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  return ranges;
}

}  // namespace orders
