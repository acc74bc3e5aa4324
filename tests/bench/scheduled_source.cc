#include "scheduled_source.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace bench {
namespace {

using levada::Batch;
using levada::Duration;
using levada::PollResult;
using levada::Split;
using levada::SplitRun;
using levada::SteadyTime;
using levada::Timestamp;

// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// A reader gives what is due, and lets a batch come together before it asks to be polled again, but not for
// long: as rows come from a network.
class ScheduledReader final : public levada::SourceReader {
 public:
  explicit ScheduledReader(std::shared_ptr<const Schedule> schedule) : schedule_(std::move(schedule)) {}

  void open(levada::OperatorContext& context, std::vector<Split> splits) override {
    clock_ = context.clock;
    batch_rows_ = context.batch_rows;
    for (const Split& split : splits) {
      splits_.push_back({std::stoull(split.id), std::stoull(split.position)});
    }
  }

  PollResult poll(Batch& batch, std::vector<SplitRun>& runs) override {
    const std::uint64_t due =
        schedule_->paced ? schedule_->due_rows(clock_->steady_now()) : schedule_->rows;
    for (std::size_t s = 0; s < splits_.size(); ++s) {
      Position& at = splits_[s];
      const std::size_t first = batch.size();
      const std::uint64_t ready = due > next_of(at) ? (due - next_of(at) - 1) / splits() + 1 : 0;
      const std::size_t count = std::min<std::uint64_t>(ready, batch.room());
      append(batch, at, count);
      if (count > 0) runs.push_back({s, first, count});
    }
    if (all_read()) return PollResult::kFinished;
    return batch.full() || !schedule_->paced ? PollResult::kMore : PollResult::kLater;
  }

  SteadyTime next_poll() const override {
    constexpr Duration kLongest{500};
    const Duration batch = schedule_->due(batch_rows_ * splits()) - schedule_->due(0);
    return clock_->steady_now() + std::min(batch, kLongest);
  }
  bool caught_up(std::size_t) const override { return true; }
  bool finished(std::size_t split) const override {
    return next_of(splits_[split]) >= schedule_->rows;
  }
  std::string position(std::size_t split) const override {
    return std::to_string(splits_[split].read);
  }

 private:
  struct Position {
    std::uint64_t split = 0;
    std::uint64_t read = 0;
  };

  std::uint64_t splits() const { return static_cast<std::uint64_t>(schedule_->splits); }
  std::uint64_t next_of(const Position& at) const { return at.split + at.read * splits(); }

  void append(Batch& batch, Position& at, std::size_t count) {
    ScheduledRow* rows = batch.rows<ScheduledRow>() + batch.size();
    for (std::size_t i = 0; i < count; ++i, ++at.read) {
      const std::uint64_t random = mix(next_of(at));
      rows[i].key = ((random >> 32) * schedule_->keys) >> 32;
      rows[i].value = random & 0xffff;
      rows[i].at = Timestamp{schedule_->due(next_of(at))};
    }
    batch.set_size(batch.size() + count);
  }
  bool all_read() const {
    for (std::size_t s = 0; s < splits_.size(); ++s) {
      if (!finished(s)) return false;
    }
    return true;
  }

  std::shared_ptr<const Schedule> schedule_;
  const levada::Clock* clock_ = nullptr;
  std::size_t batch_rows_ = 0;
  std::vector<Position> splits_;
};

class ScheduledSource final : public levada::SourceFactory {
 public:
  explicit ScheduledSource(std::shared_ptr<const Schedule> schedule) : schedule_(std::move(schedule)) {}

  std::vector<Split> discover(const std::vector<Split>&, const levada::Clock&,
                              const std::function<void(levada::LogLevel, std::string_view)>&) override {
    std::vector<Split> splits;
    for (int i = 0; i < schedule_->splits; ++i) splits.push_back({std::to_string(i), "0"});
    return splits;
  }
  std::unique_ptr<levada::SourceReader> make_reader() override {
    return std::make_unique<ScheduledReader>(schedule_);
  }

 private:
  std::shared_ptr<const Schedule> schedule_;
};

}  // namespace

levada::Source<ScheduledRow> scheduled_source(std::shared_ptr<const Schedule> schedule) {
  return {std::make_shared<ScheduledSource>(std::move(schedule)), "schedule"};
}

}  // namespace bench
