#include "connectors/kafka_discovery.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "levada/error.h"

#include "connectors/kafka_split.h"

namespace levada::kafka {
namespace {

using detail::SourceSettings;

// Leaves time for what else happens before a start fails: 10 s in all.
constexpr std::chrono::milliseconds kPatience{8'000};
constexpr std::chrono::milliseconds kSlice{200};

class Discovery {
 public:
  Discovery(const SourceSettings& settings, const Clock& clock, const LogFunction& log)
      : settings_(settings),
        clock_(clock),
        deadline_(clock.steady_now() + kPatience),
        client_(settings, {{"socket.timeout.ms", "8000"}, {"statistics.interval.ms", "0"}}, log) {}

  std::vector<TopicPartition> find_partitions() {
    std::set<TopicPartition> found;
    for (const std::string& topic : settings_.topics) {
      const std::int32_t count = partition_count(topic);
      for (std::int32_t i = 0; i < count; ++i) found.insert({topic, i});
    }
    for (const TopicPartition& wanted : settings_.partitions) {
      if (wanted.partition < 0 || wanted.partition >= partition_count(wanted.topic)) {
        throw error(split_id(wanted) + ": the topic has no such partition");
      }
      found.insert(wanted);
    }
    return {found.begin(), found.end()};
  }

  // The offset of `position` in each of `partitions`.
  std::vector<std::int64_t> resolve(const Position& position, bool is_stop,
                                    const std::vector<TopicPartition>& partitions) {
    if (partitions.empty()) return {};
    switch (position.kind) {
      case Position::Kind::kEarliest: return ends_of(partitions, /*latest=*/false);
      case Position::Kind::kLatest: return ends_of(partitions, /*latest=*/true);
      case Position::Kind::kGroupOffsets: return committed(partitions, is_stop);
      case Position::Kind::kTimestamp: return at_time(partitions, position.time);
      case Position::Kind::kOffsets: return given(partitions, position.offsets, is_stop);
    }
    return {};
  }

 private:
  // ---- topics

  std::int32_t partition_count(const std::string& topic) {
    const auto known = counts_.find(topic);
    if (known != counts_.end()) return known->second;
    const TopicPtr handle(rd_kafka_topic_new(client_.handle(), topic.c_str(), nullptr));
    if (!handle) throw error("topic \"" + topic + "\": " + rd_kafka_err2str(rd_kafka_last_error()));
    const std::int32_t count = ask_partition_count(topic, *handle);
    counts_.emplace(topic, count);
    return count;
  }

  std::int32_t ask_partition_count(const std::string& topic, rd_kafka_topic_t& handle) {
    for (;;) {
      const rd_kafka_metadata_t* metadata = nullptr;
      const auto result = rd_kafka_metadata(client_.handle(), 0, &handle, &metadata, slice_ms());
      serve();
      if (result == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const rd_kafka_metadata_topic_t& found = metadata->topics[0];
        const rd_kafka_resp_err_t refusal = found.err;
        const std::int32_t count = found.partition_cnt;
        rd_kafka_metadata_destroy(metadata);
        if (refusal == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0) return count;
        refuse_topic(topic, refusal);
      } else if (result == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
        refuse_topic(topic, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
      }
      give_up_if_late(result);
    }
  }

  // Returns for a topic that is only just being made.
  void refuse_topic(const std::string& topic, rd_kafka_resp_err_t refusal) const {
    switch (refusal) {
      case RD_KAFKA_RESP_ERR_NO_ERROR:
      case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE: return;
      case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
      case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC: throw error("topic \"" + topic + "\" does not exist");
      default: throw error("topic \"" + topic + "\": " + rd_kafka_err2str(refusal));
    }
  }

  // ---- offsets

  std::vector<std::int64_t> ends_of(const std::vector<TopicPartition>& partitions, bool latest) {
    std::vector<std::int64_t> found;
    for (const TopicPartition& each : partitions) found.push_back(end_of(each, latest));
    return found;
  }

  std::int64_t end_of(const TopicPartition& partition, bool latest) {
    std::int64_t low = 0, high = 0;
    retry(split_id(partition), [&] {
      return rd_kafka_query_watermark_offsets(client_.handle(), partition.topic.c_str(),
                                              partition.partition, &low, &high, remaining_ms());
    });
    return latest ? high : low;
  }

  std::vector<std::int64_t> committed(const std::vector<TopicPartition>& partitions, bool is_stop) {
    if (settings_.group_id.empty()) throw error("group_offsets() needs .group_id");
    const PartitionListPtr list = list_of(partitions, RD_KAFKA_OFFSET_INVALID);
    retry("offsets of group \"" + settings_.group_id + "\"",
          [&] { return rd_kafka_committed(client_.handle(), list.get(), remaining_ms()); });
    std::vector<std::int64_t> found;
    for (std::size_t i = 0; i < partitions.size(); ++i) {
      const std::int64_t offset = checked(*list, i).offset;
      if (offset < 0 && is_stop) {
        throw error("group \"" + settings_.group_id + "\" has committed no offset of " +
                    split_id(partitions[i]) + " to stop at");
      }
      found.push_back(offset >= 0 ? offset : end_of(partitions[i], /*latest=*/false));
    }
    return found;
  }

  std::vector<std::int64_t> at_time(const std::vector<TopicPartition>& partitions, Timestamp time) {
    // Kafka has milliseconds: the first record not before `time` is not before the next whole one.
    const auto millis =
        std::chrono::ceil<std::chrono::milliseconds>(time).time_since_epoch().count();
    const PartitionListPtr list = list_of(partitions, std::max<std::int64_t>(millis, 0));
    retry("offsets by time",
          [&] { return rd_kafka_offsets_for_times(client_.handle(), list.get(), remaining_ms()); });
    std::vector<std::int64_t> found;
    for (std::size_t i = 0; i < partitions.size(); ++i) {
      const std::int64_t offset = checked(*list, i).offset;
      found.push_back(offset >= 0 ? offset : end_of(partitions[i], /*latest=*/true));
    }
    return found;
  }

  std::vector<std::int64_t> given(const std::vector<TopicPartition>& partitions,
                                  const std::vector<PartitionOffset>& offsets, bool is_stop) {
    std::map<TopicPartition, std::int64_t> by_partition;
    for (const PartitionOffset& each : offsets) {
      const TopicPartition partition{each.topic, each.partition};
      if (each.offset < 0) throw error(split_id(partition) + ": an offset is never negative");
      if (each.partition == kAllPartitions) {
        for (const TopicPartition& every : partitions) {
          if (every.topic == each.topic) by_partition.emplace(every, each.offset);
        }
        continue;
      }
      if (std::find(partitions.begin(), partitions.end(), partition) == partitions.end()) {
        throw error("an offset is given for " + split_id(partition) + ", which is not read");
      }
      by_partition[partition] = each.offset;
    }
    std::vector<std::int64_t> found;
    for (const TopicPartition& each : partitions) {
      const auto at = by_partition.find(each);
      if (at == by_partition.end() && is_stop) {
        throw error(".stop_at gives no offset of " + split_id(each));
      }
      found.push_back(at != by_partition.end() ? at->second : end_of(each, /*latest=*/false));
    }
    return found;
  }

  static PartitionListPtr list_of(const std::vector<TopicPartition>& partitions,
                                  std::int64_t offset) {
    PartitionListPtr list(rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
    for (const TopicPartition& each : partitions) {
      rd_kafka_topic_partition_list_add(list.get(), each.topic.c_str(), each.partition)->offset =
          offset;
    }
    return list;
  }

  const rd_kafka_topic_partition_t& checked(const rd_kafka_topic_partition_list_t& list,
                                            std::size_t index) const {
    const rd_kafka_topic_partition_t& found = list.elems[index];
    if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      throw error(split_id({found.topic, found.partition}) + ": " + rd_kafka_err2str(found.err));
    }
    return found;
  }

  // ---- waiting

  template <class F>
  void retry(const std::string& what, F call) {
    for (;;) {
      const rd_kafka_resp_err_t result = call();
      serve();
      if (result == RD_KAFKA_RESP_ERR_NO_ERROR) return;
      give_up_if_late(result);
      if (!may_pass(result)) throw error(what + ": " + rd_kafka_err2str(result));
      rd_kafka_poll(client_.handle(), static_cast<int>(kSlice.count()));
    }
  }

  static bool may_pass(rd_kafka_resp_err_t result) {
    switch (result) {
      case RD_KAFKA_RESP_ERR__TRANSPORT:
      case RD_KAFKA_RESP_ERR__TIMED_OUT:
      case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
      case RD_KAFKA_RESP_ERR__WAIT_COORD:
      case RD_KAFKA_RESP_ERR__WAIT_CACHE:
      case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
      case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
      case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
      case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
      case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
      case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT: return true;
      default: return false;
    }
  }

  // Errors of connections reach the client only when its queue is served.
  void serve() { rd_kafka_poll(client_.handle(), 0); }

  void give_up_if_late(rd_kafka_resp_err_t result) const {
    if (client_.refused()) throw error("refuses the connection: " + client_.trouble());
    if (clock_.steady_now() < deadline_) return;
    const std::string& trouble = client_.trouble();
    throw ConnectorError(at_brokers(settings_) + "cannot be reached: " +
                             (trouble.empty() ? rd_kafka_err2str(result) : trouble),
                         true);
  }

  int remaining_ms() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - clock_.steady_now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 1, kPatience.count()));
  }
  int slice_ms() const { return std::min(remaining_ms(), 1'000); }

  ConnectorError error(const std::string& what) const {
    return {at_brokers(settings_) + what, /*retryable=*/false};
  }

  const SourceSettings& settings_;
  const Clock& clock_;
  const SteadyTime deadline_;
  Client client_;
  std::map<std::string, std::int32_t> counts_;
};

void check_settings(const SourceSettings& settings) {
  if (settings.brokers.empty()) throw ConnectorError("Kafka source: .brokers is empty", false);
  if (settings.topics.empty() && settings.partitions.empty()) {
    throw ConnectorError("Kafka source: give .topics or .partitions", false);
  }
  settings.value.make_parser(*settings.shape);  // throws for a row that the format cannot hold
}

// A partition of the checkpoint that is not there any more would be forgotten without a word.
void check_restored(const SourceSettings& settings,
                    const std::map<TopicPartition, std::string>& known,
                    const std::vector<TopicPartition>& found) {
  for (const auto& [partition, position] : known) {
    const auto& topics = settings.topics;
    const bool read = std::find(topics.begin(), topics.end(), partition.topic) != topics.end();
    if (read && !std::binary_search(found.begin(), found.end(), partition)) {
      throw ConnectorError(at_brokers(settings) + "the checkpoint has read " + split_id(partition) +
                               ", which does not exist any more",
                           false);
    }
  }
}

}  // namespace

std::vector<Split> discover_splits(const SourceSettings& settings,
                                   const std::vector<Split>& restored, const Clock& clock,
                                   const LogFunction& log) {
  check_settings(settings);
  std::map<TopicPartition, std::string> known;
  for (const Split& split : restored) known.emplace(parse_split_id(split.id), split.position);

  Discovery discovery(settings, clock, log);
  const std::vector<TopicPartition> found = discovery.find_partitions();
  check_restored(settings, known, found);

  std::vector<TopicPartition> fresh;
  for (const TopicPartition& each : found) {
    if (!known.contains(each)) fresh.push_back(each);
  }
  const Position start = restored.empty() ? settings.start_from : earliest();
  const std::vector<std::int64_t> starts = discovery.resolve(start, /*is_stop=*/false, fresh);
  std::vector<std::int64_t> stops;
  if (settings.stop_at) stops = discovery.resolve(*settings.stop_at, /*is_stop=*/true, fresh);

  for (std::size_t i = 0; i < fresh.size(); ++i) {
    SplitPosition position{starts[i], std::nullopt};
    if (!stops.empty()) position.stop = stops[i];
    known[fresh[i]] = to_text(position);
  }
  std::vector<Split> splits;
  for (const TopicPartition& each : found) splits.push_back({split_id(each), known[each]});
  return splits;
}

}  // namespace levada::kafka
