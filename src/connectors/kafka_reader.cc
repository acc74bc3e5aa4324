#include "connectors/kafka_reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

namespace levada::kafka {
namespace {

using detail::SourceSettings;

constexpr std::chrono::milliseconds kCommitPatience{1'000};

// Memory that librdkafka needs for a record beside its bytes.
constexpr std::size_t kRecordOverheadBytes = 256;
constexpr std::size_t kPrefetchBytesMin = 256 << 10;  // of a partition
constexpr std::size_t kPrefetchBytesMax = 64 << 20;

// The messages of one call, given back whatever happens.
class Messages {
 public:
  Messages(rd_kafka_message_t** messages, std::size_t count) : messages_(messages), count_(count) {}
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;
  ~Messages() {
    for (std::size_t i = 0; i < count_; ++i) rd_kafka_message_destroy(messages_[i]);
  }

 private:
  rd_kafka_message_t** messages_;
  std::size_t count_;
};

Timestamp time_of(const rd_kafka_message_t& message) {
  rd_kafka_timestamp_type_t type;
  const std::int64_t millis = rd_kafka_message_timestamp(&message, &type);
  if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || millis < 0) return kNoTimestamp;
  return Timestamp{std::chrono::milliseconds{millis}};
}

std::string_view text_of(const void* bytes, std::size_t size) {
  return {static_cast<const char*>(bytes), size};
}

// Errors of a partition after which librdkafka tries again at the same offset. After any other it may
// go on behind what it could not read, so that the reader must not.
bool is_tried_again(rd_kafka_resp_err_t error) {
  static constexpr std::array kTriedAgain{
      RD_KAFKA_RESP_ERR__TRANSPORT,
      RD_KAFKA_RESP_ERR__TIMED_OUT,
      RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE,
      RD_KAFKA_RESP_ERR__RESOLVE,
      RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
      RD_KAFKA_RESP_ERR__WAIT_COORD,
      RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
      RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
      RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
      RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
      RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
      RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
      RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
  };
  return std::find(kTriedAgain.begin(), kTriedAgain.end(), error) != kTriedAgain.end();
}

}  // namespace

KafkaReader::KafkaReader(std::shared_ptr<const SourceSettings> settings)
    : settings_(std::move(settings)), parser_(settings_->value.make_parser(*settings_->shape)) {}

KafkaReader::~KafkaReader() {
  close();
}

// ---- opening

void KafkaReader::open(OperatorContext& context, std::vector<Split> splits) {
  context_ = &context;
  messages_.resize(context.batch_rows);
  partitions_.resize(splits.size());
  for (std::size_t i = 0; i < splits.size(); ++i) {
    Partition& partition = partitions_[i];
    partition.id = parse_split_id(splits[i].id);
    partition.at = parse_position(splits[i].position);
    partition.finished = partition.at.stop && partition.at.next >= *partition.at.stop;
    partition.caught_up = partition.finished;
    active_ += !partition.finished;
  }
  if (active_ > 0) {
    make_client();
    assign();
  }
}

void KafkaReader::make_client() {
  // The context's functions are copied: librdkafka's threads may call them until close() has ended.
  client_ = std::make_unique<Client>(*settings_, tuning(), context_->log);
  rd_kafka_poll_set_consumer(client_->handle());
  client_queue_.reset(rd_kafka_queue_get_consumer(client_->handle()));
  rd_kafka_queue_cb_event_enable(
      client_queue_.get(),
      [](rd_kafka_t*, void* opaque) {
        auto& reader = *static_cast<KafkaReader*>(opaque);
        reader.client_called_.store(true, std::memory_order_release);
        reader.context_->wake();
      },
      this);
}

// Half of a partition's memory is for what lies ready, half for the answer that is on its way.
ClientOptions KafkaReader::tuning() {
  std::size_t wanted = kPrefetchBytesMin * active_;
  if (context_->memory != nullptr) {
    MemoryShare& share = context_->memory->prefetch();
    // Room is left for another source: every reader takes half of what would be its part.
    const std::size_t part =
        share.limit_bytes() / (2 * static_cast<std::size_t>(std::max(context_->parallelism, 1)));
    wanted = std::clamp(part, wanted, kPrefetchBytesMax * active_);
    share.acquire(wanted);
    prefetch_bytes_ = wanted;
  }
  const std::size_t queue_bytes = wanted / active_ / 2;
  const std::size_t fetch_bytes = std::clamp<std::size_t>(queue_bytes, 64 << 10, 8 << 20);
  const std::size_t answer_bytes = std::clamp<std::size_t>(wanted / 2, 2 << 20, 50 << 20);
  const std::size_t ready =
      std::clamp<std::size_t>(queue_bytes / kRecordOverheadBytes, 1'000, 1'000'000);
  return {
      {"queued.max.messages.kbytes", std::to_string(std::max<std::size_t>(queue_bytes >> 10, 1))},
      {"queued.min.messages", std::to_string(ready)},
      {"fetch.message.max.bytes", std::to_string(fetch_bytes)},
      {"fetch.max.bytes", std::to_string(answer_bytes)},
      // One request at a time serves all partitions of a broker: one that waits long for new records
      // holds up the partitions that have become worth asking for meanwhile.
      {"fetch.wait.max.ms", "20"},
      {"fetch.error.backoff.ms", "100"},
  };
}

void KafkaReader::assign() {
  PartitionListPtr list(rd_kafka_topic_partition_list_new(static_cast<int>(active_)));
  for (Partition& partition : partitions_) {
    if (partition.finished) continue;
    const char* topic = partition.id.topic.c_str();
    partition.queue.reset(
        rd_kafka_queue_get_partition(client_->handle(), topic, partition.id.partition));
    LEVADA_ASSERT(partition.queue != nullptr, "a consumer has a queue for every partition");
    rd_kafka_queue_forward(partition.queue.get(), nullptr);
    rd_kafka_queue_cb_event_enable(
        partition.queue.get(),
        [](rd_kafka_t*, void* opaque) { static_cast<KafkaReader*>(opaque)->context_->wake(); },
        this);
    rd_kafka_topic_partition_list_add(list.get(), topic, partition.id.partition)->offset =
        partition.at.next;
  }
  const rd_kafka_resp_err_t error = rd_kafka_assign(client_->handle(), list.get());
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    throw ConnectorError(at_brokers(*settings_) + rd_kafka_err2str(error), false);
  }
}

// ---- reading

PollResult KafkaReader::poll(Batch& batch, std::vector<SplitRun>& runs) {
  if (active_ == 0) return PollResult::kFinished;
  serve_client();
  std::size_t came = 0;
  for (std::size_t i = 0; i < partitions_.size() && batch.empty(); ++i) {
    if (++turn_ >= partitions_.size()) turn_ = 0;
    if (!partitions_[turn_].finished) came += take(turn_, batch, runs);
  }
  if (active_ == 0 && batch.empty()) return PollResult::kFinished;
  return came > 0 ? PollResult::kMore : PollResult::kLater;
}

// Lets the client call back: errors, statistics, commits.
void KafkaReader::serve_client() {
  if (!client_called_.exchange(false, std::memory_order_acquire)) return;
  for (;;) {
    const ssize_t count =
        rd_kafka_consume_batch_queue(client_queue_.get(), 0, messages_.data(), messages_.size());
    if (count <= 0) break;
    const auto size = static_cast<std::size_t>(count);
    const Messages owner(messages_.data(), size);
    for (std::size_t i = 0; i < size; ++i) {
      LEVADA_ASSERT(messages_[i]->err != RD_KAFKA_RESP_ERR_NO_ERROR,
                    "records come by the queue of their partition");
      log(LogLevel::kWarning, std::string("Kafka: ") + rd_kafka_message_errstr(messages_[i]));
    }
  }
  commit_complete();  // what had to wait for the commit before
  if (!client_->fatal().empty()) {
    throw ConnectorError(at_brokers(*settings_) + client_->fatal(), true);
  }
}

// Takes what a partition has ready and `batch` has room for; returns how many messages that were.
std::size_t KafkaReader::take(std::size_t index, Batch& batch, std::vector<SplitRun>& runs) {
  Partition& partition = partitions_[index];
  const ssize_t count = rd_kafka_consume_batch_queue(partition.queue.get(), 0, messages_.data(),
                                                     std::min(messages_.size(), batch.room()));
  if (count <= 0) return 0;
  const auto size = static_cast<std::size_t>(count);
  const Messages owner(messages_.data(), size);
  const std::size_t first = batch.size();
  for (std::size_t i = 0; i < size && !partition.finished; ++i) {
    accept(partition, *messages_[i], batch);
  }
  client_->heard_of();
  if (batch.size() > first) runs.push_back({index, first, batch.size() - first});
  return size;
}

void KafkaReader::accept(Partition& partition, const rd_kafka_message_t& message, Batch& batch) {
  if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
    return reached_end(partition, message.offset);
  if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR) return on_error(partition, message);
  if (message.offset < partition.at.next) return;  // delivered before
  if (partition.at.stop && message.offset >= *partition.at.stop) return finish(partition);
  if (parse(partition, message, batch)) batch.set_size(batch.size() + 1);
  partition.at.next = message.offset + 1;
  partition.caught_up = false;
  if (!waiting_.empty()) waiting_.clear();
  if (partition.at.stop && partition.at.next >= *partition.at.stop) finish(partition);
}

// Makes the batch's next row. False: the record was left out.
bool KafkaReader::parse(const Partition& partition, const rd_kafka_message_t& message,
                        Batch& batch) {
  const std::size_t at = batch.size();
  void* const row = batch.row(at);
  if (message.payload == nullptr) {
    refuse_record(partition, message.offset, "it has no value (a tombstone)");
    return false;
  }
  const std::string_view value = text_of(message.payload, message.len);
  if (!parser_->parse(value, row)) {
    refuse_record(partition, message.offset, parser_->problem());
    return false;
  }
  batch.times()[at] = time_of(message);
  if (settings_->with_record) {
    settings_->with_record(
        row, {partition.id.topic, partition.id.partition, message.offset, batch.times()[at],
              text_of(message.key, message.key_len), value, &message});
  }
  return true;
}

void KafkaReader::refuse_record(const Partition& partition, std::int64_t offset,
                                const std::string& why) {
  if (settings_->on_bad_record.policy == BadRecordPolicy::kSkipAndCount) {
    if (context_->counters != nullptr) context_->counters->bad_records.add(1);
    return;
  }
  throw FormatError("Kafka record of topic " + partition.id.topic + ", partition " +
                    std::to_string(partition.id.partition) + ", offset " + std::to_string(offset) +
                    " does not parse: " + why);
}

void KafkaReader::reached_end(Partition& partition, std::int64_t offset) {
  // Between the last record and here there are only control records and aborted transactions.
  partition.at.next = std::max(partition.at.next, offset);
  partition.caught_up = true;
  waiting_.clear();
  if (partition.at.stop && offset >= *partition.at.stop) finish(partition);
}

void KafkaReader::finish(Partition& partition) {
  partition.at.next = std::max(partition.at.next, *partition.at.stop);
  partition.finished = true;
  partition.caught_up = true;
  rd_kafka_queue_cb_event_enable(partition.queue.get(), nullptr, nullptr);
  --active_;
}

void KafkaReader::on_error(const Partition& partition, const rd_kafka_message_t& message) {
  const std::string name = split_id(partition.id);
  const std::string at = at_brokers(*settings_) + name + ": ";
  if (message.err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
      message.err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
    throw ConnectorError(at + "offset " + std::to_string(partition.at.next) +
                             " is out of range: its records are gone (retention, or the topic was "
                             "made anew), or were never there; what is lost cannot be told, so the "
                             "job does not go on by itself",
                         false);
  }
  const std::string why = rd_kafka_message_errstr(&message);
  if (is_tried_again(message.err)) {
    waiting_ = name + ": " + why;
    return log(LogLevel::kWarning, "Kafka: " + waiting_);
  }
  switch (message.err) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
      throw ConnectorError(at + "the topic or partition does not exist any more", false);
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED: throw ConnectorError(at + why, false);
    default:
      throw ConnectorError(
          at + "reading behind offset " + std::to_string(partition.at.next) + ": " + why, true);
  }
}

// ---- positions

std::string KafkaReader::position(std::size_t split) const {
  return to_text(partitions_[split].at);
}

std::string KafkaReader::position_text(std::size_t split) const {
  return std::to_string(partitions_[split].at.next);
}

void KafkaReader::committed(std::span<const std::string> positions) {
  if (settings_->group_id.empty() || !client_) return;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    partitions_[i].complete = parse_position(positions[i]).next;
  }
  if (client_->take_commit_failure()) {
    // Which offsets it had is of no interest: all are told again.
    for (Partition& partition : partitions_) partition.committed = -1;
  }
  commit_complete();
}

// One commit at a time: librdkafka lets one that waits for the group's coordinator be overtaken by a
// later one, and the group would end with the older offsets.
void KafkaReader::commit_complete() {
  if (client_->commits_outstanding() > 0) return;
  PartitionListPtr list(rd_kafka_topic_partition_list_new(static_cast<int>(partitions_.size())));
  for (Partition& partition : partitions_) {
    if (partition.complete == partition.committed || partition.complete < 0) continue;
    partition.committed = partition.complete;
    rd_kafka_topic_partition_list_add(list.get(), partition.id.topic.c_str(),
                                      partition.id.partition)
        ->offset = partition.complete;
  }
  if (list->cnt > 0) client_->commit_later(*list);
}

std::string KafkaReader::waiting_for() const {
  if (client_ && client_->down()) return "Kafka: " + client_->trouble();
  return waiting_.empty() ? "" : "Kafka: " + waiting_;
}

// ---- closing

void KafkaReader::close() {
  if (!client_) return;
  flush_commits();
  for (Partition& partition : partitions_) {
    if (partition.queue) rd_kafka_queue_cb_event_enable(partition.queue.get(), nullptr, nullptr);
    partition.queue.reset();
  }
  rd_kafka_queue_cb_event_enable(client_queue_.get(), nullptr, nullptr);
  client_queue_.reset();
  client_.reset();
  if (prefetch_bytes_ > 0) context_->memory->prefetch().release(std::exchange(prefetch_bytes_, 0));
}

// The last checkpoint's offsets are often still on their way. They only serve monitoring: not worth
// more than a moment.
void KafkaReader::flush_commits() {
  const SteadyTime deadline = context_->clock->steady_now() + kCommitPatience;
  while (client_->commits_outstanding() > 0 && !client_->down() &&
         context_->clock->steady_now() < deadline) {
    const ssize_t count =
        rd_kafka_consume_batch_queue(client_queue_.get(), 20, messages_.data(), messages_.size());
    if (count > 0) Messages(messages_.data(), static_cast<std::size_t>(count));
    commit_complete();
  }
}

void KafkaReader::log(LogLevel level, const std::string& text) const {
  if (context_->log) context_->log(level, text);
}

}  // namespace levada::kafka
