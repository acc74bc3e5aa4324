// Reads the topic with a plain consumer, on a thread of its own and while it is being produced, and
// keeps what it read. Nothing of the job is used: this is the second opinion.
//
// Each row is compared with what the generator makes for its partition and offset, so that a row
// lost, doubled or changed between producer and topic is seen here and not blamed on the job.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "generator.h"
#include "kafka_client.h"

namespace orders {

struct ReadOrder {
  Order order;
  std::int64_t greatest_before_ms = kNoTime;  // the greatest time at lower offsets of the partition
};

// What the topic holds: index = partition, then offset.
using Topic = std::vector<std::vector<ReadOrder>>;

// Appends as the next offset of a partition, with the greatest time before it.
void append_order(const Order& order, std::vector<ReadOrder>& partition);

struct WindowTotals {
  std::int64_t orders = 0;
  std::int64_t total = 0;
  std::int64_t smallest = 0;
  std::int64_t largest = 0;

  bool operator==(const WindowTotals&) const = default;
  void add(std::int64_t amount);
};

// (user, window start in ms) → totals.
using Windows = std::map<std::pair<std::int64_t, std::int64_t>, WindowTotals>;

class Recount {
 public:
  Recount(const std::string& brokers, std::string topic, const Generator& generator);
  ~Recount();
  Recount(const Recount&) = delete;
  Recount& operator=(const Recount&) = delete;

  // The next offset of a partition to be read here.
  std::int64_t position(std::int32_t partition) const {
    return positions_[static_cast<std::size_t>(partition)];
  }
  bool finished() const { return finished_; }

  // Throws what stopped the reading, if something did.
  void check() const;

  // What was read; call when finished() or after check() has thrown.
  const Topic& topic() const { return rows_; }

 private:
  void run(const std::string& brokers);
  void read_all(rd_kafka_t* consumer);
  void take(const rd_kafka_message_t& message);
  bool complete() const;

  std::string topic_;
  Generator generator_;
  Topic rows_;  // written by the thread only
  std::vector<std::atomic<std::int64_t>> positions_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> finished_{false};
  mutable std::mutex error_mutex_;
  std::string error_;  // guarded by error_mutex_
  std::thread thread_;
};

}  // namespace orders
