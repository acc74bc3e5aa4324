// A Kafka cluster inside this process: librdkafka's mock. It speaks the real protocol on a port of
// 127.0.0.1, keeps records in memory, and so needs no installation.
//
// It drops the oldest records of a partition beyond 5 MiB or 100,000 batches without a word.
// Whoever produces must therefore use several partitions, compress, and never run far ahead of the
// readers.
#pragma once

#include <cstdint>
#include <string>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "kafka_client.h"

namespace orders {

class MockCluster {
 public:
  MockCluster();
  ~MockCluster();
  MockCluster(const MockCluster&) = delete;
  MockCluster& operator=(const MockCluster&) = delete;

  const std::string& brokers() const { return brokers_; }
  void create_topic(const std::string& topic, std::int32_t partition_count);

 private:
  KafkaPtr<rd_kafka_t> host_;  // the mock runs on a thread of this handle
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
  std::string brokers_;
};

}  // namespace orders
