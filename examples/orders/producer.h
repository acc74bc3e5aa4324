// Produces the generator's rows to a topic, on a thread of its own, no further than it is allowed.
//
// allow() moves the limit, from any thread. The producer is idempotent: a partition's records have
// the offsets 0, 1, 2 … in the order of the rows, whatever is sent twice on the way.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "generator.h"
#include "kafka_client.h"

namespace orders {

struct ProducerOptions {
  std::string brokers;
  std::string topic;
  std::int64_t rows_per_s = 0;  // 0 = as fast as it is allowed
};

class Producer {
 public:
  Producer(const ProducerOptions& options, const Generator& generator);
  ~Producer();  // stops; what was not produced by then stays unproduced
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // Rows with an index below `row_count` may be produced now. The limit never goes back.
  void allow(std::int64_t row_count);
  // From now on as fast as it is allowed.
  void hurry() { hurrying_ = true; }

  std::int64_t delivered_count() const { return delivered_count_; }  // acknowledged by the server
  bool finished() const { return finished_; }                        // all rows delivered

  // Throws what stopped the producer, if something did.
  void check() const;

 private:
  static void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* self);
  void run();
  void produce_all();
  void produce_row(rd_kafka_topic_t* topic, std::int64_t index, std::string& json);
  void fail(const std::string& what);

  ProducerOptions options_;
  Generator generator_;
  std::atomic<std::int64_t> allowed_count_{0};
  std::atomic<std::int64_t> delivered_count_{0};
  std::atomic<bool> hurrying_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> finished_{false};
  mutable std::mutex error_mutex_;
  std::string error_;            // guarded by error_mutex_
  KafkaPtr<rd_kafka_t> handle_;  // its delivery reports use the members above
  std::thread thread_;
};

}  // namespace orders
