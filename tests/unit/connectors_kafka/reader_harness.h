// Runs a source's reader by hand, as its task would: polls, waits for wake() only when told to, and
// keeps what came.
//
// Threads: of the test; wake() and the log are called from others.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "levada/clock.h"
#include "levada/connectors/kafka.h"
#include "levada/memory.h"
#include "levada/source.h"

namespace levada::testing {

/// wake() of a task, and its log.
class Surroundings {
 public:
  void wake() {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_all();
  }
  /// False after `patience` without a wake().
  bool wait(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, patience, [this] { return woken_; });
    woken_ = false;
    return came;
  }
  void log(std::string_view text) {
    const std::lock_guard lock(mutex_);
    log_ += std::string(text) + '\n';
  }
  std::string logged() {
    const std::lock_guard lock(mutex_);
    return log_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  std::string log_;
};

template <class T>
class ReaderHarness {
 public:
  struct Got {
    std::size_t split;
    T row;
    Timestamp time;
  };

  explicit ReaderHarness(Source<T> source, std::size_t batch_rows = 64)
      : source_(std::move(source)), batch_(Batch::make(batch_type<T>(), batch_rows)) {
    context_.node = "source";
    context_.batch_rows = batch_rows;
    context_.clock = &system_clock();
    context_.memory = &memory_;
    context_.counters = &counters_;
    context_.log = [this](LogLevel, std::string_view text) { surroundings_.log(text); };
    context_.wake = [this] { surroundings_.wake(); };
  }
  ~ReaderHarness() { close(); }

  std::vector<Split> discover(const std::vector<Split>& restored = {}) {
    return source_.factory->discover(restored, system_clock(), context_.log);
  }
  void open(std::vector<Split> splits) {
    splits_ = splits;
    reader_ = source_.factory->make_reader();
    reader_->open(context_, std::move(splits));
  }
  void open() { open(discover()); }
  void close() {
    if (reader_) reader_->close();
    reader_.reset();
  }

  /// One poll; what came is in rows().
  PollResult poll() {
    std::vector<SplitRun> runs;
    batch_->clear();
    const PollResult result = reader_->poll(*batch_, runs);
    std::size_t next = 0;
    for (const SplitRun& run : runs) {
      EXPECT_EQ(run.first, next) << "runs follow one another";
      for (std::size_t i = run.first; i < run.first + run.count; ++i) {
        rows_.push_back({run.split, batch_->rows<T>()[i], batch_->times()[i]});
      }
      next = run.first + run.count;
    }
    EXPECT_EQ(next, batch_->size()) << "every row belongs to a run";
    if (!batch_->empty()) ++batches_;
    return result;
  }

  /// Polls as a task does until `done`; false when nothing wakes it for 20 s or the reader finished.
  bool run_until(const std::function<bool()>& done) {
    while (!done()) {
      const PollResult result = poll();
      if (result == PollResult::kFinished) return done();
      if (result == PollResult::kLater && !done() && !surroundings_.wait(20s)) return false;
    }
    return true;
  }
  bool run_until_rows(std::size_t count) {
    return run_until([this, count] { return rows_.size() >= count; });
  }
  bool run_until_caught_up() {
    return run_until([this] {
      for (std::size_t i = 0; i < splits_.size(); ++i) {
        if (!reader_->caught_up(i)) return false;
      }
      return true;
    });
  }
  /// Polls until the reader says that it has finished.
  bool run_to_the_end() {
    for (;;) {
      const PollResult result = poll();
      if (result == PollResult::kFinished) return true;
      if (result == PollResult::kLater && !surroundings_.wait(20s)) return false;
    }
  }

  /// The splits as a checkpoint would hold them.
  std::vector<Split> checkpoint() const {
    std::vector<Split> splits = splits_;
    for (std::size_t i = 0; i < splits.size(); ++i) splits[i].position = reader_->position(i);
    return splits;
  }
  void complete_checkpoint() {
    std::vector<std::string> positions;
    for (const Split& split : checkpoint()) positions.push_back(split.position);
    reader_->committed(positions);
  }

  std::vector<Got>& rows() { return rows_; }
  SourceReader& reader() { return *reader_; }
  OperatorCounters& counters() { return counters_; }
  MemoryBudget& memory() { return memory_; }
  Surroundings& surroundings() { return surroundings_; }
  std::size_t batches() const { return batches_; }
  std::string logged() { return surroundings_.logged(); }

 private:
  Surroundings surroundings_;
  MemoryBudget memory_{std::size_t{256} << 20};
  OperatorCounters counters_;
  OperatorContext context_;
  Source<T> source_;
  BatchPtr batch_;
  std::vector<Split> splits_;
  std::vector<Got> rows_;
  std::size_t batches_ = 0;
  std::unique_ptr<SourceReader> reader_;
};

}  // namespace levada::testing
