// A source like generate(), of which a test says while the job runs how far it goes and where it ends.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "levada/levada.h"

namespace levada::testing {

/// Where the rows end: not at all, until it is said.
///
/// Threads: any.
class Gate {
 public:
  /// Rows from number `rows` on wait.
  void open(std::uint64_t rows) {
    const std::lock_guard lock(mutex_);
    open_ = rows;
  }
  /// Only so many rows come. REQUIRES: no more have been read.
  void end_at(std::uint64_t rows) {
    const std::lock_guard lock(mutex_);
    end_ = rows;
  }
  /// After all that any attempt of any job has read only `more` rows come. Returns how many there are then.
  std::uint64_t end_after(std::uint64_t more) {
    const std::lock_guard lock(mutex_);
    return end_ = read_ + more;
  }

  /// So many rows have been read, by whatever attempt read most.
  std::uint64_t read() const {
    const std::lock_guard lock(mutex_);
    return read_;
  }

  /// For readers: rows first, first + stride, … are to be read, `most` at most. Returns how many are.
  std::uint64_t take(std::uint64_t first, std::uint64_t stride, std::uint64_t most) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t limit = std::min(open_, end_);
    const std::uint64_t there = limit > first ? (limit - first - 1) / stride + 1 : 0;
    const std::uint64_t count = std::min(there, most);
    if (count > 0) read_ = std::max(read_, first + (count - 1) * stride + 1);
    return count;
  }
  bool ended(std::uint64_t row) const {
    const std::lock_guard lock(mutex_);
    return row >= end_;
  }

 private:
  mutable std::mutex mutex_;
  std::uint64_t open_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t end_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t read_ = 0;
};

struct GatedOptions {
  double rate = 0;  ///< rows a second over all splits; 0: as fast as they are read
  int splits = 1;   ///< row i belongs to split i mod splits
};

// position := the number of rows of the split that were read
template <class T>
class GatedReader final : public SourceReader {
 public:
  GatedReader(std::shared_ptr<Gate> gate, GatedOptions options, std::function<T(std::uint64_t)> make)
      : gate_(std::move(gate)), options_(options), make_(std::move(make)) {}

  void open(OperatorContext& context, std::vector<Split> splits) override {
    clock_ = context.clock;
    started_ = clock_->steady_now();
    const auto stride = static_cast<std::uint64_t>(options_.splits);
    for (const Split& split : splits) rows_.push_back(std::stoull(split.id) + stride * std::stoull(split.position));
  }
  PollResult poll(Batch& batch, std::vector<SplitRun>& runs) override {
    const auto stride = static_cast<std::uint64_t>(options_.splits);
    const std::uint64_t most = std::min<std::uint64_t>(batch.capacity(), allowance());
    for (std::size_t tried = 0; tried < rows_.size(); ++tried) {
      const std::size_t split = next_;
      next_ = (next_ + 1) % rows_.size();
      const std::uint64_t count = gate_->take(rows_[split], stride, most);
      if (count == 0) continue;
      for (std::uint64_t i = 0; i < count; ++i, rows_[split] += stride) batch.rows<T>()[i] = make_(rows_[split]);
      batch.set_size(count);
      runs.push_back({.split = split, .first = 0, .count = count});
      read_ += count;
      return PollResult::kMore;
    }
    for (std::size_t split = 0; split < rows_.size(); ++split) {
      if (!finished(split)) return PollResult::kLater;
    }
    return PollResult::kFinished;
  }
  SteadyTime next_poll() const override { return clock_->steady_now() + 1ms; }
  bool caught_up(std::size_t) const override { return false; }
  bool finished(std::size_t split) const override { return gate_->ended(rows_[split]); }
  std::string position(std::size_t split) const override {
    return std::to_string(rows_[split] / static_cast<std::uint64_t>(options_.splits));
  }

 private:
  // Rows that may be read now: this reader's part of the rate.
  std::uint64_t allowance() const {
    if (options_.rate <= 0) return std::numeric_limits<std::uint64_t>::max();
    const std::chrono::duration<double> passed = clock_->steady_now() - started_;
    const double part = static_cast<double>(rows_.size()) / options_.splits;
    const auto due = static_cast<std::uint64_t>(passed.count() * options_.rate * part);
    return due > read_ ? due - read_ : 0;
  }

  const std::shared_ptr<Gate> gate_;
  const GatedOptions options_;
  const std::function<T(std::uint64_t)> make_;
  const Clock* clock_ = nullptr;
  SteadyTime started_;
  std::vector<std::uint64_t> rows_;  // by split: the next one's number
  std::size_t next_ = 0;
  std::uint64_t read_ = 0;
};

template <class T>
class GatedFactory final : public SourceFactory {
 public:
  GatedFactory(std::shared_ptr<Gate> gate, GatedOptions options, std::function<T(std::uint64_t)> make)
      : gate_(std::move(gate)), options_(options), make_(std::move(make)) {}

  std::vector<Split> discover(const std::vector<Split>&, const Clock&,
                              const std::function<void(LogLevel, std::string_view)>&) override {
    std::vector<Split> splits;
    for (int i = 0; i < options_.splits; ++i) splits.push_back({.id = std::to_string(i), .position = "0"});
    return splits;
  }
  std::unique_ptr<SourceReader> make_reader() override {
    return std::make_unique<GatedReader<T>>(gate_, options_, make_);
  }

 private:
  const std::shared_ptr<Gate> gate_;
  const GatedOptions options_;
  const std::function<T(std::uint64_t)> make_;
};

/// make(0), make(1), … up to the gate.
template <class T>
Source<T> gated_source(std::shared_ptr<Gate> gate, std::function<T(std::uint64_t)> make, GatedOptions options = {}) {
  return {std::make_shared<GatedFactory<T>>(std::move(gate), options, std::move(make)), "gated"};
}

}  // namespace levada::testing
