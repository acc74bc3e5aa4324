#include "levada/connectors/values.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/planted_bug.h"

namespace levada::detail {
namespace {

// position := the number of rows of the split that were read, as text
class IndexedReader final : public SourceReader {
 public:
  IndexedReader(GenerateOptions options, AppendRows append)
      : options_(options), append_(std::move(append)) {}

  void open(OperatorContext& context, std::vector<Split> splits) override {
    clock_ = context.clock;
    started_ = clock_->steady_now();
    for (const Split& split : splits) {
      splits_.push_back({.index = std::stoull(split.id), .read = std::stoull(split.position)});
      splits_.back().limit = rows_of(splits_.back().index);
    }
  }

  PollResult poll(Batch& batch, std::vector<SplitRun>& runs) override {
    const std::uint64_t allowed = allowance();
    for (std::size_t tried = 0; tried < splits_.size(); ++tried) {
      const std::size_t at = next_;
      next_ = (next_ + 1) % splits_.size();
      State& split = splits_[at];
      if (split.read >= split.limit) continue;  // it may have read more, before it was given fewer rows
      const std::uint64_t left = split.limit - split.read;
      const std::size_t count = std::min<std::uint64_t>({left, batch.room(), allowed});
      if (count == 0) continue;
      const auto stride = static_cast<std::uint64_t>(options_.splits);
      append_(batch, split.index + split.read * stride, stride, count);
      split.read += count;
      read_ += count;
      runs.push_back({at, 0, count});
      return all_read() ? PollResult::kFinished : PollResult::kMore;
    }
    return all_read() ? PollResult::kFinished : PollResult::kLater;
  }

  SteadyTime next_poll() const override {
    return options_.rate > 0 ? clock_->steady_now() + Duration{1000} : kNever;
  }
  bool caught_up(std::size_t) const override { return true; }
  bool finished(std::size_t split) const override {
    return splits_[split].read >= splits_[split].limit;
  }
  std::string position(std::size_t split) const override {
    std::uint64_t read = splits_[split].read;
    if (LEVADA_PLANTED("source.position_too_high") && read < splits_[split].limit) ++read;
    if (LEVADA_PLANTED("source.position_too_low") && read > 0) --read;
    return std::to_string(read);
  }

 private:
  struct State {
    std::uint64_t index = 0;
    std::uint64_t read = 0;
    std::uint64_t limit = 0;
  };

  std::uint64_t rows_of(std::uint64_t split) const {
    if (options_.rows == 0) return ~std::uint64_t{0};
    const auto splits = static_cast<std::uint64_t>(options_.splits);
    return options_.rows > split ? (options_.rows - split - 1) / splits + 1 : 0;
  }

  // Rows that may be read now: this reader's part of the rate.
  std::uint64_t allowance() const {
    if (options_.rate <= 0) return ~std::uint64_t{0};
    const std::chrono::duration<double> passed = clock_->steady_now() - started_;
    const double part = static_cast<double>(splits_.size()) / options_.splits;
    const auto due = static_cast<std::uint64_t>(passed.count() * options_.rate * part);
    return due > read_ ? due - read_ : 0;
  }

  bool all_read() const {
    return std::all_of(splits_.begin(), splits_.end(),
                       [](const State& split) { return split.read >= split.limit; });
  }

  GenerateOptions options_;
  AppendRows append_;
  const Clock* clock_ = nullptr;
  SteadyTime started_;
  std::vector<State> splits_;
  std::size_t next_ = 0;
  std::uint64_t read_ = 0;
};

class IndexedSource final : public SourceFactory {
 public:
  IndexedSource(GenerateOptions options, AppendRows append)
      : options_(options), append_(std::move(append)) {}

  std::vector<Split> discover(const std::vector<Split>&, const Clock&,
                              const std::function<void(LogLevel, std::string_view)>&) override {
    std::vector<Split> splits;
    for (int i = 0; i < options_.splits; ++i) splits.push_back({std::to_string(i), "0"});
    return splits;
  }
  std::unique_ptr<SourceReader> make_reader() override {
    return std::make_unique<IndexedReader>(options_, append_);
  }

 private:
  GenerateOptions options_;
  AppendRows append_;
};

}  // namespace

std::shared_ptr<SourceFactory> make_indexed_source(GenerateOptions options, AppendRows append) {
  return std::make_shared<IndexedSource>(options, std::move(append));
}

}  // namespace levada::detail
