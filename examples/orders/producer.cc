#include "producer.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace orders {
namespace {

constexpr int kFlushTimeoutMs = 120'000;

using SteadyClock = std::chrono::steady_clock;

// Allows a steady number of rows a second. After a pause it goes on at the same rate: what was not
// produced meanwhile is not made up for in one burst.
class Pace {
 public:
  explicit Pace(std::int64_t rows_per_s) : rows_per_s_(rows_per_s), last_(SteadyClock::now()) {}

  bool take() {
    if (rows_per_s_ == 0) return true;
    const auto now = SteadyClock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    const double rate = static_cast<double>(rows_per_s_);
    credit_ = std::min(credit_ + seconds * rate, rate / 20);
    if (credit_ < 1) return false;
    credit_ -= 1;
    return true;
  }

 private:
  std::int64_t rows_per_s_;
  SteadyClock::time_point last_;
  double credit_ = 1;
};

}  // namespace

Producer::Producer(const ProducerOptions& options, const Generator& generator)
    : options_(options), generator_(generator) {
  KafkaPtr<rd_kafka_conf_t> conf = make_conf({
      {"bootstrap.servers", options_.brokers},
      {"enable.idempotence", "true"},
      {"compression.codec", "lz4"},
      {"linger.ms", "20"},
      {"queue.buffering.max.messages", "100000"},
  });
  rd_kafka_conf_set_opaque(conf.get(), this);
  rd_kafka_conf_set_dr_msg_cb(conf.get(), &Producer::on_delivery);
  handle_ = make_handle(RD_KAFKA_PRODUCER, std::move(conf));
  thread_ = std::thread(&Producer::run, this);
}

Producer::~Producer() {
  stopping_ = true;
  thread_.join();
}

void Producer::allow(std::int64_t row_count) {
  std::int64_t before = allowed_count_;
  while (before < row_count && !allowed_count_.compare_exchange_weak(before, row_count)) {
  }
}

void Producer::check() const {
  const std::lock_guard lock(error_mutex_);
  if (!error_.empty()) throw std::runtime_error("the producer stopped: " + error_);
}

void Producer::on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* self) {
  auto* producer = static_cast<Producer*>(self);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    ++producer->delivered_count_;
  } else {
    producer->fail(rd_kafka_err2str(message->err));
  }
}

void Producer::fail(const std::string& what) {
  stopping_ = true;
  const std::lock_guard lock(error_mutex_);
  if (error_.empty()) error_ = what;
}

void Producer::run() {
  try {
    produce_all();
  } catch (const std::exception& error) {
    fail(error.what());
  }
}

void Producer::produce_all() {
  const KafkaPtr<rd_kafka_topic_t> topic(
      rd_kafka_topic_new(handle_.get(), options_.topic.c_str(), nullptr));
  const std::int64_t row_count = generator_.options().row_count;
  Pace pace(options_.rows_per_s);
  std::string json;
  for (std::int64_t index = 0; index < row_count && !stopping_;) {
    if (index >= allowed_count_ || !(hurrying_ || pace.take())) {
      rd_kafka_poll(handle_.get(), 1);
      continue;
    }
    produce_row(topic.get(), index, json);
    if (++index % 256 == 0) rd_kafka_poll(handle_.get(), 0);
  }
  if (stopping_) {
    rd_kafka_purge(handle_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    return;
  }
  rd_kafka_flush(handle_.get(), kFlushTimeoutMs);
  if (delivered_count_ != row_count && !stopping_)
    fail("the server did not take every row in time");
  finished_ = delivered_count_ == row_count;
}

void Producer::produce_row(rd_kafka_topic_t* topic, std::int64_t index, std::string& json) {
  write_json(generator_.row(index), json);
  while (rd_kafka_produce(topic, generator_.partition(index), RD_KAFKA_MSG_F_COPY, json.data(),
                          json.size(), nullptr, 0, nullptr) != 0) {
    const rd_kafka_resp_err_t error = rd_kafka_last_error();
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) throw std::runtime_error(rd_kafka_err2str(error));
    if (stopping_) return;
    rd_kafka_poll(handle_.get(), 10);
  }
}

}  // namespace orders
