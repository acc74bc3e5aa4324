// Operators as a program gets them, to be driven by hand: built through the streams, taken from the graph.
#pragma once

#include <memory>

#include "layers/rows.h"
#include "levada/levada.h"

namespace bench {

/// What operators need around them.
class Surroundings {
 public:
  explicit Surroundings(std::size_t memory_bytes = std::size_t{4} << 30) : memory_(memory_bytes) {}

  levada::OperatorContext context(levada::OperatorCounters& counters) {
    levada::OperatorContext context;
    context.node = "bench";
    context.key_groups = {0, kKeyGroups};
    context.max_parallelism = kKeyGroups;
    context.batch_rows = kBatchRows;
    context.clock = &levada::system_clock();
    context.memory = &memory_;
    context.counters = &counters;
    context.log = [](levada::LogLevel, std::string_view) {};
    context.wake = [] {};
    return context;
  }

 private:
  levada::MemoryBudget memory_;
};

/// A stream of rows of type R that nothing will ever run.
template <class R>
levada::DataStream<R> stream_of(levada::StreamEnvironment& env) {
  return env.generate<R>([](std::uint64_t) { return R{}; }, {}, levada::event_time(&R::at));
}

/// The operator of the `back`-th node from the end of what was built.
inline std::unique_ptr<levada::Operator> operator_of(const levada::StreamEnvironment& env,
                                                     std::size_t back = 0) {
  const auto& nodes = env.graph()->nodes();
  return nodes[nodes.size() - 1 - back].make_operator();
}

}  // namespace bench
