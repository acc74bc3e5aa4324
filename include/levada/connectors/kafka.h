// The Kafka source: the partitions of topics as splits, their offsets in the checkpoint, each record's
// value parsed into a row. On librdkafka; the engine assigns the partitions, no group rebalance does.
//
// Threads:  build the source anywhere; it runs on the job's threads. What `.with_record` captures by
//           reference must be thread-safe.
// Lifetime: a RecordView borrows the message and is valid during the call only.
// Failures: at the start an unreachable broker, a missing topic or a wrong option is a ConnectorError
//           within 10 s. Once running, a broker that goes away is waited for, with a status that says
//           so; offsets that are gone (retention) are a ConnectorError, never skipped.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "levada/batch.h"
#include "levada/formats.h"
#include "levada/required.h"
#include "levada/source.h"
#include "levada/time.h"

namespace levada::kafka {

/// One partition of a topic.
struct TopicPartition {
  std::string topic;
  std::int32_t partition = 0;
  auto operator<=>(const TopicPartition&) const = default;
};

/// In a PartitionOffset: every partition of the topic that no other one names.
inline constexpr std::int32_t kAllPartitions = -1;

/// A place in one partition.
struct PartitionOffset {
  std::string topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;  ///< of the next record to read
};

/// Where reading starts or stops; made by the functions below. It becomes an offset of each partition
/// once, when the job first starts; from then on the checkpoint knows.
struct Position {
  enum class Kind : std::uint8_t { kEarliest, kLatest, kGroupOffsets, kTimestamp, kOffsets };
  Kind kind = Kind::kEarliest;
  Timestamp time{};
  std::vector<PartitionOffset> offsets{};
};

/// The first record that is still there.
Position earliest();
/// Behind the last committed record of the moment.
Position latest();
/// What `.group_id` has committed. A partition without a committed offset starts at its earliest
/// record; a stop there is a ConnectorError.
Position group_offsets();
/// The first record whose own timestamp is not before `time`; the end of the moment if there is none.
Position timestamp(Timestamp time);
/// The given offsets. Partitions not named start at their earliest record; a stop must name them all.
Position offsets(std::vector<PartitionOffset> given);

/// A header of a record; names may repeat.
struct Header {
  std::string_view name;
  std::string_view value;
};

/// A record as it came: what `.with_record` fills fields from.
///
/// Lifetime: all views are valid during the call only.
struct RecordView {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  Timestamp timestamp = kNoTimestamp;  ///< the record's own, in whole milliseconds
  std::string_view key;                ///< data() is null for a record without key
  std::string_view value;
  const void* message = nullptr;  ///< the client library's own, for headers()

  /// The headers in their order.
  ///
  /// Cost: parses the headers of the record, at the first call.
  std::vector<Header> headers() const;
  /// The value of the last header of this name.
  std::optional<std::string_view> header(std::string_view name) const;
};

/// Options of source<T>. `.brokers` and one of `.topics` and `.partitions` must be given.
template <class T>
struct SourceOptions {
  /// "host:port", several with commas between.
  Required<std::string> brokers;
  /// All partitions of these topics; partitions added later are found at the next start of the job.
  std::vector<std::string> topics{};
  /// Single partitions, beside those of `.topics`.
  std::vector<TopicPartition> partitions{};
  /// Consumer group whose offsets are set when a checkpoint is complete, for monitoring. The job itself
  /// never resumes from them; one group should not be shared by two jobs. Empty: none are set.
  std::string group_id{};
  Format value = json();
  /// Fills fields from key, headers, offset or time of the record, after its value was parsed. Fields
  /// that the value does not have should be std::optional.
  std::function<void(T&, const RecordView&)> with_record{};
  Position start_from = earliest();
  /// Where each partition ends: the source is then bounded. A stop of latest() is the end at the start.
  std::optional<Position> stop_at{};
  /// A record that does not parse, or has no value.
  BadRecords on_bad_record = fail();
  /// Passed to librdkafka as they are ("security.protocol", "sasl.password", ...). An unknown key, or
  /// one that would break the source's guarantees, is a ConnectorError.
  std::map<std::string, std::string> client{};
};

namespace detail {

/// SourceOptions without T.
struct SourceSettings {
  std::string brokers;
  std::vector<std::string> topics;
  std::vector<TopicPartition> partitions;
  std::string group_id;
  Format value;
  std::function<void(void*, const RecordView&)> with_record;
  Position start_from;
  std::optional<Position> stop_at;
  BadRecords on_bad_record;
  std::map<std::string, std::string> client;
  const TypeInfo* shape;
};

std::shared_ptr<SourceFactory> make_source(SourceSettings settings);
std::string source_name(const SourceSettings& settings);

}  // namespace detail

/// A source of the records of Kafka topics, parsed into rows of T.
///
/// Shape:   Source<T>; one row a record; the record's timestamp is the row's time.
/// Order:   kept in each partition; none across partitions.
/// State:   one offset a partition, in the checkpoint.
/// Threads: call while building the graph.
/// Errors:  at the start ConnectorError (broker, topic, option, position) and FormatError (a row type
///          that the format cannot hold); while running ConnectorError, and FormatError naming topic,
///          partition and offset of a record that does not parse, under the policy fail().
/// Cost:    that of librdkafka's batch consumer and of the format; records are fetched ahead within
///          the memory budget's prefetch share. Only committed transactions are read, CRCs are checked.
/// Example: examples/orders_to_postgres.cc
template <Row T>
Source<T> source(SourceOptions<T> options) {
  std::function<void(void*, const RecordView&)> with_record;
  if (options.with_record) {
    with_record = [fill = std::move(options.with_record)](void* row, const RecordView& record) {
      fill(*static_cast<T*>(row), record);
    };
  }
  detail::SourceSettings settings{std::move(options.brokers.value),
                                  std::move(options.topics),
                                  std::move(options.partitions),
                                  std::move(options.group_id),
                                  std::move(options.value),
                                  std::move(with_record),
                                  std::move(options.start_from),
                                  std::move(options.stop_at),
                                  options.on_bad_record,
                                  std::move(options.client),
                                  &type_info<T>()};
  std::string name = detail::source_name(settings);
  return {detail::make_source(std::move(settings)), std::move(name)};
}

}  // namespace levada::kafka
