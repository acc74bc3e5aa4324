#include "connectors/kafka_client.h"

#include <algorithm>
#include <array>

#include "levada/error.h"

namespace levada::kafka {
namespace {

using detail::SourceSettings;

struct Reserved {
  std::string_view key;
  std::string_view why;
};

// What the user may not set, since the source would lose or double records or not do as told.
constexpr std::array kReserved{
    Reserved{"bootstrap.servers", "give .brokers"},
    Reserved{"metadata.broker.list", "give .brokers"},
    Reserved{"group.id", "give .group_id"},
    Reserved{"enable.auto.commit", "offsets are committed when a checkpoint is complete"},
    Reserved{"auto.commit.enable", "offsets are committed when a checkpoint is complete"},
    Reserved{"enable.auto.offset.store", "offsets are committed when a checkpoint is complete"},
    Reserved{"offset.store.method", "offsets are kept in the checkpoint"},
    Reserved{"auto.offset.reset", "give .start_from; offsets that are gone are an error"},
    Reserved{"enable.partition.eof", "the source needs it to know where a partition ends"},
    Reserved{"session.timeout.ms", "the source joins no group"},
    Reserved{"log.queue", "the log goes to the job's log sink"},
    Reserved{"enable.random.seed", "it would change the host's random numbers"},
};

void set(rd_kafka_conf_t& conf, const std::string& key, const std::string& value) {
  std::array<char, 512> why{};
  if (rd_kafka_conf_set(&conf, key.c_str(), value.c_str(), why.data(), why.size()) ==
      RD_KAFKA_CONF_OK) {
    return;
  }
  throw ConnectorError("Kafka source: option \"" + key + "\": " + why.data(), false);
}

void refuse_reserved(const SourceSettings& settings) {
  for (const auto& [key, value] : settings.client) {
    const auto found = std::find_if(kReserved.begin(), kReserved.end(),
                                    [&](const Reserved& each) { return each.key == key; });
    if (found != kReserved.end()) {
      throw ConnectorError(
          "Kafka source: option \"" + key + "\" must not be set: " + std::string(found->why),
          false);
    }
  }
}

ConfPtr make_conf(const SourceSettings& settings, const ClientOptions& tuning) {
  refuse_reserved(settings);
  ConfPtr conf(rd_kafka_conf_new());
  set(*conf, "client.id", "levada");
  set(*conf, "isolation.level", "read_committed");
  set(*conf, "check.crcs", "true");
  // Tells, among much else, that a broker is back although no record comes.
  set(*conf, "statistics.interval.ms", "1000");
  for (const auto& [key, value] : tuning) set(*conf, key, value);
  for (const auto& [key, value] : settings.client) set(*conf, key, value);
  set(*conf, "bootstrap.servers", settings.brokers);
  // An assignment needs some group; nothing is committed to this one, and nobody joins it.
  set(*conf, "group.id", settings.group_id.empty() ? "levada" : settings.group_id);
  // Nobody joins the group either; this only bounds how long a commit, and with it the end of the
  // client, waits for a coordinator that is gone.
  set(*conf, "session.timeout.ms", "1000");
  set(*conf, "enable.auto.commit", "false");
  set(*conf, "enable.auto.offset.store", "false");
  set(*conf, "auto.offset.reset", "error");
  set(*conf, "enable.partition.eof", "true");
  return conf;
}

LogLevel level_of(int syslog_level) {
  if (syslog_level <= 3) return LogLevel::kError;
  if (syslog_level == 4) return LogLevel::kWarning;
  return syslog_level <= 6 ? LogLevel::kInfo : LogLevel::kDebug;
}

}  // namespace

Client::Client(const SourceSettings& settings, const ClientOptions& tuning, LogFunction log)
    : log_(std::move(log)) {
  ConfPtr conf = make_conf(settings, tuning);
  rd_kafka_conf_set_opaque(conf.get(), this);
  rd_kafka_conf_set_log_cb(conf.get(), &Client::on_log);
  rd_kafka_conf_set_error_cb(conf.get(), &Client::on_error);
  rd_kafka_conf_set_stats_cb(conf.get(), &Client::on_statistics);
  rd_kafka_conf_set_offset_commit_cb(conf.get(), &Client::on_commit);
  std::array<char, 512> why{};
  handle_.reset(rd_kafka_new(RD_KAFKA_CONSUMER, conf.get(), why.data(), why.size()));
  if (!handle_) throw ConnectorError("Kafka source: " + std::string(why.data()), false);
  static_cast<void>(conf.release());  // the handle's now
}

void Client::commit_later(const rd_kafka_topic_partition_list_t& offsets) {
  const rd_kafka_resp_err_t error = rd_kafka_commit(handle_.get(), &offsets, /*async=*/1);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
    ++commits_outstanding_;
    return;
  }
  commit_failed_ = true;
  if (log_) {
    log_(LogLevel::kWarning,
         std::string("Kafka: offsets not committed to the group: ") + rd_kafka_err2str(error));
  }
}

// Called from threads of librdkafka.
void Client::on_log(const rd_kafka_t* handle, int level, const char* facility, const char* text) {
  const auto* client = static_cast<const Client*>(rd_kafka_opaque(handle));
  if (!client->log_) return;
  client->log_(level_of(level), std::string("librdkafka ") + facility + ": " + text);
}

void Client::on_error(rd_kafka_t* handle, int error, const char* reason, void* opaque) {
  auto& client = *static_cast<Client*>(opaque);
  if (error == RD_KAFKA_RESP_ERR__FATAL) {
    std::array<char, 512> why{};
    rd_kafka_fatal_error(handle, why.data(), why.size());
    client.fatal_ = why.data();
    return;
  }
  client.note_error(static_cast<rd_kafka_resp_err_t>(error), reason);
}

void Client::note_error(rd_kafka_resp_err_t error, const char* reason) {
  switch (error) {
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
      down_ = true;
      if (trouble_.empty()) trouble_ = reason;
      break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
      refused_ = true;
      trouble_ = reason;
      break;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
      // The group's coordinator is one of the brokers once more, under a name that nobody knows.
      if (!std::string_view(reason).starts_with("GroupCoordinator")) trouble_ = reason;
      break;
    default: break;
  }
  if (log_) log_(LogLevel::kWarning, std::string("Kafka: ") + reason);
}

int Client::on_statistics(rd_kafka_t* /*handle*/, char* json, std::size_t size, void* opaque) {
  auto& client = *static_cast<Client*>(opaque);
  // A search is enough: connections are the only thing in there that can be "UP".
  if (client.down_ &&
      std::string_view(json, size).find("\"state\":\"UP\"") != std::string_view::npos) {
    client.down_ = false;
  }
  return 0;  // librdkafka frees the text
}

void Client::on_commit(rd_kafka_t* /*handle*/, rd_kafka_resp_err_t error,
                       rd_kafka_topic_partition_list_t* /*offsets*/, void* opaque) {
  auto& client = *static_cast<Client*>(opaque);
  --client.commits_outstanding_;
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  client.commit_failed_ = true;
  if (client.log_) {
    client.log_(LogLevel::kWarning, std::string("Kafka: offsets not committed to the group: ") +
                                        rd_kafka_err2str(error));
  }
}

std::string at_brokers(const SourceSettings& settings) {
  return "Kafka at " + settings.brokers + ": ";
}

}  // namespace levada::kafka
