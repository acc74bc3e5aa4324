#include "recount.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace orders {
namespace {

constexpr int kPollMs = 50;
constexpr std::size_t kMessagesMax = 1'000;

std::string place(const rd_kafka_message_t& message) {
  return "partition " + std::to_string(message.partition) + ", offset " +
         std::to_string(message.offset);
}

}  // namespace

void append_order(const Order& order, std::vector<ReadOrder>& partition) {
  const std::int64_t greatest_ms = partition.empty() ? kNoTime
                                                     : std::max(partition.back().greatest_before_ms,
                                                                partition.back().order.ts_ms);
  partition.push_back({order, greatest_ms});
}

void WindowTotals::add(std::int64_t amount) {
  smallest = orders == 0 ? amount : std::min(smallest, amount);
  largest = orders == 0 ? amount : std::max(largest, amount);
  ++orders;
  total += amount;
}

Recount::Recount(const std::string& brokers, std::string topic, const Generator& generator)
    : topic_(std::move(topic)),
      generator_(generator),
      rows_(static_cast<std::size_t>(generator.options().partition_count)),
      positions_(rows_.size()) {
  for (auto& partition : rows_) {
    partition.reserve(static_cast<std::size_t>(generator_.rows_per_partition()));
  }
  thread_ = std::thread([this, brokers] { run(brokers); });
}

Recount::~Recount() {
  stopping_ = true;
  thread_.join();
}

void Recount::check() const {
  const std::lock_guard lock(error_mutex_);
  if (!error_.empty()) throw std::runtime_error("the recount stopped: " + error_);
}

void Recount::run(const std::string& brokers) {
  try {
    const KafkaPtr<rd_kafka_t> consumer =
        make_handle(RD_KAFKA_CONSUMER, make_conf({
                                           {"bootstrap.servers", brokers},
                                           {"group.id", "orders-recount"},
                                           {"enable.auto.commit", "false"},
                                           {"isolation.level", "read_committed"},
                                           {"check.crcs", "true"},
                                           {"auto.offset.reset", "error"},
                                           {"fetch.wait.max.ms", "20"},
                                       }));
    rd_kafka_poll_set_consumer(consumer.get());
    const KafkaPtr<rd_kafka_topic_partition_list_t> list(rd_kafka_topic_partition_list_new(1));
    for (std::int32_t p = 0; p < generator_.options().partition_count; ++p) {
      rd_kafka_topic_partition_list_add(list.get(), topic_.c_str(), p)->offset = 0;
    }
    const rd_kafka_resp_err_t error = rd_kafka_assign(consumer.get(), list.get());
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) throw std::runtime_error(rd_kafka_err2str(error));
    read_all(consumer.get());
    rd_kafka_consumer_close(consumer.get());
  } catch (const std::exception& error) {
    const std::lock_guard lock(error_mutex_);
    error_ = error.what();
  }
}

void Recount::read_all(rd_kafka_t* consumer) {
  const KafkaPtr<rd_kafka_queue_t> queue(rd_kafka_queue_get_consumer(consumer));
  std::array<rd_kafka_message_t*, kMessagesMax> messages{};
  while (!stopping_ && !complete()) {
    const ssize_t count =
        rd_kafka_consume_batch_queue(queue.get(), kPollMs, messages.data(), messages.size());
    std::string failure;
    for (ssize_t i = 0; i < count; ++i) {
      rd_kafka_message_t* message = messages[static_cast<std::size_t>(i)];
      try {
        if (failure.empty()) take(*message);
      } catch (const std::exception& error) {
        failure = error.what();
      }
      rd_kafka_message_destroy(message);
    }
    if (!failure.empty()) throw std::runtime_error(failure);
  }
  finished_ = complete();
}

void Recount::take(const rd_kafka_message_t& message) {
  if (message.err == RD_KAFKA_RESP_ERR__TRANSPORT ||
      message.err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
    return;  // librdkafka connects again by itself
  }
  if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    throw std::runtime_error(rd_kafka_message_errstr(&message));
  }
  auto& partition = rows_[static_cast<std::size_t>(message.partition)];
  if (message.offset != static_cast<std::int64_t>(partition.size())) {
    throw std::runtime_error("the topic has no row " + std::to_string(partition.size()) +
                             " but goes on at " + place(message));
  }
  Order order;
  const std::string_view json(static_cast<const char*>(message.payload), message.len);
  if (!parse_json(json, order) || order != generator_.row(message.partition, message.offset)) {
    throw std::runtime_error(place(message) +
                             " is not the row that was produced there: " + std::string(json));
  }
  append_order(order, partition);
  positions_[static_cast<std::size_t>(message.partition)] = message.offset + 1;
}

bool Recount::complete() const {
  return std::all_of(rows_.begin(), rows_.end(), [this](const auto& partition) {
    return static_cast<std::int64_t>(partition.size()) >= generator_.rows_per_partition();
  });
}

}  // namespace orders
