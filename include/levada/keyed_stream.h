// KeyedStream<K, T>: a stream of rows T grouped by key K: rows with equal keys meet in one subtask.
//
// Threads, lifetime: as DataStream.
#pragma once

#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include "levada/data_stream.h"
#include "levada/detail/keyed_operators.h"
#include "levada/detail/process_kernel.h"
#include "levada/windowed_stream.h"

namespace levada {

template <class K, class T>
class KeyedStream : public detail::StreamHandle {
 public:
  static_assert(!std::is_floating_point_v<K>, "key_by: a floating-point key has no exact equality");
  static_assert(Serializable<K>,
                "key_by: describe the key type with LEVADA_RECORD or specialise levada::Serde");

  using key_type = K;
  using row_type = T;
  using Selector = std::shared_ptr<const detail::KeySelector<K, T>>;

  KeyedStream() = default;
  KeyedStream(const StreamHandle& stream, Selector selector)
      : StreamHandle(stream), selector_(std::move(selector)) {
    set_exchange({ExchangeKind::kHash, selector_});
  }

  /// Groups rows by window as well as by key.
  ///
  /// Shape:   KeyedStream<K, T> -> WindowedStream<K, T>; then aggregate or reduce.
  /// Errors:  GraphError at execute when the assigner's sizes are wrong or the stream has no event time.
  WindowedStream<K, T> window(WindowAssigner assigner,
                              std::source_location where = std::source_location::current()) const {
    return WindowedStream<K, T>(*this, selector_, assigner, where);
  }

  /// Rolling: for each row the result of `f` over all rows of its key so far.
  ///
  /// Shape:   T(T, const T&) -> DataStream<T>; one row in, one row out, with the row's event time.
  /// State:   one row per key, for ever.
  /// Errors:  an exception from `f` fails the job; StateError when the state outgrows its budget.
  /// Cost:    one look-up in a flat table per row.
  template <class F>
    requires std::is_invocable_r_v<T, const F&, T, const T&>
  DataStream<T> reduce(F f, std::source_location where = std::source_location::current()) const {
    return rolling<T>("reduce", detail::Reduction<K, T, F>(std::move(f)), where);
  }

  /// Rolling: for each row the aggregates over all rows of its key so far.
  ///
  /// Shape:   aggregates -> DataStream<Row> (all named by .as) or DataStream<Aggregated<K, R…>>.
  /// State:   one accumulator per key, for ever. Errors, cost: as reduce.
  template <class... A>
  auto aggregate(A... aggregates) const {
    static_assert(!(detail::kNeedsWindow<A> || ...),
                  "aggregate: window_start() and window_end() need .window(...) before");
    using G = detail::Aggregation<K, T, A...>;
    return rolling<typename G::Row>("aggregate", G(std::move(aggregates)...),
                                    std::source_location::current());
  }

  /// Turns each row into any number of rows, by a function with state and timers of the row's key: process.h,
  /// state.h.
  ///
  /// Shape:   a struct with void process(const T&, KeyedContext<K, R>&) and, if it wants,
  ///          void on_timer(Timestamp, KeyedContext<K, R>&); or a lambda of the first shape -> DataStream<R>.
  /// Order:   rows of a key in the order in which they come; timers in the order of their times.
  /// State:   what the struct's state members keep.
  /// Errors:  GraphError when two states have one name, or one is no direct member of the struct; an
  ///          exception from the function fails the job; StateError when state outgrows its budget.
  /// Cost:    one look-up in a flat table for each use of a state.
  template <class R, class F>
  DataStream<R> process(F f, std::source_location where = std::source_location::current()) const {
    using C = KeyedContext<K, R>;
    constexpr bool kFits = detail::Processes<F, T, C>;
    static_assert(kFits, "process<Out>: the function needs void process(const Row&, KeyedContext<Key, Out>&)");
    if constexpr (kFits) {
      const auto states = detail::states_of_keyed<K, R>(f);
      using Kernel = detail::KeyedKernel<K, T, R, F>;
      return DataStream<R>(graph_, detail::add_function<R, Kernel>(*this, nullptr, states, std::move(f), where,
                                                                   selector_));
    } else {
      return {};
    }
  }

  /// This stream and one that all subtasks see whole; then `.process<R>(function)`.
  template <class U>
  KeyedBroadcastStreams<K, T, U> connect(const BroadcastStream<U>& broadcast) const {
    return {*this, broadcast};
  }
  /// This stream and another with the same type of key; then `.process<R>(function)`.
  template <class U>
  ConnectedStreams<K, T, U> connect(const KeyedStream<K, U>& other) const {
    return {*this, other};
  }
  template <class K2, class U>
    requires(!std::is_same_v<K, K2>)
  void connect(const KeyedStream<K2, U>&) const {
    static_assert(sizeof(K2) == 0, "connect: the two streams have keys of different types");
  }

  const Selector& selector() const noexcept { return selector_; }

 private:
  template <class R, class G>
  DataStream<R> rolling(std::string name, G aggregation, std::source_location where) const {
    for (std::string& problem : aggregation.problems()) graph_->problem(std::move(problem), where);
    Transformation node;
    node.name = std::move(name);
    node.outputs = {{.tag = {}, .type = &batch_type<R>()}};
    node.stateful = true;
    node.states = {keyed_state_spec<K, typename G::Accumulator>(detail::kRollingState)};
    node.where = where;
    node.make_operator = detail::rolling_factory<K, T>(selector_, std::move(aggregation));
    return DataStream<R>(graph_, add(std::move(node)));
  }

  Selector selector_;
};

template <class T>
template <class P, class... Q>
  requires std::invocable<const P&, const T&> && (std::invocable<const Q&, const T&> && ...)
auto DataStream<T>::key_by(P column, Q... more) const {
  auto selector = detail::make_key_selector<T>(std::move(column), std::move(more)...);
  using K = typename std::remove_cvref_t<decltype(*selector)>::key_type;
  return KeyedStream<K, T>(*this, std::move(selector));
}

}  // namespace levada
