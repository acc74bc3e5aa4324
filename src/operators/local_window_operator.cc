// LocalWindowOperator: folds the rows of a chain by key and slice before they travel to the subtask of their
// key. It runs at the end of the chain that feeds a window aggregate; partial results leave on the main
// output, rows that are not folded on side output 0.
//
// Partial results leave before event time could fire a window they belong to, before a barrier, at the end of
// input, and when there are too many. Where folding does not pay, because nearly every row has a key of its
// own, rows are passed on for a while before it is tried again.
//
// Invariants: 1. A partial result is never late where it arrives: it left before its slice's first window
//                fired here, and the merged watermark there is never ahead of this one. (No source upstream
//                may be idle: that would take this subtask's watermark out of the minimum.)
//             2. Nothing is held across a barrier.
#include <algorithm>
#include <utility>

#include "levada/assert.h"
#include "levada/detail/local_aggregation.h"
#include "operators/slice_assigner.h"

namespace levada::detail {
namespace {

// Partial results that are held: what lies in a core's own cache.
constexpr std::size_t kEntriesMax = 8192;
constexpr std::size_t kBytesMax = std::size_t{4} << 20;
// Folding pays where at least so many rows make one partial result; else so many rows pass before it is tried
// again.
constexpr std::size_t kRowsPerEntryMin = 2;
constexpr std::size_t kRowsPassed = 100 * kEntriesMax;

std::int64_t us(Timestamp time) { return time.time_since_epoch().count(); }

class LocalWindowOperator final : public Operator {
 public:
  LocalWindowOperator(std::unique_ptr<LocalKernel> kernel, const WindowAssigner& assigner)
      : kernel_(std::move(kernel)), assigner_(assigner) {}

  void open(OperatorContext& context) override { kernel_->open(context); }

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output& out) override {
    if (emptying_ && !empty(kMaxWatermark, out)) return first_row;
    if (rows_to_pass_ > 0) return pass(batch, first_row, out);
    if (first_row == 0) kernel_->begin_batch(*batch);
    const std::size_t size = batch->size();
    std::size_t row = first_row;
    while (row < size) {
      const bool timeless = batch->times()[row] == kNoTimestamp;
      const Slice slice = timeless ? Slice{} : slice_at(*batch, row);
      const std::size_t last = timeless ? row + 1 : end_of_run(*batch, row, slice);
      if (timeless || fired(slice)) {
        for (; row < last; ++row) {
          if (out.side(0).full()) return row;
          out.side(0).move_row(*batch, row);
        }
        continue;
      }
      kernel_->fold(slice.end, *batch, row, last);
      rows_folded_ += last - row;
      row = last;
    }
    if (kernel_->entries() > kEntriesMax || kernel_->memory_bytes() > kBytesMax) give_up_if_it_does_not_pay();
    return size;
  }

  bool advance(const InputTime& time, Output& out) override {
    if (!empty(time.idle ? kMaxWatermark : time.watermark, out)) return false;
    watermark_us_ = std::max(watermark_us_, us(time.watermark));
    return true;
  }
  bool before_barrier(Output& out) override { return empty(kMaxWatermark, out); }
  bool end_of_input(std::size_t, Output& out) override { return empty(kMaxWatermark, out); }

 private:
  Slice slice_at(const Batch& batch, std::size_t row) const {
    const std::int64_t time = us(batch.times()[row]);
    if (time >= recent_.start && time < recent_.end) return recent_;
    return assigner_.slice_of(time);
  }
  // The first row behind `row` that lies in another slice.
  std::size_t end_of_run(const Batch& batch, std::size_t row, const Slice& slice) {
    recent_ = slice;
    const Timestamp* times = batch.times();
    // All at once: most batches lie in one slice.
    std::int64_t least = INT64_MAX, greatest = INT64_MIN;
    for (std::size_t i = row; i < batch.size(); ++i) {
      least = std::min(least, us(times[i]));
      greatest = std::max(greatest, us(times[i]));
    }
    if (least >= slice.start && greatest < slice.end) return batch.size();
    while (row < batch.size() && us(times[row]) >= slice.start && us(times[row]) < slice.end) ++row;
    return row;
  }
  bool fired(const Slice& slice) const {
    return assigner_.first_window_end(slice) - 1 <= watermark_us_;
  }

  // Emits the partial results of slices a window of which the watermark fires.
  bool empty(Timestamp watermark, Output& out) {
    if (kernel_->entries() == 0) return true;
    for (const std::int64_t slice : kernel_->slices()) {
      if (assigner_.first_window_end(assigner_.slice_ending(slice)) - 1 > us(watermark)) break;
      if (!kernel_->emit(slice, slot_, out)) return false;
      slot_ = 0;
    }
    if (kernel_->entries() == 0) {
      emptying_ = false;
      rows_folded_ = 0;
    }
    return true;
  }

  void give_up_if_it_does_not_pay() {
    emptying_ = true;
    if (rows_folded_ < kRowsPerEntryMin * kernel_->entries()) rows_to_pass_ = kRowsPassed;
  }

  std::size_t pass(BatchPtr& batch, std::size_t first_row, Output& out) {
    Output& rows = out.side(0);
    if (first_row == 0 && rows.can_swap(*batch)) {
      rows_to_pass_ -= std::min(rows_to_pass_, batch->size());
      rows.swap(batch);
      return batch->size();
    }
    std::size_t row = first_row;
    for (; row < batch->size() && !rows.full(); ++row) rows.move_row(*batch, row);
    rows_to_pass_ -= std::min(rows_to_pass_, row - first_row);
    return row;
  }

  std::unique_ptr<LocalKernel> kernel_;
  SliceAssigner assigner_;
  std::int64_t watermark_us_ = us(kMinWatermark);
  Slice recent_;                  // that rows were folded into last
  bool emptying_ = false;         // there are too many: all leave before the next row
  std::size_t slot_ = 0;          // of the slice that is being emitted
  std::size_t rows_folded_ = 0;   // since nothing was held
  std::size_t rows_to_pass_ = 0;  // before folding is tried again
};

}  // namespace

std::unique_ptr<Operator> make_local_window_operator(std::unique_ptr<LocalKernel> kernel,
                                                     const WindowAssigner& assigner) {
  return std::make_unique<LocalWindowOperator>(std::move(kernel), assigner);
}

}  // namespace levada::detail
