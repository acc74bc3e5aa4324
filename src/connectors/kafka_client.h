// librdkafka's C objects with owners, a client made from the source's settings, and what the client
// tells besides records: errors, its log, the state of its connections.
//
// Threads:  a Client belongs to one thread; librdkafka's own threads call only the log function.
// Lifetime: ~Client waits for librdkafka's threads to end; it does not wait for a broker.
// Failures: ConnectorError for options that librdkafka does not take.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <librdkafka/rdkafka.h>

#include "levada/connectors/kafka.h"
#include "levada/log.h"

namespace levada::kafka {

template <class T, void (*kDestroy)(T*)>
struct Destroy {
  void operator()(T* object) const noexcept { kDestroy(object); }
};
using QueuePtr =
    std::unique_ptr<rd_kafka_queue_t, Destroy<rd_kafka_queue_t, rd_kafka_queue_destroy>>;
using TopicPtr =
    std::unique_ptr<rd_kafka_topic_t, Destroy<rd_kafka_topic_t, rd_kafka_topic_destroy>>;
using PartitionListPtr = std::unique_ptr<
    rd_kafka_topic_partition_list_t,
    Destroy<rd_kafka_topic_partition_list_t, rd_kafka_topic_partition_list_destroy>>;
using ConfPtr = std::unique_ptr<rd_kafka_conf_t, Destroy<rd_kafka_conf_t, rd_kafka_conf_destroy>>;

struct DestroyHandle {
  // Without closing the consumer first, which may wait for a broker that is gone.
  void operator()(rd_kafka_t* handle) const noexcept {
    rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  }
};
using HandlePtr = std::unique_ptr<rd_kafka_t, DestroyHandle>;

using LogFunction = std::function<void(LogLevel, std::string_view)>;
using ClientOptions = std::vector<std::pair<std::string, std::string>>;

/// A consumer handle.
class Client {
 public:
  /// `tuning` comes before the user's `.client`, which may override it.
  Client(const detail::SourceSettings& settings, const ClientOptions& tuning, LogFunction log);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  rd_kafka_t* handle() const noexcept { return handle_.get(); }

  // ---- what the handle's queue told when it was last served

  /// The last error of a connection, such as "127.0.0.1:9092/1: Connect to ... failed"; may be empty.
  const std::string& trouble() const noexcept { return trouble_; }
  /// All brokers are down, and none has been heard of since.
  bool down() const noexcept { return down_; }
  /// The servers refuse us: waiting does not help.
  bool refused() const noexcept { return refused_; }
  /// The client itself cannot go on; empty when it can.
  const std::string& fatal() const noexcept { return fatal_; }
  /// Something came from a broker.
  void heard_of() noexcept { down_ = false; }

  /// Commits for monitoring that are not answered yet.
  int commits_outstanding() const noexcept { return commits_outstanding_; }
  void commit_later(const rd_kafka_topic_partition_list_t& offsets);
  /// Whether a commit has failed since the last call.
  bool take_commit_failure() noexcept { return std::exchange(commit_failed_, false); }

 private:
  static void on_log(const rd_kafka_t* handle, int level, const char* facility, const char* text);
  static void on_error(rd_kafka_t* handle, int error, const char* reason, void* opaque);
  static int on_statistics(rd_kafka_t* handle, char* json, std::size_t size, void* opaque);
  static void on_commit(rd_kafka_t* handle, rd_kafka_resp_err_t error,
                        rd_kafka_topic_partition_list_t* offsets, void* opaque);
  void note_error(rd_kafka_resp_err_t error, const char* reason);

  LogFunction log_;
  std::string trouble_, fatal_;
  bool down_ = false;
  bool refused_ = false;
  int commits_outstanding_ = 0;
  bool commit_failed_ = false;
  HandlePtr handle_;  // last: goes first, while its callbacks still have something to call
};

/// "Kafka at 127.0.0.1:9092: "
std::string at_brokers(const detail::SourceSettings& settings);

}  // namespace levada::kafka
