// An exactly-once sink into memory, and the database beneath it: markers, rows, and faults on demand.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "levada/sink.h"

namespace levada::testing {

/// The steps of a transaction at which a fault may be thrown.
enum class TargetStep { kBegin, kClaim, kRead, kWrite, kAdvance, kCommit, kCommitted };

/// What survives processes: one table and its markers. From any thread.
class MemoryTable {
 public:
  using Key = std::tuple<std::string, std::string, int>;

  struct Row {
    CheckpointId epoch = 0;  ///< of the segment's manifest
    std::string body;
  };

  /// Called at every step, outside the lock; may throw TargetError.
  std::function<void(TargetStep)> fault;
  std::size_t rows_max = SIZE_MAX;  ///< a transaction of more takes too long

  std::vector<Row> rows() const {
    const std::lock_guard lock(mutex_);
    return rows_;
  }
  std::map<Key, EpochMarker> markers() const {
    const std::lock_guard lock(mutex_);
    return markers_;
  }
  void set_marker(const Key& key, const EpochMarker& marker) {
    const std::lock_guard lock(mutex_);
    markers_[key] = marker;
  }
  void remove_markers() {
    const std::lock_guard lock(mutex_);
    markers_.clear();
  }
  /// All transactions are lost but those that made the markers.
  void lose_all_rows() {
    const std::lock_guard lock(mutex_);
    for (auto& [key, marker] : markers_) marker.epoch = 0;
    rows_.clear();
  }
  int commits() const {
    const std::lock_guard lock(mutex_);
    return commits_;
  }

 private:
  friend class MemoryTransaction;
  mutable std::mutex mutex_;
  std::map<Key, EpochMarker> markers_;
  std::vector<Row> rows_;
  int commits_ = 0;
};

/// Sees the table as it is, and changes it when it commits: enough where nobody else is at work.
class MemoryTransaction final : public MarkerTransaction {
 public:
  MemoryTransaction(MemoryTable& table, MemoryTable::Key key) : table_(table), key_(std::move(key)) {}

  std::optional<Claimed> claim(const EpochOwner& self, CheckpointId initial) override {
    meet(TargetStep::kClaim);
    const auto marker = find();
    if (!marker) {
      marker_ = {initial, self};
      return Claimed{.marker = *marker_, .created = true};
    }
    const EpochOwner& old = marker->owner;
    if (old.incarnation > self.incarnation ||
        (old.incarnation == self.incarnation && old.owner != self.owner)) {
      return std::nullopt;
    }
    marker_ = {marker->epoch, self};
    return Claimed{.marker = *marker_, .created = false};
  }
  std::optional<EpochMarker> read(bool) override {
    meet(TargetStep::kRead);
    return find();
  }
  void write(EpochRecords& records) override {
    meet(TargetStep::kWrite);
    EpochRecord record;
    while (records.next(record)) rows_.push_back({record.epoch, std::string(record.body)});
    if (rows_.size() > table_.rows_max) {
      throw TargetError(TargetStatus::kUnavailable, "canceling statement due to statement timeout");
    }
  }
  bool advance(const EpochOwner& self, CheckpointId previous, CheckpointId epoch,
               std::uint64_t) override {
    meet(TargetStep::kAdvance);
    const auto marker = find();
    if (!marker || marker->owner != self || marker->epoch != previous) return false;
    marker_ = {epoch, self};
    return true;
  }
  void commit() override {
    meet(TargetStep::kCommit);
    {
      const std::lock_guard lock(table_.mutex_);
      if (marker_) table_.markers_[key_] = *marker_;
      table_.rows_.insert(table_.rows_.end(), rows_.begin(), rows_.end());
      ++table_.commits_;
    }
    meet(TargetStep::kCommitted);
  }

 private:
  void meet(TargetStep step) const {
    if (table_.fault) table_.fault(step);
  }
  std::optional<EpochMarker> find() const {
    const std::lock_guard lock(table_.mutex_);
    const auto found = table_.markers_.find(key_);
    return found == table_.markers_.end() ? std::nullopt : std::optional(found->second);
  }

  MemoryTable& table_;
  const MemoryTable::Key key_;
  std::optional<EpochMarker> marker_;
  std::vector<MemoryTable::Row> rows_;
};

class MemoryDatabase final : public MarkerDatabase {
 public:
  MemoryDatabase(std::shared_ptr<MemoryTable> table, const EpochTargetContext& context)
      : table_(std::move(table)), key_(context.job, context.sink, context.shard) {}

  std::string name() const override { return "memory"; }
  std::string schema() const override { return "rows"; }
  std::unique_ptr<MarkerTransaction> begin() override {
    if (table_->fault) table_->fault(TargetStep::kBegin);
    return std::make_unique<MemoryTransaction>(*table_, key_);
  }
  void disconnect() noexcept override {}

 private:
  const std::shared_ptr<MemoryTable> table_;
  const MemoryTable::Key key_;
};

class MemoryEncoder final : public EpochEncoder {
 public:
  std::size_t encode(const Batch& batch, std::size_t first_row, std::size_t bytes_wanted,
                     EpochRecordBuffer& out) override {
    std::size_t row = first_row;
    for (; row < batch.size() && out.size_bytes() < bytes_wanted; ++row) {
      batch.type().encode(batch.row(row), 1, out.begin(0));
      out.end();
    }
    return row;
  }
  std::string schema() const override { return "rows"; }
};

class MemorySinkFactory final : public SinkFactory {
 public:
  MemorySinkFactory(std::shared_ptr<MemoryTable> table, int shards,
                    std::shared_ptr<const detail::KeyHasher> partitioning)
      : table_(std::move(table)), shards_(shards), partitioning_(std::move(partitioning)) {}

  std::unique_ptr<SinkWriter> make_writer() override { return nullptr; }
  Guarantee best_guarantee() const override { return Guarantee::kExactlyOnce; }
  const Guarantee* wanted_guarantee() const override { return &kWanted; }
  std::unique_ptr<EpochEncoder> make_encoder() override { return std::make_unique<MemoryEncoder>(); }
  std::unique_ptr<EpochTarget> make_target(const EpochTargetContext& context) override {
    return make_marker_target(std::make_unique<MemoryDatabase>(table_, context));
  }
  int shards() const override { return shards_; }
  std::shared_ptr<const detail::KeyHasher> partitioning() const override { return partitioning_; }

 private:
  static constexpr Guarantee kWanted = Guarantee::kExactlyOnce;

  const std::shared_ptr<MemoryTable> table_;
  const int shards_;
  const std::shared_ptr<const detail::KeyHasher> partitioning_;
};

/// A sink whose rows end in `table`.
template <class T>
Sink<T> memory_sink(std::shared_ptr<MemoryTable> table, int shards = 1,
                    std::shared_ptr<const detail::KeyHasher> partitioning = nullptr) {
  return {std::make_shared<MemorySinkFactory>(std::move(table), shards, std::move(partitioning)),
          "memory"};
}

/// The rows of a table, decoded.
template <class T>
std::vector<T> rows_of(const MemoryTable& table) {
  std::vector<T> rows;
  for (const MemoryTable::Row& row : table.rows()) {
    View in(row.body);
    Serde<T>::read(in, rows.emplace_back());
  }
  return rows;
}

}  // namespace levada::testing
