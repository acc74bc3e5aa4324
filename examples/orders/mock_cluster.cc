#include "mock_cluster.h"

#include <stdexcept>

namespace orders {

MockCluster::MockCluster() : host_(make_handle(RD_KAFKA_PRODUCER, make_conf({}))) {
  cluster_ = rd_kafka_mock_cluster_new(host_.get(), 1);
  if (cluster_ == nullptr) throw std::runtime_error("cannot start the embedded Kafka cluster");
  brokers_ = rd_kafka_mock_cluster_bootstraps(cluster_);
}

MockCluster::~MockCluster() {
  rd_kafka_mock_cluster_destroy(cluster_);
}

void MockCluster::create_topic(const std::string& topic, std::int32_t partition_count) {
  const rd_kafka_resp_err_t error =
      rd_kafka_mock_topic_create(cluster_, topic.c_str(), partition_count, 1);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    throw std::runtime_error("cannot create topic " + topic + ": " + rd_kafka_err2str(error));
  }
}

}  // namespace orders
