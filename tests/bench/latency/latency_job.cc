#include "latency_job.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "scheduled_source.h"

namespace bench {
namespace {

using Row = ScheduledRow;

struct Total {
  std::uint64_t key = 0;
  Timestamp end;
  std::int64_t total = 0;
  std::int64_t count = 0;
};
LEVADA_RECORD(Total, key, end, total, count)

// What the sinks of both subtasks saw, put together when they go.
struct Seen {
  std::mutex mutex;
  Delays results;
  std::map<std::int64_t, Duration> last;  // of each firing, by its window's end
  std::uint64_t rows = 0;
};

class Sink {
 public:
  Sink(const LatencyOptions& options, levada::SteadyTime start, Seen& seen)
      : options_(&options), start_(start), seen_(&seen) {}
  Sink(const Sink& other) : options_(other.options_), start_(other.start_), seen_(other.seen_) {}
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
    if (end <= options_->warm_up || end > options_->warm_up + options_->measured) return;
    const auto since_start = levada::system_clock().steady_now() - start_;
    const Duration delay = std::chrono::duration_cast<Duration>(since_start) - end;
    results_.add(delay);
    Duration& last = last_[end.count()];
    last = std::max(last, delay);
  }

 private:
  const LatencyOptions* options_;
  levada::SteadyTime start_;
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
        Schedule{.rate = options.rate,
                 .paced = options.paced,
                 .rows = options.rows,
                 .keys = options.keys,
                 .splits = kParallelism,
                 .start = levada::system_clock().steady_now() + 100ms});
    levada::StreamEnvironment env(
        {.parallelism = kParallelism,
         .checkpoint = {.interval = 1s, .directory = options.checkpoint_directory}});
    env.from_source(scheduled_source(schedule), levada::event_time(&Row::at))
        .uid("rows")
        .key_by(&Row::key)
        .window(levada::tumbling(kWindow))
        .aggregate(levada::key().as(&Total::key), levada::window_end().as(&Total::end),
                   levada::sum([](const Row& row) { return static_cast<std::int64_t>(row.value); })
                       .as(&Total::total),
                   levada::count().as(&Total::count))
        .uid("totals")
        .for_each(Sink(options, schedule->start, seen))
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
