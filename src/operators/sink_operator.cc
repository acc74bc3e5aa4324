#include <string>
#include <utility>

#include "base/fail_point.h"
#include "levada/sink.h"

namespace levada {
namespace {

class SinkOperator final : public Operator {
 public:
  explicit SinkOperator(std::unique_ptr<SinkWriter> writer) : writer_(std::move(writer)) {}

  void open(OperatorContext& context) override { writer_->open(context); }

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output&) override {
    return writer_->write(*batch, first_row);
  }

  bool before_barrier(Output&) override { return flush(); }
  bool end_of_input(std::size_t, Output&) override { return flush(); }

  bool on_time(SteadyTime now, Output&) override {
    writer_->on_time(now);
    return true;
  }
  SteadyTime next_time() const override { return writer_->next_time(); }
  std::string waiting_for() const override { return writer_->waiting_for(); }
  void close() override { writer_->close(); }

 private:
  bool flush() {
    const PhaseScope phase(Phase::kFlush);
    return writer_->flush();
  }

  std::unique_ptr<SinkWriter> writer_;
};

}  // namespace

std::unique_ptr<Operator> make_sink_operator(std::unique_ptr<SinkWriter> writer) {
  return std::make_unique<SinkOperator>(std::move(writer));
}

}  // namespace levada
