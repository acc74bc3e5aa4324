// StreamHandle: the erased half of every typed stream: which outputs of which nodes it stands for, and
// how its rows travel to the next step. Named adds what applies to the step just added.
#pragma once

#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "levada/transformation.h"

namespace levada::detail {

using OperatorFactory = std::function<std::unique_ptr<Operator>()>;

class StreamHandle {
 public:
  StreamHandle() = default;
  StreamHandle(std::shared_ptr<LogicalGraph> graph, OutputRef from)
      : graph_(std::move(graph)), from_{from} {}

  const std::shared_ptr<LogicalGraph>& graph() const noexcept { return graph_; }
  const std::vector<OutputRef>& from() const noexcept { return from_; }
  const Exchange& exchange() const noexcept { return exchange_; }
  void set_exchange(Exchange exchange) { exchange_ = std::move(exchange); }

  /// Adds a node that reads this stream; `transformation` has everything but the edges.
  OutputRef add(Transformation transformation) const;
  /// Adds a node that reads this stream on input 0 and `second` on input 1.
  OutputRef add(Transformation transformation, const StreamHandle& second) const;
  /// Adds a step of one input with rows of type `out`.
  OutputRef add_step(std::string name, const BatchType& out, OperatorFactory factory,
                     std::source_location where) const;
  OutputRef add_sink(const std::string& name, std::shared_ptr<SinkFactory> sink,
                     std::source_location where) const;
  OutputRef add_function_sink(std::string name, OperatorFactory factory,
                              std::source_location where) const;
  OutputRef side_output_of(std::string_view tag, const BatchType& type,
                           std::source_location where) const;
  /// Adds the other stream's outputs to this one's.
  void append(const StreamHandle& other);

 protected:
  void set_uid(std::string_view uid) const;
  void set_name(std::string_view name) const;
  void set_parallelism(int parallelism) const;
  void set_chaining(bool with_input, bool with_output) const;

  std::shared_ptr<LogicalGraph> graph_;
  std::vector<OutputRef> from_;
  Exchange exchange_;

 private:
  Transformation* last_step(std::string_view call) const;
};

template <class Self>
class Named : public StreamHandle {
 public:
  using StreamHandle::StreamHandle;

  /// The stable name of the step just added: ties it to its state in checkpoints. Up to 80 bytes without
  /// control characters; required of sources, sinks and keyed state once checkpoints are on.
  Self uid(std::string_view uid) const {
    set_uid(uid);
    return self();
  }
  /// The name of the step just added, for people: in plans, status and messages.
  Self name(std::string_view name) const {
    set_name(name);
    return self();
  }
  /// The number of subtasks of the step just added.
  Self parallelism(int parallelism) const {
    set_parallelism(parallelism);
    return self();
  }
  /// The step just added begins a chain of its own.
  Self start_new_chain() const {
    set_chaining(false, true);
    return self();
  }
  /// The step just added is a chain of its own.
  Self disable_chaining() const {
    set_chaining(false, false);
    return self();
  }

 private:
  const Self& self() const { return static_cast<const Self&>(*this); }
};

}  // namespace levada::detail
