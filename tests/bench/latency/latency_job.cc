#include "latency_job.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace bench {
namespace {

using levada::Batch;
using levada::PollResult;
using levada::Split;
using levada::SplitRun;
using levada::SteadyTime;

struct Row {
  std::uint64_t key = 0;
  std::uint64_t value = 0;
  Timestamp at;
};
LEVADA_RECORD(Row, key, value, at)

struct Total {
  std::uint64_t key = 0;
  Timestamp end;
  std::int64_t total = 0;
  std::int64_t count = 0;
};
LEVADA_RECORD(Total, key, end, total, count)

// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// What both readers share: the schedule.
struct Schedule {
  LatencyOptions options;
  SteadyTime start;

  // Row i is due at this time after the start.
  Duration due(std::uint64_t i) const {
    return Duration{static_cast<std::int64_t>(static_cast<double>(i) * 1e6 / options.rate)};
  }
  // So many rows are due at `now`.
  std::uint64_t due_rows(SteadyTime now) const {
    if (now < start) return 0;
    const std::chrono::duration<double> passed = now - start;
    return std::min(options.rows, static_cast<std::uint64_t>(passed.count() * options.rate));
  }
};

// Row i belongs to split i mod 2. A reader gives what is due, and lets a batch come together before it asks
// to be polled again, but not for long: as rows come from a network.
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
    const LatencyOptions& options = schedule_->options;
    const std::uint64_t due =
        options.paced ? schedule_->due_rows(clock_->steady_now()) : options.rows;
    for (std::size_t s = 0; s < splits_.size(); ++s) {
      Position& at = splits_[s];
      const std::size_t first = batch.size();
      const std::uint64_t ready = due > at.next() ? (due - at.next() - 1) / kParallelism + 1 : 0;
      const std::size_t count = std::min<std::uint64_t>(ready, batch.room());
      append(batch, at, count);
      if (count > 0) runs.push_back({s, first, count});
    }
    if (all_read()) return PollResult::kFinished;
    return batch.full() || !options.paced ? PollResult::kMore : PollResult::kLater;
  }

  SteadyTime next_poll() const override {
    constexpr Duration kLongest = 500us;
    const Duration batch = schedule_->due(batch_rows_ * kParallelism) - schedule_->due(0);
    return clock_->steady_now() + std::min(batch, kLongest);
  }
  bool caught_up(std::size_t) const override { return true; }
  bool finished(std::size_t split) const override {
    return splits_[split].next() >= schedule_->options.rows;
  }
  std::string position(std::size_t split) const override {
    return std::to_string(splits_[split].read);
  }

 private:
  struct Position {
    std::uint64_t split = 0;
    std::uint64_t read = 0;
    std::uint64_t next() const { return split + read * kParallelism; }
  };

  void append(Batch& batch, Position& at, std::size_t count) {
    Row* rows = batch.rows<Row>() + batch.size();
    for (std::size_t i = 0; i < count; ++i, ++at.read) {
      const std::uint64_t random = mix(at.next());
      rows[i].key = ((random >> 32) * schedule_->options.keys) >> 32;
      rows[i].value = random & 0xffff;
      rows[i].at = Timestamp{schedule_->due(at.next())};
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
    for (int i = 0; i < kParallelism; ++i) splits.push_back({std::to_string(i), "0"});
    return splits;
  }
  std::unique_ptr<levada::SourceReader> make_reader() override {
    return std::make_unique<ScheduledReader>(schedule_);
  }

 private:
  std::shared_ptr<const Schedule> schedule_;
};

// What the sinks of both subtasks saw, put together when they go.
struct Seen {
  std::mutex mutex;
  Delays results;
  std::map<std::int64_t, Duration> last;  // of each firing, by its window's end
  std::uint64_t rows = 0;
};

class Sink {
 public:
  Sink(std::shared_ptr<const Schedule> schedule, Seen& seen)
      : schedule_(std::move(schedule)), seen_(&seen) {}
  Sink(const Sink& other) : schedule_(other.schedule_), seen_(other.seen_) {}
  Sink& operator=(const Sink&) = delete;
  ~Sink() {
    const std::lock_guard lock(seen_->mutex);
    seen_->results.merge(results_);
    for (const auto& [end, delay] : last_) {
      Duration& last = seen_->last[end];
      last = std::max(last, delay);
    }
    seen_->rows += rows_;
  }

  void operator()(const Total& total) {
    rows_ += static_cast<std::uint64_t>(total.count);
    const Duration end = total.end.time_since_epoch();
    const LatencyOptions& options = schedule_->options;
    if (end <= options.warm_up || end > options.warm_up + options.measured) return;
    const auto since_start = levada::system_clock().steady_now() - schedule_->start;
    const Duration delay = std::chrono::duration_cast<Duration>(since_start) - end;
    results_.add(delay);
    Duration& last = last_[end.count()];
    last = std::max(last, delay);
  }

 private:
  std::shared_ptr<const Schedule> schedule_;
  Seen* seen_;
  Delays results_;
  std::map<std::int64_t, Duration> last_;
  std::uint64_t rows_ = 0;
};

}  // namespace

LatencyResult run_latency_job(const LatencyOptions& options,
                              const std::function<void(levada::SteadyTime)>& on_start) {
  Seen seen;
  LatencyResult result;
  {
    // The job is up before the first row is due.
    const auto schedule = std::make_shared<const Schedule>(
        Schedule{options, levada::system_clock().steady_now() + 100ms});
    levada::StreamEnvironment env(
        {.parallelism = kParallelism,
         .checkpoint = {.interval = 1s, .directory = options.checkpoint_directory}});
    env.from_source(levada::Source<Row>{std::make_shared<ScheduledSource>(schedule), "schedule"},
                    levada::event_time(&Row::at))
        .uid("rows")
        .key_by(&Row::key)
        .window(levada::tumbling(kWindow))
        .aggregate(levada::key().as(&Total::key), levada::window_end().as(&Total::end),
                   levada::sum([](const Row& row) { return static_cast<std::int64_t>(row.value); })
                       .as(&Total::total),
                   levada::count().as(&Total::count))
        .uid("totals")
        .for_each(Sink(schedule, seen))
        .uid("sink");
    if (on_start) on_start(schedule->start);
    const auto begun = std::chrono::steady_clock::now();
    levada::Job job = env.execute_async("latency");
    job.wait();
    result.wall = std::chrono::steady_clock::now() - begun;
    result.checkpoints = job.status().checkpoints_completed;
  }
  result.results = std::move(seen.results);
  for (const auto& [end, delay] : seen.last) result.firings.add(delay);
  result.counted_rows = seen.rows;
  return result;
}

}  // namespace bench
