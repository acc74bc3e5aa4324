#include "checkpoint/epoch_publisher.h"

#include <algorithm>
#include <new>
#include <utility>

#include "levada/assert.h"

#include "base/fail_point.h"
#include "base/planted_bug.h"

namespace levada {
namespace {

// Most bytes of the log that go into one transaction, unless one epoch alone has more. Each that fails halves
// it, each that does not gives some of it back.
constexpr std::uint64_t kPublishBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kPublishBytesBack = kPublishBytes / 16;
constexpr Duration kFirstPause = 100ms;
constexpr Duration kLongestPause = 30s;
// Conflicts with other transactions are tried again at once, so many times.
constexpr int kQuickTries = 10;
constexpr Duration kQuickPause = 20ms;
// A target that cannot be reached at the start of a job is an error after so long.
constexpr Duration kStartTimeout = 9s;
// How soon a shard looks again whether the others have caught up.
constexpr Duration kOrderPause = 10ms;
// What cannot be read so many times in a row, with growing pauses between, is lost.
constexpr int kReadTries = 6;

std::int64_t seconds_between(SteadyTime from, SteadyTime to) {
  return std::chrono::duration_cast<std::chrono::seconds>(to - from).count();
}

class NoRecords final : public EpochRecords {
 public:
  bool next(EpochRecord&) override { return false; }
  std::uint64_t count() const override { return 0; }
  std::uint64_t size_bytes() const override { return 0; }
};

// Takes the marker over, from whomever, and moves it past every checkpoint taken so far: none of them can go on
// under it.
TargetAnswer retire_marker(EpochTarget& target, EpochOwner self, const std::function<void()>& require_owned) {
  const auto claim = [&] {
    return target.fence({.self = self, .may_create = true, .initial = generation_end(self.incarnation)});
  };
  TargetAnswer answer = claim();
  if (answer.status == TargetStatus::kFenced) {
    require_owned();
    // Of a directory that is lost, or of an instance that runs elsewhere.
    self.incarnation = std::max(self.incarnation, answer.marker.owner.incarnation) + 1;
    answer = claim();
  }
  const CheckpointId end = generation_end(self.incarnation);
  if (answer.status != TargetStatus::kDone || answer.created || answer.marker.epoch >= end) return answer;
  NoRecords none;
  return target.publish({.self = self, .previous = answer.marker.epoch, .epoch = end, .records = &none});
}

}  // namespace

// ---- ShardOrder

void ShardOrder::set(std::size_t shard, CheckpointId epoch) {
  MutexLock lock(mutex_);
  if (shards_[shard].asked == shards_[shard].answered) shards_[shard].first_waiting = epoch;
}

bool ShardOrder::may_publish(CheckpointId epoch) const {
  if (LEVADA_PLANTED("publisher.shards_apart")) return true;
  MutexLock lock(mutex_);
  return std::all_of(shards_.begin(), shards_.end(), [&](const Shard& shard) {
    return shard.first_waiting >> 32 >= epoch >> 32;
  });
}

void ShardOrder::set_waker(std::size_t shard, Waker* waker) {
  MutexLock lock(mutex_);
  shards_[shard].waker = waker;
}

void ShardOrder::ask_others(std::size_t shard) {
  if (LEVADA_PLANTED("publisher.others_not_asked")) return;
  MutexLock lock(mutex_);
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (i == shard) continue;
    ++shards_[i].asked;
    shards_[i].first_waiting = 0;
    if (shards_[i].waker != nullptr) shards_[i].waker->wake();
  }
}

std::uint64_t ShardOrder::asked(std::size_t shard) const {
  MutexLock lock(mutex_);
  return shards_[shard].asked;
}

bool ShardOrder::owes_answer(std::size_t shard) const {
  MutexLock lock(mutex_);
  return shards_[shard].asked != shards_[shard].answered;
}

void ShardOrder::answer(std::size_t shard, std::uint64_t asked) {
  MutexLock lock(mutex_);
  shards_[shard].answered = asked;
}

/// What one publish writes.
struct EpochPublisher::Plan {
  std::vector<EpochLogRecords::Part> parts;
  std::uint64_t bytes = 0;
  CheckpointId previous = 0;
  CheckpointId epoch = 0;
};

EpochPublisher::EpochPublisher(Parts parts)
    : parts_(std::move(parts)),
      started_at_(parts_.clock->steady_now()),
      pause_(kFirstPause),
      bytes_max_(kPublishBytes),
      random_(parts_.seed),
      history_(std::move(parts_.history)) {}

EpochPublisher::~EpochPublisher() = default;

// ---- stepping

bool EpochPublisher::step() {
  try {
    return fence_or_publish();
  } catch (const std::bad_alloc&) {
    run_out();
    return true;
  }
}

bool EpochPublisher::fence_or_publish() {
  if (state_ == State::kFailed || interrupted_.load(std::memory_order_acquire)) return false;
  if (parts_.clock->steady_now() < retry_at_) return false;
  if (retired_ < parts_.predecessors.size()) return retire_predecessor();
  if (parts_.order->owes_answer(shard())) state_ = State::kFencing;
  if (state_ == State::kFencing) return fence();
  return released_.load(std::memory_order_acquire) && publish();
}

SteadyTime EpochPublisher::next_time() const {
  MutexLock lock(mutex_);
  return next_time_;
}

void EpochPublisher::set_waker(Waker* waker) noexcept {
  waker_.store(waker, std::memory_order_release);
  parts_.order->set_waker(shard(), waker);
}

void EpochPublisher::interrupt() noexcept {
  interrupted_.store(true, std::memory_order_release);
  parts_.target->interrupt();
  for (const auto& predecessor : parts_.predecessors) predecessor->interrupt();
}

bool EpochPublisher::retire_predecessor() {
  EpochTarget& target = *parts_.predecessors[retired_];
  try {
    parts_.require_owned();
    unreadable_ = 0;
    const TargetAnswer answer = retire_marker(target, parts_.self, parts_.require_owned);
    target.disconnect();
    if (answer.status == TargetStatus::kDone || answer.status == TargetStatus::kAlreadyThere) {
      ++retired_;
      started_at_ = parts_.clock->steady_now();
    } else {
      doubt(answer);
    }
  } catch (const JobError&) {
    fail(std::current_exception());
  } catch (const ConnectorError&) {
    fail(std::current_exception());
  } catch (const StateError& error) {
    target.disconnect();
    if (!reads_again(error)) fail(std::current_exception());
  } catch (const std::exception& error) {
    target.disconnect();
    doubt({.status = TargetStatus::kUnavailable, .reason = error.what(), .marker = {}, .created = false});
  }
  return true;
}

bool EpochPublisher::fence() {
  const std::uint64_t asked = parts_.order->asked(shard());
  FenceRequest request{.self = parts_.self};
  {
    MutexLock lock(mutex_);
    request.may_create = may_create_marker(history_);
    request.initial = history_.published;
    next_time_ = kNever;
  }
  try {
    const TargetAnswer answer = parts_.target->fence(request);
    switch (answer.status) {
      case TargetStatus::kDone:
      case TargetStatus::kFenced:
      case TargetStatus::kMissing:
        take_marker(answer, asked);
        break;
      default:
        doubt(answer);
    }
  } catch (const JobError&) {
    fail(std::current_exception());
  } catch (const ConnectorError&) {
    fail(std::current_exception());
  } catch (const StateError& error) {
    unreadable(error);
  } catch (const std::exception& error) {
    doubt({.status = TargetStatus::kUnavailable, .reason = error.what(), .marker = {},
           .created = false});
  }
  return true;
}

void EpochPublisher::take_marker(const TargetAnswer& fenced, std::uint64_t asked) {
  TargetAnswer answer = fenced;
  bool idle = false;
  bool first = false;
  {
    MutexLock lock(mutex_);
    if (answer.created) answer.marker.epoch = history_.published;
    next_ = first_to_publish(history_, answer, parts_.node, parts_.target->name());
    history_.published = answer.marker.epoch;
    first = !recovered_;
  }
  if (first) read_through();
  {
    MutexLock lock(mutex_);
    recovered_ = true;
    history_.newer_unread = false;  // what they knew, the marker has said
    idle = next_ == history_.epochs.size();
    parts_.order->answer(shard(), asked);
    note_order();
  }
  state_ = State::kReady;
  if (std::exchange(doubted_, false)) parts_.order->ask_others(shard());
  LEVADA_FAILPOINT("publish.recovered", kRestore);
  if (idle) succeeded();
  parts_.changed();
}

// Finds what is damaged while the checkpoint before can still be restored.
void EpochPublisher::read_through() {
  std::vector<EpochLogRecords::Part> parts;
  {
    MutexLock lock(mutex_);
    parts = parts_between(next_, history_.epochs.size());
  }
  EpochLogRecords records(*parts_.files, parts_.sink, parts_.target->schema(), std::move(parts));
  EpochRecord record;
  while (records.next(record) && !interrupted_.load(std::memory_order_relaxed)) {
  }
  unreadable_ = 0;
}

bool EpochPublisher::publish() {
  const Plan plan = plan_publish();
  if (plan.parts.empty()) return false;
  const PhaseScope phase(Phase::kPublish);
  LEVADA_FAILPOINT("publish.begun", kPublish);
  try {
    EpochLogRecords records(*parts_.files, parts_.sink, parts_.target->schema(), plan.parts);
    const TargetAnswer answer = parts_.target->publish({.self = parts_.self,
                                                        .previous = plan.previous,
                                                        .epoch = plan.epoch,
                                                        .records = &records});
    // The others may have come before anything was read.
    const bool was_read = answer.status == TargetStatus::kDone || answer.status == TargetStatus::kUnknown;
    if (was_read) unreadable_ = 0;
    if (answer.status == TargetStatus::kDone) {
      LEVADA_FAILPOINT("publish.done", kPublish);
      published_to(plan, records.count());
    } else {
      bytes_max_ = std::min(bytes_max_, plan.bytes) / 2;
      doubt(answer);
    }
  } catch (const StateError& error) {
    unreadable(error);
  } catch (const ConnectorError&) {
    fail(std::current_exception());
  } catch (const std::exception& error) {
    doubt({.status = TargetStatus::kUnknown, .reason = error.what(), .marker = {}, .created = false});
  }
  return true;
}

// What to publish now; nothing when there is nothing, or more is worth waiting for.
EpochPublisher::Plan EpochPublisher::plan_publish() {
  Plan plan;
  const SteadyTime now = parts_.clock->steady_now();
  MutexLock lock(mutex_);
  next_time_ = kNever;
  bool enough = false;
  std::size_t end = next_;
  while (end < history_.epochs.size()) {
    const ShardEpoch& epoch = history_.epochs[end];
    if (!parts_.order->may_publish(epoch.id)) {
      next_time_ = now + kOrderPause;
      break;
    }
    const std::uint64_t more = epoch.bytes();
    if (end > next_ && plan.bytes + more > bytes_max_) {
      enough = true;
      break;
    }
    plan.bytes += more;
    ++end;
  }
  if (end == next_) return plan;
  enough |= history_.epochs[next_].id <= hurry_until_ || plan.bytes >= std::min(parts_.pace.bytes, bytes_max_);
  const SteadyTime due = history_.epochs[next_].since + parts_.pace.delay;
  if (!enough && now < due) {
    next_time_ = due;
    return plan;
  }
  plan.parts = parts_between(LEVADA_PLANTED("publisher.newer_first") ? end - 1 : next_, end);
  if (LEVADA_PLANTED("recovery.out_of_order")) std::reverse(plan.parts.begin(), plan.parts.end());
  plan.previous = history_.published;
  plan.epoch = history_.epochs[end - 1].id;
  return plan;
}

std::vector<EpochLogRecords::Part> EpochPublisher::parts_between(std::size_t begin, std::size_t end) const {
  std::vector<EpochLogRecords::Part> parts;
  for (std::size_t i = begin; i < end; ++i) {
    for (const EpochSegment& segment : history_.epochs[i].segments) {
      parts.push_back({history_.epochs[i].id, segment, parts_.path(segment)});
    }
  }
  return parts;
}

void EpochPublisher::published_to(const Plan& plan, std::uint64_t rows) {
  {
    MutexLock lock(mutex_);
    history_.published = plan.epoch;
    while (next_ < history_.epochs.size() && history_.epochs[next_].id <= plan.epoch) ++next_;
    ++publishes_;
    published_rows_ += rows;
    note_order();
  }
  bytes_max_ = std::min(bytes_max_ + kPublishBytesBack, kPublishBytes);
  if (LEVADA_PLANTED("log.removed_at_publish")) {
    for (const EpochLogRecords::Part& part : plan.parts) parts_.files->remove(part.path);
  }
  succeeded();
  parts_.changed();
}

// ---- doubts and failures

void EpochPublisher::doubt(const TargetAnswer& answer) {
  if (answer.status == TargetStatus::kRefused) {
    fail(std::make_exception_ptr(ConnectorError(
        parts_.target->name() + " refuses an epoch: " + answer.reason, false)));
    return;
  }
  parts_.target->disconnect();
  doubted_ = true;
  const SteadyTime now = parts_.clock->steady_now();
  bool recovered = false;
  {
    MutexLock lock(mutex_);
    recovered = recovered_;
    waiting_for_ = answer.reason;
  }
  if (!recovered && answer.status == TargetStatus::kUnavailable &&
      now - started_at_ >= kStartTimeout) {
    fail(std::make_exception_ptr(ConnectorError(answer.reason, true)));
    return;
  }
  if (away_since_ == kNever) {
    away_since_ = now;
    parts_.log->warning(parts_.node + ": nothing is published, trying again: " + answer.reason);
  }
  const bool blind = LEVADA_PLANTED("publisher.unknown_is_failed") &&
                     answer.status == TargetStatus::kUnknown;
  if (!blind) state_ = State::kFencing;
  const bool patient =
      answer.status == TargetStatus::kUnavailable || answer.status == TargetStatus::kLocked;
  if (patient || doubts_ >= kQuickTries) {
    wait(next_pause());
  } else if (doubts_ > 0 || answer.status == TargetStatus::kConflict) {
    wait(Duration{static_cast<std::int64_t>(random_.below(kQuickPause.count()))});
  }
  ++doubts_;
  parts_.changed();
}

// The disk may have failed for a moment, or there was no descriptor. False: that was often enough.
bool EpochPublisher::reads_again(const StateError& error) {
  if (++unreadable_ >= kReadTries) return false;
  started_at_ = parts_.clock->steady_now();  // it is not the target that keeps us
  doubt({.status = TargetStatus::kUnavailable, .reason = error.what(), .marker = {}, .created = false});
  return true;
}

void EpochPublisher::unreadable(const StateError& error) {
  if (reads_again(error)) return;
  auto lost = std::make_exception_ptr(JobError(
      JobErrorCode::kEpochLogLost, parts_.node, -1,
      std::string(error.what()) + "; it was not published yet. Bring the file back, or, if its output "
                                  "may be missing, execute the job with new_sink_generation"));
  {
    MutexLock lock(mutex_);
    if (!recovered_) log_damage_ = lost;
  }
  fail(std::move(lost));
}

// There was no memory to go on: how far it came, the target says.
void EpochPublisher::run_out() {
  if (state_ == State::kFailed) return;
  parts_.target->disconnect();
  if (retired_ < parts_.predecessors.size()) parts_.predecessors[retired_]->disconnect();
  doubted_ = true;
  state_ = State::kFencing;
  wait(next_pause());
  parts_.changed();
}

// Each pause is twice the one before, and up to a quarter longer by chance.
Duration EpochPublisher::next_pause() {
  const Duration pause = pause_;
  pause_ = std::min(2 * pause_, kLongestPause);
  return pause + Duration{static_cast<std::int64_t>(
                     random_.below(static_cast<std::uint64_t>(pause.count() / 4 + 1)))};
}

void EpochPublisher::wait(Duration pause) {
  bool recovered = false;
  {
    MutexLock lock(mutex_);
    recovered = recovered_;
  }
  // At the start the error must come in time.
  if (!recovered) pause = std::min<Duration>(pause, 1s);
  retry_at_ = parts_.clock->steady_now() + pause;
  MutexLock lock(mutex_);
  next_time_ = retry_at_;
}

void EpochPublisher::succeeded() {
  doubts_ = 0;
  pause_ = kFirstPause;
  {
    MutexLock lock(mutex_);
    waiting_for_.clear();
  }
  if (away_since_ == kNever) return;
  const auto away = seconds_between(std::exchange(away_since_, kNever), parts_.clock->steady_now());
  parts_.log->info(parts_.node + ": " + parts_.target->name() + " takes rows again after " +
                   std::to_string(away) + " s");
}

void EpochPublisher::fail(std::exception_ptr failure) {
  state_ = State::kFailed;
  {
    MutexLock lock(mutex_);
    failure_ = std::move(failure);
    next_time_ = kNever;
  }
  parts_.changed();
}

void EpochPublisher::note_order() {
  if (!recovered_) return;
  if (next_ < history_.epochs.size()) {
    parts_.order->set(shard(), history_.epochs[next_].id);
  } else {
    parts_.order->set_idle(shard());
  }
}

// ---- the job's side

void EpochPublisher::release() {
  if (released_.exchange(true, std::memory_order_acq_rel)) return;
  if (Waker* const waker = waker_.load(std::memory_order_acquire)) waker->wake();
}

void EpochPublisher::committed(ShardEpoch epoch) {
  {
    MutexLock lock(mutex_);
    LEVADA_ASSERT(epoch.id > history_.newest, "epochs are committed in order");
    history_.newest = epoch.id;
    history_.clean = false;
    if (!epoch.segments.empty()) {
      epoch.since = parts_.clock->steady_now();
      history_.epochs.push_back(std::move(epoch));
      note_order();
    }
  }
  if (LEVADA_PLANTED("publisher.not_woken")) return;
  if (Waker* const waker = waker_.load(std::memory_order_acquire)) waker->wake();
}

void EpochPublisher::forget(CheckpointId epoch) {
  MutexLock lock(mutex_);
  std::size_t count = 0;
  while (count < next_ && history_.epochs[count].id <= epoch) {
    history_.base = history_.epochs[count].id;
    ++count;
  }
  history_.epochs.erase(history_.epochs.begin(),
                        history_.epochs.begin() + static_cast<std::ptrdiff_t>(count));
  next_ -= count;
}

void EpochPublisher::hurry() {
  {
    MutexLock lock(mutex_);
    if (std::exchange(hurry_until_, history_.newest) == history_.newest) return;
  }
  if (Waker* const waker = waker_.load(std::memory_order_acquire)) waker->wake();
}

bool EpochPublisher::recovered() const {
  MutexLock lock(mutex_);
  return recovered_;
}

std::exception_ptr EpochPublisher::failure() const {
  MutexLock lock(mutex_);
  return failure_;
}

std::exception_ptr EpochPublisher::log_damage() const {
  MutexLock lock(mutex_);
  return log_damage_;
}

CheckpointId EpochPublisher::published() const {
  MutexLock lock(mutex_);
  return history_.published;
}

bool EpochPublisher::caught_up() const {
  MutexLock lock(mutex_);
  return next_ == history_.epochs.size() && recovered_;
}

EpochPublisher::Status EpochPublisher::status() const {
  MutexLock lock(mutex_);
  Status status;
  status.published = history_.published;
  status.waiting_epochs = history_.epochs.size() - next_;
  for (std::size_t i = next_; i < history_.epochs.size(); ++i) {
    status.waiting_bytes += history_.epochs[i].bytes();
  }
  if (next_ < history_.epochs.size()) status.waiting_since = history_.epochs[next_].since;
  status.publishes = publishes_;
  status.published_rows = published_rows_;
  status.waiting_for = waiting_for_;
  return status;
}

}  // namespace levada
