// SliceWindowOperator: tumbling and sliding windows in event time over slices. This file decides which
// slice rows belong to, what is late, which windows fire, and when a slice is over; the typed kernel
// folds and emits.
//
// A window [start, end) fires when the watermark reaches end − 1 µs. It stays for the allowed lateness:
// a row that comes within it is folded and fires its key's windows again at once. A slice is over when
// the last window that covers it is.
//
// Invariants: 1. pending_ holds the ends of exactly those windows that have state and have not fired.
//             2. Windows fire in the order of their ends, each once, except for late rows.
//             3. The operator's watermark is part of the checkpoint: what was late stays late.
#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "levada/assert.h"
#include "levada/detail/keyed_operators.h"
#include "operators/slice_assigner.h"

namespace levada::detail {
namespace {

std::int64_t us(Timestamp time) { return time.time_since_epoch().count(); }
Timestamp at(std::int64_t us) { return Timestamp{Duration{us}}; }

class SliceWindowOperator final : public Operator {
 public:
  SliceWindowOperator(std::unique_ptr<WindowKernel> kernel, const WindowSpec& spec)
      : kernel_(std::move(kernel)),
        assigner_(spec.assigner),
        lateness_us_(spec.allowed_lateness.count()),
        late_output_(spec.late_output),
        final_phase_(spec.final_phase) {}

  void open(OperatorContext& context) override {
    context_ = &context;
    kernel_->open(context);
  }

  void restore(const RestoredState& state) override {
    Timestamp least = kMaxWatermark;
    for (View bytes : state.operator_states(kWatermarkState)) {
      Timestamp watermark;
      Serde<Timestamp>::read(bytes, watermark);
      least = std::min(least, watermark);
    }
    if (least != kMaxWatermark) watermark_us_ = us(least);
    state.read_table(kernel_->table(), context_->key_groups.first, context_->key_groups.last);
    for (const std::int64_t slice : kernel_->slices()) note_windows(assigner_.slice_ending(slice));
  }

  void snapshot(SnapshotContext& context) override {
    Bytes bytes;
    Serde<Timestamp>::write(at(watermark_us_), bytes);
    context.put_operator_state(kWatermarkState, bytes);
    context.put_table(kernel_->table());
  }

  StateLookUp* state_look_up(std::string_view name) override {
    return name == kernel_->table().name() ? &kernel_->table() : nullptr;
  }

  std::size_t process(std::size_t input, BatchPtr& batch, std::size_t first_row,
                      Output& out) override {
    LEVADA_DEBUG_ASSERT(batch->has_hashes(), "keyed operators get hashed batches");
    const std::size_t size = batch->size();
    if (first_row == 0) {
      partial_ = final_phase_ && input == 0;
      kernel_->begin_batch(*batch, partial_);
      if (fold_whole(*batch)) return size;
    }
    const Timestamp* times = batch->times();
    std::size_t row = first_row;
    while (row < size) {
      const std::int64_t time = us(times[row]);
      if (times[row] == kNoTimestamp) throw_no_time();
      const Slice slice = assigner_.slice_of(time);
      const std::size_t last = end_of_run(times, row, size, slice);
      if (open_for_all(slice)) {
        touch(slice);
        kernel_->fold(slice.end, *batch, row, last);
        row = last;
        continue;
      }
      for (; row < last; ++row) {
        if (out.full()) return row;
        process_late(*batch, row, slice, out);
      }
    }
    return size;
  }

  bool advance(const InputTime& time, Output& out) override {
    const std::int64_t now = us(time.watermark);
    while (!pending_.empty() && *pending_.begin() - 1 <= now) {
      if (!fire(*pending_.begin(), out)) return false;
      pending_.erase(pending_.begin());
      cursor_ = {};
    }
    watermark_us_ = std::max(watermark_us_, now);
    drop_expired();
    return true;
  }

 private:
  [[noreturn]] void throw_no_time() const {
    throw std::runtime_error("window: a row has no event time; give its source an event_time(...)");
  }

  // Most batches lie in one slice that is open: then no row is looked at one by one.
  bool fold_whole(const Batch& batch) {
    if (batch.empty()) return true;
    const auto [least, greatest] = time_range(batch);
    if (at(least) == kNoTimestamp) return false;
    const Slice slice = assigner_.slice_of(least);
    if (greatest >= slice.end || !open_for_all(slice)) return false;
    touch(slice);
    kernel_->fold(slice.end, batch, 0, batch.size());
    return true;
  }

  static std::pair<std::int64_t, std::int64_t> time_range(const Batch& batch) {
    std::int64_t least = INT64_MAX, greatest = INT64_MIN;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const std::int64_t time = us(batch.times()[i]);
      least = std::min(least, time);
      greatest = std::max(greatest, time);
    }
    return {least, greatest};
  }

  // The first row behind `row` that lies in another slice.
  static std::size_t end_of_run(const Timestamp* times, std::size_t row, std::size_t size,
                                const Slice& slice) {
    const Timestamp start = at(slice.start), end = at(slice.end);
    while (row < size && times[row] >= start && times[row] < end) ++row;
    return row;
  }

  bool fired(std::int64_t window_end) const { return window_end - 1 <= watermark_us_; }
  bool over(std::int64_t window_end) const {
    return watermark_us_ != us(kMinWatermark) && window_end - 1 <= watermark_us_ - lateness_us_;
  }
  // No window of the slice has fired yet: its rows need no second look.
  bool open_for_all(const Slice& slice) const { return !fired(assigner_.first_window_end(slice)); }

  void touch(const Slice& slice) {
    if (slice.end == touched_) return;
    touched_ = slice.end;
    note_windows(slice);
  }

  void note_windows(const Slice& slice) {
    const std::int64_t last = assigner_.last_window_end(slice);
    for (std::int64_t end = assigner_.first_window_end(slice); end <= last; end += assigner_.slide()) {
      if (!fired(end)) pending_.insert(end);
    }
  }

  // A row some of whose windows have fired: it counts in those that are not over.
  void process_late(Batch& batch, std::size_t row, const Slice& slice, Output& out) {
    const std::int64_t last = assigner_.last_window_end(slice);
    if (over(last)) {
      emit_late(batch, row, out);
      return;
    }
    touch(slice);
    kernel_->fold_late(slice.end, batch, row);
    for (std::int64_t end = assigner_.first_window_end(slice); end <= last; end += assigner_.slide()) {
      if (!fired(end) || over(end)) continue;
      const std::vector<std::int64_t> slices = slices_of(end);
      kernel_->fire_key(batch, row, firing_of(end, slices), out);
    }
  }

  void emit_late(Batch& batch, std::size_t row, Output& out) {
    LEVADA_ASSERT(!partial_, "a partial result leaves before its slice can be late");
    if (!late_output_) {
      context_->counters->late_rows.add(1);
      return;
    }
    out.side(0).move_row(batch, row);
  }

  Firing firing_of(std::int64_t end, std::span<const std::int64_t> slices) const {
    const std::int64_t start = end - assigner_.size();
    return {{at(start), at(end)}, at(start + assigner_.slide()), slices};
  }

  // The slices of the window that ends at `end` that have state.
  std::vector<std::int64_t> slices_of(std::int64_t end) const {
    std::vector<std::int64_t> slices;
    for (const std::int64_t slice : kernel_->slices()) {
      if (slice > end - assigner_.size() && slice <= end) slices.push_back(slice);
    }
    return slices;
  }

  bool fire(std::int64_t end, Output& out) {
    const std::vector<std::int64_t> slices = slices_of(end);
    return kernel_->fire(firing_of(end, slices), cursor_, out);
  }

  void drop_expired() {
    for (const std::int64_t slice : kernel_->slices()) {
      if (!over(assigner_.last_window_end(assigner_.slice_ending(slice)))) break;
      kernel_->drop(slice);
      if (slice == touched_) touched_ = kNoSlice;
    }
  }

  static constexpr std::int64_t kNoSlice = INT64_MIN;

  std::unique_ptr<WindowKernel> kernel_;
  SliceAssigner assigner_;
  std::int64_t lateness_us_;
  bool late_output_;
  bool final_phase_;
  bool partial_ = false;  // the batch at hand has partial results
  OperatorContext* context_ = nullptr;
  std::int64_t watermark_us_ = us(kMinWatermark);
  std::set<std::int64_t> pending_;
  FiringCursor cursor_;
  std::int64_t touched_ = kNoSlice;  // the slice whose windows were noted last
};

}  // namespace

std::unique_ptr<Operator> make_slice_window_operator(std::unique_ptr<WindowKernel> kernel,
                                                     const WindowSpec& spec) {
  return std::make_unique<SliceWindowOperator>(std::move(kernel), spec);
}

}  // namespace levada::detail
