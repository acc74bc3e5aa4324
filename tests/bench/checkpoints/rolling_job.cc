#include "rolling_job.h"

#include <atomic>
#include <memory>
#include <utility>

#include "cpu_time.h"
#include "scheduled_source.h"

namespace bench {
namespace {

using levada::SteadyTime;
using levada::Timestamp;
using Seconds = std::chrono::duration<double>;

// Rows between two looks at the clock: a batch; and between two of which the latency is taken.
constexpr std::uint64_t kBatchRows = 1024;
constexpr std::uint64_t kLatencyRows = 64;
constexpr double kFastest = 1e9;

struct Total {
  std::uint64_t key = 0;
  std::int64_t total = 0;
  std::int64_t count = 0;
  Timestamp at;
};
LEVADA_RECORD(Total, key, total, count, at)

// What the sink saw: it belongs to the task until the job has ended.
struct Seen {
  SteadyTime start;  // of the schedule
  SteadyTime from;   // measured: [from, until)
  SteadyTime until;
  bool paced = false;

  std::uint64_t rows = 0;
  SteadyTime first{};
  SteadyTime last{};  // the look at the clock before
  std::uint64_t rows_from = 0, rows_until = 0;
  SteadyTime seen_from{}, seen_until{};
  double cpu_from = 0, cpu_until = 0;
  Delays gaps, latency;
  KeyCounts counts;
  bool counts_follow = true;
  std::atomic<bool> over{false};

  void add(const Total& row) {
    if (rows % kBatchRows == 0) look();
    if (paced && rows % kLatencyRows == 0) note_latency(row.at);
    ++rows;
    if (row.key >= counts.size()) return;
    std::int64_t& count = counts[row.key];
    counts_follow &= row.count == ++count;
  }

  void look() {
    const SteadyTime now = levada::system_clock().steady_now();
    if (first == SteadyTime{}) first = now;
    if (now >= from && seen_from == SteadyTime{}) {
      seen_from = now;
      rows_from = rows;
      cpu_from = cpu_seconds();
    } else if (now >= until && seen_until == SteadyTime{}) {
      seen_until = now;
      rows_until = rows;
      cpu_until = cpu_seconds();
      over = true;
    } else if (now > from && now < until) {
      gaps.add(std::chrono::duration_cast<Duration>(now - last));
    }
    last = now;
  }

  void note_latency(Timestamp due) {
    const SteadyTime now = levada::system_clock().steady_now();
    if (now < from || now >= until) return;
    latency.add(std::chrono::duration_cast<Duration>(now - start) - due.time_since_epoch());
  }
};

}  // namespace

RollingResult run_rolling(const RollingOptions& options, KeyCounts& counts) {
  RollingResult result;
  const SteadyTime begun = levada::system_clock().steady_now();
  auto seen = std::make_shared<Seen>();
  seen->counts = std::move(counts);
  seen->paced = options.rate > 0;
  seen->start = begun;
  seen->from = begun + options.warm_up;
  seen->until = seen->from + options.measured;
  const auto schedule = std::make_shared<const Schedule>(
      Schedule{.rate = options.rate > 0 ? options.rate : kFastest,
               .paced = options.rate > 0,
               .rows = std::uint64_t{1} << 50,
               .keys = options.keys,
               .start = begun});
  levada::EnvironmentOptions environment{.state = options.state};
  if (!options.directory.empty()) {
    environment.checkpoint = {.interval = options.interval, .directory = options.directory};
  }
  levada::StreamEnvironment env(std::move(environment));
  env.from_source(scheduled_source(schedule), levada::event_time(&ScheduledRow::at))
      .uid("rows")
      .key_by(&ScheduledRow::key)
      .aggregate(levada::key().as(&Total::key),
                 levada::sum([](const ScheduledRow& row) { return static_cast<std::int64_t>(row.value); })
                     .as(&Total::total),
                 levada::count().as(&Total::count), levada::max(&ScheduledRow::at).as(&Total::at))
      .uid("totals")
      .for_each([seen](const Total& row) { seen->add(row); })
      .uid("sink");
  levada::Job job = env.execute_async("rolling");
  while (!seen->over && !job.wait_for(std::chrono::milliseconds{20})) {
  }
  const levada::JobStatus status = job.status();
  job.request_stop();
  job.wait();
  const Seconds span = seen->seen_until - seen->seen_from;
  const auto rows = static_cast<double>(seen->rows_until - seen->rows_from);
  result.rows_per_s = rows / span.count();
  result.cpu_ns_per_row = (seen->cpu_until - seen->cpu_from) * 1e9 / rows;
  result.gaps = std::move(seen->gaps);
  result.latency = std::move(seen->latency);
  result.checkpoints = status.checkpoints_completed;
  if (status.last_checkpoint) {
    result.bytes_per_checkpoint = status.last_checkpoint->bytes;
    result.checkpoint_s = Seconds(status.last_checkpoint->duration).count();
  }
  result.first_row_s = Seconds(seen->first - begun).count();
  result.restored = status.restored_from.value_or(0);
  result.counts_follow = seen->counts_follow;
  counts = std::move(seen->counts);
  return result;
}

}  // namespace bench
