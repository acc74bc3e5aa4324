#include <librdkafka/rdkafka.h>

#include "levada/connectors/kafka.h"

#include "connectors/kafka_discovery.h"
#include "connectors/kafka_reader.h"

namespace levada::kafka {

Position earliest() {
  return {Position::Kind::kEarliest, {}, {}};
}
Position latest() {
  return {Position::Kind::kLatest, {}, {}};
}
Position group_offsets() {
  return {Position::Kind::kGroupOffsets, {}, {}};
}
Position timestamp(Timestamp time) {
  return {Position::Kind::kTimestamp, time, {}};
}
Position offsets(std::vector<PartitionOffset> given) {
  return {Position::Kind::kOffsets, {}, std::move(given)};
}

std::vector<Header> RecordView::headers() const {
  std::vector<Header> found;
  rd_kafka_headers_t* headers = nullptr;
  const auto* borrowed = static_cast<const rd_kafka_message_t*>(message);
  if (borrowed == nullptr || rd_kafka_message_headers(borrowed, &headers) != 0) return found;
  const char* name = nullptr;
  const void* bytes = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &bytes, &size) == 0; ++i) {
    found.push_back({name, {static_cast<const char*>(bytes), size}});
  }
  return found;
}

std::optional<std::string_view> RecordView::header(std::string_view name) const {
  std::optional<std::string_view> found;
  for (const Header& each : headers()) {
    if (each.name == name) found = each.value;
  }
  return found;
}

namespace detail {
namespace {

class KafkaSource final : public SourceFactory {
 public:
  explicit KafkaSource(SourceSettings settings)
      : settings_(std::make_shared<const SourceSettings>(std::move(settings))) {}

  std::vector<Split> discover(const std::vector<Split>& restored, const Clock& clock,
                              const std::function<void(LogLevel, std::string_view)>& log) override {
    return discover_splits(*settings_, restored, clock, log);
  }
  std::unique_ptr<SourceReader> make_reader() override {
    return std::make_unique<KafkaReader>(settings_);
  }

 private:
  const std::shared_ptr<const SourceSettings> settings_;
};

}  // namespace

std::shared_ptr<SourceFactory> make_source(SourceSettings settings) {
  return std::make_shared<KafkaSource>(std::move(settings));
}

std::string source_name(const SourceSettings& settings) {
  std::string name = "kafka";
  for (const std::string& topic : settings.topics) name += ' ' + topic;
  for (const TopicPartition& each : settings.partitions) {
    name += ' ' + each.topic + '-' + std::to_string(each.partition);
  }
  return name;
}

}  // namespace detail
}  // namespace levada::kafka
