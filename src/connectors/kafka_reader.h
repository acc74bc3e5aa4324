// Reads the partitions of one subtask.
//
// 1. One consumer, one queue per partition, split off before the assignment: a partition that is left
//    alone holds nobody up. Nothing is ever paused, resumed or sought: librdkafka 2.0.2 skips offsets
//    then.
// 2. Offsets are our own. A record below a partition's next offset is dropped (2.0.2 may deliver one
//    twice); gaps are those of transactions and compaction.
// 3. Assignments are to absolute offsets and auto.offset.reset is `error`: an offset that is gone is an
//    error, never a jump.
// 4. A partition's end is told by the broker (PARTITION_EOF), which also says how far control records
//    and aborted transactions reach behind the last record.
//
// Threads:  of its task; librdkafka's threads call wake() and the log.
// Failures: ConnectorError; FormatError for a bad record under the policy fail().
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connectors/kafka_client.h"
#include "connectors/kafka_split.h"

namespace levada::kafka {

class KafkaReader final : public SourceReader {
 public:
  explicit KafkaReader(std::shared_ptr<const detail::SourceSettings> settings);
  ~KafkaReader() override;

  void open(OperatorContext& context, std::vector<Split> splits) override;
  PollResult poll(Batch& batch, std::vector<SplitRun>& runs) override;
  bool caught_up(std::size_t split) const override { return partitions_[split].caught_up; }
  bool finished(std::size_t split) const override { return partitions_[split].finished; }
  std::string position(std::size_t split) const override;
  std::string position_text(std::size_t split) const override;
  void committed(std::span<const std::string> positions) override;
  std::string waiting_for() const override;
  void close() override;

 private:
  struct Partition {
    TopicPartition id;
    SplitPosition at;
    bool caught_up = false;
    bool finished = false;
    std::int64_t complete = -1;   // of the newest complete checkpoint
    std::int64_t committed = -1;  // what the group was told last
    QueuePtr queue;
  };

  void make_client();
  ClientOptions tuning();
  void assign();
  void serve_client();
  std::size_t take(std::size_t index, Batch& batch, std::vector<SplitRun>& runs);
  void accept(Partition& partition, const rd_kafka_message_t& message, Batch& batch);
  bool parse(const Partition& partition, const rd_kafka_message_t& message, Batch& batch);
  void refuse_record(const Partition& partition, std::int64_t offset, const std::string& why);
  void reached_end(Partition& partition, std::int64_t offset);
  void finish(Partition& partition);
  void on_error(const Partition& partition, const rd_kafka_message_t& message);
  void commit_complete();
  void flush_commits();
  void log(LogLevel level, const std::string& text) const;

  const std::shared_ptr<const detail::SourceSettings> settings_;
  OperatorContext* context_ = nullptr;
  std::unique_ptr<RecordParser> parser_;
  std::vector<Partition> partitions_;
  std::size_t active_ = 0;  // partitions not finished
  std::size_t turn_ = 0;    // the partition to ask first
  std::vector<rd_kafka_message_t*> messages_;
  std::size_t prefetch_bytes_ = 0;  // taken from the budget
  std::string waiting_;             // for a partition
  std::atomic<bool> client_called_{false};
  std::unique_ptr<Client> client_;
  QueuePtr client_queue_;
};

}  // namespace levada::kafka
