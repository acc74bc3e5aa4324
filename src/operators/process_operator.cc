// ProcessOperator: functions with state and timers. This file decides which timers are due and what time it
// is; the typed kernel calls the function.
//
// Invariants: 1. Timers fire in the order (time, key group, key), each once; the key is set before.
//             2. The watermark and processing time that a function sees never go back: both are part of the
//                checkpoint.
//             3. finish() is called once, also when the job is restored from a checkpoint after it.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "levada/detail/process_kernel.h"
#include "levada/error.h"

namespace levada::detail {

void throw_page_missing(std::string_view state) {
  throw StateError("'" + std::string(state) + "' lacks a page of a map: the cold tier has lost it");
}

void throw_map_torn(std::string_view state) {
  throw StateError("'" + std::string(state) + "' was used after an error had cut a change of it short");
}

void throw_no_key(std::string_view state) {
  throw std::logic_error("'" + std::string(state) +
                         "' belongs to a key, and there is none in open(), finish() and process_broadcast()");
}

void throw_no_timers() {
  throw std::logic_error("a timer is set, but the function has no on_timer(Timestamp, KeyedContext<...>&)");
}

OperatorShare split_share(const std::vector<std::size_t>& elements, const OperatorContext& context) {
  const auto subtask = static_cast<std::size_t>(context.subtask);
  const auto parallelism = static_cast<std::size_t>(context.parallelism);
  if (elements.size() == parallelism) {
    std::size_t first = 0;
    for (std::size_t i = 0; i < subtask; ++i) first += elements[i];
    return {first, first + elements[subtask]};
  }
  std::size_t all = 0;
  for (const std::size_t count : elements) all += count;
  return {all * subtask / parallelism, all * (subtask + 1) / parallelism};
}

namespace {

class ProcessOperator final : public Operator {
 public:
  ProcessOperator(std::unique_ptr<ProcessKernel> kernel, std::size_t inputs)
      : kernel_(std::move(kernel)), inputs_left_(inputs) {}

  void open(OperatorContext& context) override {
    context_ = &context;
    note_now();
    kernel_->open(context, time_);
    if (context.restored_checkpoint == 0) begin();
  }

  void restore(const RestoredState& state) override {
    const std::vector<View> all = state.operator_states(kFunctionTimeState);
    Timestamp watermark = kMaxWatermark;
    std::vector<bool> finished;
    for (View bytes : all) {
      Timestamp old_watermark, old_now;
      bool old_finished;
      read_parts(bytes, old_watermark, old_now, old_finished);
      watermark = std::min(watermark, old_watermark);
      time_.now = std::max(time_.now, old_now);
      finished.push_back(old_finished);
    }
    if (!all.empty()) time_.watermark = watermark;
    finished_ = finished_before(finished);
    kernel_->restore(state);
    begin();
  }

  void snapshot(SnapshotContext& context) override {
    note_now();
    Bytes bytes;
    write_parts(bytes, time_.watermark, time_.now, finished_);
    context.put_operator_state(kFunctionTimeState, bytes);
    kernel_->snapshot(context);
  }

  StateLookUp* state_look_up(std::string_view name) override { return kernel_->state_look_up(name); }

  std::size_t process(std::size_t input, BatchPtr& batch, std::size_t first_row, Output& out) override {
    begin();
    note_now();
    return kernel_->process(input, *batch, first_row, out);
  }

  bool advance(const InputTime& time, Output& out) override {
    begin();
    note_now();
    // Not for a time that came before: after a restore it would fire late timers sooner than without.
    firing_ |= time.watermark > time_.watermark;
    time_.watermark = std::max(time_.watermark, time.watermark);
    if (firing_ && !fire_until(TimeDomain::kEventTime, time_.watermark, out)) return false;
    firing_ = false;
    return true;
  }

  bool on_time(SteadyTime, Output& out) override {
    note_now();
    return fire_until(TimeDomain::kProcessingTime, time_.now, out);
  }

  SteadyTime next_time() const override {
    if (inputs_left_ == 0) return kNever;  // nothing is emitted behind the end
    const std::optional<Timestamp> next = kernel_->next_timer(TimeDomain::kProcessingTime);
    if (!next) return kNever;
    const Timestamp now = std::max(time_.now, context_->clock->now());
    const SteadyTime steady = context_->clock->steady_now();
    if (*next <= now) return steady - kPast;
    // Far timers are beyond what can be added: there is time to ask again.
    return steady + std::min<Duration>(*next - now, kLongestSleep);
  }

  bool end_of_input(std::size_t, Output& out) override {
    if (--inputs_left_ > 0 || finished_) return true;
    begin();
    note_now();
    kernel_->finish(out);
    finished_ = true;
    return true;
  }

 private:
  // Also how late a jump of the wall clock is noticed.
  static constexpr Duration kLongestSleep = 1h;
  // Before any time that the caller may have read.
  static constexpr Duration kPast = 1s;

  void note_now() { time_.now = std::max(time_.now, context_->clock->now()); }

  // The function's open() comes after its state was restored, if it is.
  void begin() {
    if (std::exchange(begun_, true)) return;
    kernel_->begin();
  }

  // Of a subtask that takes over from several: when all of them had finished.
  bool finished_before(const std::vector<bool>& finished) const {
    if (finished.size() == static_cast<std::size_t>(context_->parallelism)) {
      return finished[static_cast<std::size_t>(context_->subtask)];
    }
    return !finished.empty() && std::find(finished.begin(), finished.end(), false) == finished.end();
  }

  bool fire_until(TimeDomain domain, Timestamp until, Output& out) {
    for (;;) {
      const std::optional<Timestamp> next = kernel_->next_timer(domain);
      if (!next || *next > until) return true;
      if (any_full(out)) return false;
      kernel_->fire(domain, out);
    }
  }

  std::unique_ptr<ProcessKernel> kernel_;
  std::size_t inputs_left_;
  OperatorContext* context_ = nullptr;
  FunctionTime time_;
  bool firing_ = false;  // event time has advanced, and not all that this makes due has fired
  bool begun_ = false;
  bool finished_ = false;
};

}  // namespace

std::unique_ptr<Operator> make_process_operator(std::unique_ptr<ProcessKernel> kernel,
                                                std::size_t inputs) {
  return std::make_unique<ProcessOperator>(std::move(kernel), inputs);
}

}  // namespace levada::detail
