// WindowedStream<K, T>: rows grouped by key and window, before it is said what is computed of them.
//
// Threads, lifetime: as DataStream.
#pragma once

#include <memory>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include "levada/data_stream.h"
#include "levada/detail/keyed_operators.h"

namespace levada {

template <class K, class T>
class WindowedStream {
 public:
  using Selector = std::shared_ptr<const detail::KeySelector<K, T>>;

  WindowedStream(detail::StreamHandle stream, Selector selector, WindowAssigner assigner,
                 std::source_location where)
      : stream_(std::move(stream)), selector_(std::move(selector)), where_(where) {
    spec_.assigner = assigner;
  }

  /// Keeps a window for so long after it fired: a row that comes in that time is counted and fires the
  /// window of its key again, with the whole result.
  ///
  /// Units:   event time.
  WindowedStream allowed_lateness(Duration lateness) const {
    WindowedStream changed = *this;
    changed.spec_.allowed_lateness = lateness;
    return changed;
  }

  /// Rows that come too late for all their windows go to this tag; without it they are counted and
  /// dropped.
  WindowedStream side_output_late(const OutputTag<T>& tag) const {
    WindowedStream changed = *this;
    changed.spec_.late_output = true;
    changed.late_tag_ = tag.name;
    return changed;
  }

  /// Computes aggregates of each key and window: emitted when the watermark passes the window's end.
  ///
  /// Shape:   aggregates -> DataStream<Row> (all named by .as: every field of Row once) or
  ///          DataStream<Aggregated<K, R…>> (none named); one row per key, window and firing, with event
  ///          time end − 1 µs.
  /// Order:   windows of a subtask by their ends; keys of a window in any order.
  /// State:   one accumulator per key and slice, until the window and its lateness are over.
  /// Errors:  naming some but not all, or a field that the result does not fit into, does not compile; a
  ///          field not named is a GraphError.
  /// Cost:    one look-up in a flat table per row.
  template <class... A>
  auto aggregate(A... aggregates) const {
    using G = detail::Aggregation<K, T, A...>;
    return add<typename G::Row>("window aggregate (slices)", G(std::move(aggregates)...));
  }

  /// Combines the rows of each key and window, two at a time; `f` must be associative.
  ///
  /// Shape:   T(T, const T&) -> DataStream<T>. The rest as aggregate.
  template <class F>
    requires std::is_invocable_r_v<T, const F&, T, const T&>
  DataStream<T> reduce(F f) const {
    return add<T>("window reduce (slices)", detail::Reduction<K, T, F>(std::move(f)));
  }

 private:
  template <class R, class G>
  DataStream<R> add(std::string name, G aggregation) const {
    LogicalGraph& graph = *stream_.graph();
    if (std::string problem = problem_of(spec_.assigner); !problem.empty()) {
      graph.problem("window: " + problem, where_);
    }
    for (std::string& problem : aggregation.problems()) graph.problem(std::move(problem), where_);
    Transformation node;
    node.name = std::move(name);
    node.outputs = {{.tag = {}, .type = &batch_type<R>()}};
    if (spec_.late_output) node.outputs.push_back({.tag = late_tag_, .type = &batch_type<T>()});
    node.stateful = true;
    node.states = {keyed_state_spec<K, typename G::Accumulator>(detail::kWindowState),
                   {.name = detail::kWatermarkState}};
    node.needs_event_time = true;
    node.where = where_;
    if constexpr (G::kCommutative) {
      node.two_phases = detail::local_phase<K, T>(selector_, spec_.assigner, aggregation);
      detail::WindowSpec spec = spec_;
      spec.final_phase = true;
      node.two_phases->make_final = detail::window_factory<K, T>(selector_, spec, aggregation);
    }
    node.make_operator = detail::window_factory<K, T>(selector_, spec_, std::move(aggregation));
    return DataStream<R>(stream_.graph(), stream_.add(std::move(node)));
  }

  detail::StreamHandle stream_;
  Selector selector_;
  detail::WindowSpec spec_;
  std::string late_tag_;
  std::source_location where_;
};

}  // namespace levada
