#include "operators/source_operator.h"

#include <algorithm>
#include <utility>

#include "levada/assert.h"

namespace levada {

// splits := count:varint { id:string position:string newest_time:i64 }*
Bytes encode_splits(const std::vector<SplitState>& splits) {
  Bytes bytes;
  put_varint(bytes, splits.size());
  for (const SplitState& split : splits) {
    put_string(bytes, split.split.id);
    put_string(bytes, split.split.position);
    Serde<Timestamp>::write(split.newest_time, bytes);
  }
  return bytes;
}

void decode_splits(View bytes, std::vector<SplitState>& into) {
  for (std::uint64_t left = bytes.take_varint(); left > 0; --left) {
    SplitState split;
    split.split.id = bytes.take_string();
    split.split.position = bytes.take_string();
    Serde<Timestamp>::read(bytes, split.newest_time);
    into.push_back(std::move(split));
  }
}

namespace {

Timestamp greatest_time(const Batch& batch, const SplitRun& run) {
  const Timestamp* times = batch.times() + run.first;
  return run.count == 0 ? kNoTimestamp : *std::max_element(times, times + run.count);
}

}  // namespace

SourceOperator::SourceOperator(std::unique_ptr<SourceReader> reader,
                               detail::WatermarkStrategy watermarks, std::vector<SplitState> splits)
    : reader_(std::move(reader)), watermarks_(std::move(watermarks)), merger_(splits.size()) {
  for (SplitState& split : splits) {
    splits_.push_back({.id = split.split.id, .newest_time = split.newest_time});
    initial_.push_back(std::move(split.split));
  }
}

void SourceOperator::open(OperatorContext& context) {
  clock_ = context.clock;
  reader_->open(context, std::move(initial_));
  for (std::size_t i = 0; i < splits_.size(); ++i) merger_.set(i, time_of(i));
  merger_.merge();
  time_ = merger_.merged();
}

PollResult SourceOperator::poll(Batch& batch) {
  if (splits_.empty()) return PollResult::kFinished;
  runs_.clear();
  if (!watermarks_.assign_times) std::fill_n(batch.times(), batch.capacity(), kNoTimestamp);
  const PollResult result = reader_->poll(batch, runs_);
  if (!batch.empty()) note_rows(batch);
  note_time(clock_->steady_now());
  if (result == PollResult::kFinished) time_ = {kMaxWatermark, false};
  return result;
}

void SourceOperator::note_rows(Batch& batch) {
  for (const SplitRun& run : runs_) {
    State& split = splits_[run.split];
    const Timestamp newest = watermarks_.assign_times
                                 ? watermarks_.assign_times(batch, run.first, run.count)
                                 : greatest_time(batch, run);
    split.newest_time = std::max(split.newest_time, newest);
    split.had_rows = run.count > 0;
  }
}

// Lets quiet splits grow idle and merges the time of all.
void SourceOperator::note_time(SteadyTime now) {
  const auto passed = last_poll_ == kNever
                          ? Duration{0}
                          : std::chrono::duration_cast<Duration>(now - last_poll_);
  last_poll_ = now;
  for (std::size_t i = 0; i < splits_.size(); ++i) {
    State& split = splits_[i];
    const bool quiet = !split.had_rows && reader_->caught_up(i);
    split.quiet = quiet ? split.quiet + passed : Duration{0};
    split.had_rows = false;
    merger_.set(i, time_of(i));
  }
  merger_.merge();
  time_ = merger_.merged();
}

Timestamp SourceOperator::watermark_of(const State& split) const {
  if (!watermarks_.given || split.newest_time == kMinWatermark) return kMinWatermark;
  const Duration behind = watermarks_.options.bounded_out_of_orderness + Duration{1};
  if (split.newest_time <= kMinWatermark + behind) return kMinWatermark;
  return split.newest_time - behind;
}

InputTime SourceOperator::time_of(std::size_t split) const {
  const State& state = splits_[split];
  const Duration idle_after = watermarks_.options.idle_after;
  const bool idle = idle_after > Duration{0} && state.quiet >= idle_after;
  return {watermark_of(state), idle || reader_->finished(split)};
}

SteadyTime SourceOperator::next_time() const {
  SteadyTime next = reader_->next_poll();
  const Duration idle_after = watermarks_.options.idle_after;
  if (idle_after == Duration{0} || last_poll_ == kNever) return next;
  for (std::size_t i = 0; i < splits_.size(); ++i) {
    if (splits_[i].quiet >= idle_after || !reader_->caught_up(i) || reader_->finished(i)) continue;
    next = std::min(next, last_poll_ + (idle_after - splits_[i].quiet));
  }
  return next;
}

void SourceOperator::snapshot(SnapshotContext& context) {
  std::vector<SplitState> states;
  std::vector<std::string>& positions = positions_of_[context.checkpoint()];
  positions.clear();
  for (std::size_t i = 0; i < splits_.size(); ++i) {
    positions.push_back(reader_->position(i));
    states.push_back({{splits_[i].id, positions.back()}, splits_[i].newest_time});
  }
  context.put_operator_state(kStateName, encode_splits(states));
}

void SourceOperator::committed(CheckpointId checkpoint) {
  const auto at = positions_of_.find(checkpoint);
  if (at == positions_of_.end()) return;
  reader_->committed(at->second);
  positions_of_.erase(positions_of_.begin(), std::next(at));
}

void SourceOperator::positions(const std::string& node, std::vector<SplitStatus>& into) const {
  for (std::size_t i = 0; i < splits_.size(); ++i) {
    into.push_back({node, splits_[i].id, reader_->position_text(i)});
  }
}

}  // namespace levada
