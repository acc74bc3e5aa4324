#include "operators/epoch_sink_operator.h"

#include <string>
#include <utility>

#include "base/fail_point.h"
#include "base/planted_bug.h"

namespace levada {
namespace {

// How soon a full log is looked at again.
constexpr Duration kPause = 10ms;

class EpochSinkOperator final : public Operator {
 public:
  EpochSinkOperator(EpochSink& sink, BackgroundQueue& background)
      : sink_(sink), background_(background) {}

  void open(OperatorContext& context) override {
    clock_ = context.clock;
    encoder_ = sink_.spec().factory->make_encoder();
    log_ = sink_.make_log_writer(static_cast<std::uint32_t>(context.subtask), encoder_->schema(),
                                 background_);
  }

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output&) override {
    write_held_back();
    std::size_t row = first_row;
    while (row < batch->size()) {
      if (!has_room()) return row;
      row = encode(*batch, row);
      log_->written();
    }
    LEVADA_FAILPOINT("sink.rows.encoded", kRun);
    return row;
  }

  // A barrier seals; what is still in the buffer goes with it.
  void snapshot(SnapshotContext& context) override {
    LEVADA_FAILPOINT("sink.barrier", kAlign);
    passed_ = context.checkpoint();
    log_->seal(passed_);
    write_held_back();
  }

  SteadyTime next_time() const override { return retry_at_; }

  bool on_time(SteadyTime, Output&) override {
    retry_at_ = kNever;
    log_->check();
    return true;
  }

  std::string waiting_for() const override {
    if (retry_at_ == kNever) return {};
    return log_->has_room() ? sink_.waiting_for() : "the disk: the epoch log is written too slowly";
  }

  void close() override { log_.reset(); }

 private:
  bool has_room() {
    log_->check();
    const bool room = log_->has_room() && sink_.takes_rows(passed_);
    retry_at_ = room ? kNever : clock_->steady_now() + kPause;
    return room;
  }

  std::size_t encode(const Batch& batch, std::size_t row) {
    EpochRecordBuffer& buffer = log_->buffer();
    if (LEVADA_PLANTED("barrier.overtakes_row") && row + 1 == batch.size()) {
      // The batch's last row stays behind, to be written after whatever comes next.
      held_back_ = batch.slice(row, 1);
      return batch.size();
    }
    return encoder_->encode(batch, row, EpochLogWriter::kWriteBytes, buffer);
  }

  void write_held_back() {
    if (!held_back_) return;
    encoder_->encode(*std::exchange(held_back_, nullptr), 0, EpochLogWriter::kWriteBytes,
                     log_->buffer());
  }

  EpochSink& sink_;
  BackgroundQueue& background_;
  const Clock* clock_ = nullptr;
  std::unique_ptr<EpochEncoder> encoder_;
  std::unique_ptr<EpochLogWriter> log_;
  CheckpointId passed_ = 0;  // the newest barrier
  SteadyTime retry_at_ = kNever;
  BatchPtr held_back_;  // only ever by a planted bug
};

}  // namespace

std::unique_ptr<Operator> make_epoch_sink_operator(EpochSink& sink, BackgroundQueue& background) {
  return std::make_unique<EpochSinkOperator>(sink, background);
}

}  // namespace levada
