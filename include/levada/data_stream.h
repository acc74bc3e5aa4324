// DataStream<T>: a stream of rows of type T in a graph that is being built. Methods add a transformation
// and return the stream that comes out of it; nothing runs before execute.
//
// Threads:  build a graph from one thread. Lambdas are copied once per subtask and attempt from the one
//           given here; what they capture by reference must be thread-safe.
// Lifetime: a cheap handle; it keeps the graph alive.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/connectors/values.h"
#include "levada/detail/stateless_operator.h"
#include "levada/detail/stream.h"
#include "levada/fwd.h"
#include "levada/sink.h"
#include "levada/transformation.h"
#include "levada/windows.h"

namespace levada {

namespace detail {

/// A function that changes itself: one copy a subtask, and none of them in a checkpoint.
template <class F, class... A>
inline constexpr bool kIsMutable =
    !std::is_invocable_v<const F&, A...> && std::is_invocable_v<F&, A...>;

}  // namespace detail

/// Names a side output of rows of type T; a constant at namespace scope.
template <class T>
struct OutputTag {
  std::string_view name;
};

/// What `sink_to` and its kin return, to give the sink a uid, a name, a parallelism.
class SinkHandle : public detail::Named<SinkHandle> {
 public:
  using Named::Named;
};

template <class T>
class DataStream : public detail::Named<DataStream<T>> {
 public:
  using row_type = T;
  using detail::Named<DataStream<T>>::Named;

  /// Turns each row into one row.
  ///
  /// Shape:   R(const T&) -> DataStream<R>; one row in, one row out; event times unchanged.
  /// Order:   kept.
  /// State:   none: a `mutable` lambda does not compile.
  /// Errors:  an exception from `f` fails the job with JobError naming this node.
  template <class F>
  auto map(F f, std::source_location where = std::source_location::current()) const {
    using R = std::remove_cvref_t<std::invoke_result_t<F&, const T&>>;
    static_assert(!detail::kIsMutable<F, const T&>,
                  "map: the function is mutable, and what it changes is in no checkpoint; use reduce or "
                  "aggregate for state");
    static_assert(!std::is_void_v<R>,
                  "map: the function returns nothing; return the new row, or use filter, flat_map or "
                  "for_each");
    if constexpr (!std::is_void_v<R> && !detail::kIsMutable<F, const T&>) {
      return step<R>("map", detail::map_factory<T, R>(std::move(f)), where);
    } else {
      return DataStream<T>{};
    }
  }

  /// Keeps the rows for which `keep` is true.
  ///
  /// Shape:   bool(const T&) -> DataStream<T>; event times unchanged.
  /// Order:   kept.
  /// State:   none: a `mutable` lambda does not compile.
  /// Cost:    a kept row is moved within its batch.
  template <class F>
    requires std::predicate<F&, const T&>
  DataStream<T> filter(F keep, std::source_location where = std::source_location::current()) const {
    static_assert(!detail::kIsMutable<F, const T&>,
                  "filter: the function is mutable, and what it changes is in no checkpoint; use reduce "
                  "or aggregate for state");
    if constexpr (!detail::kIsMutable<F, const T&>) {
      return step<T>("filter", detail::filter_factory<T>(std::move(keep)), where);
    } else {
      return {};
    }
  }

  /// Turns each row into any number of rows: `flat_map<Word>([](const Line& line, auto& out) {…})`.
  ///
  /// Shape:   void(const T&, Collector<R>&) -> DataStream<R>; each row out has the event time of the row
  ///          it came from.
  /// State:   none: a `mutable` lambda does not compile.
  template <class R, class F>
  DataStream<R> flat_map(F f, std::source_location where = std::source_location::current()) const {
    static_assert(!detail::kIsMutable<F, const T&, Collector<R>&>,
                  "flat_map: the function is mutable, and what it changes is in no checkpoint; use "
                  "reduce or aggregate for state");
    static_assert(std::is_invocable_v<F&, const T&, Collector<R>&>,
                  "flat_map<Out>: the function needs (const Row&, Collector<Out>&)");
    if constexpr (std::is_invocable_v<const F&, const T&, Collector<R>&>) {
      const DataStream<R> stream =
          step<R>("flat_map", detail::flat_map_factory<T, R>(std::move(f)), where);
      this->graph_->node(stream.from().back().node).open_side_outputs = true;
      return stream;
    } else {
      return {};
    }
  }

  /// Turns each row into any number of rows, by a function that may keep OperatorState: process.h, state.h.
  ///
  /// Shape:   a struct with void process(const T&, Context<R>&), or a lambda of that shape -> DataStream<R>.
  /// State:   what the struct's state members keep; keyed ones do not compile here.
  template <class R, class F>
  DataStream<R> process(F f, std::source_location where = std::source_location::current()) const;

  /// Sends every row to every subtask of the step that this is connected to.
  BroadcastStream<T> broadcast() const { return BroadcastStream<T>(*this); }

  /// This stream and one that all subtasks see whole; then `.process<R>(function)`.
  template <class U>
  UnkeyedBroadcastStreams<T, U> connect(const BroadcastStream<U>& broadcast) const {
    return {*this, broadcast};
  }

  /// This stream and another one, whose rows meet where they happen to come; then `.process<R>(function)`.
  template <class U>
  UnkeyedConnectedStreams<T, U> connect(const DataStream<U>& other) const {
    return {*this, other};
  }

  /// This stream and the others as one; rows of different streams interleave in any order.
  template <class... S>
    requires(std::same_as<S, DataStream<T>> && ...)
  DataStream<T> union_with(const S&... others) const {
    DataStream<T> all = *this;
    (all.append(others), ...);
    return all;
  }

  /// Groups rows by key: rows with equal keys meet in one subtask and keep their arrival order.
  ///
  /// Shape:   DataStream<T> -> KeyedStream<K, T>; K is the column's decayed type (a string_view becomes
  ///          std::string); two or more columns give a std::tuple. A column is a member pointer or a
  ///          lambda.
  /// Order:   kept per producing subtask.
  /// Errors:  a floating-point key, or one without a Serde, does not compile.
  /// Cost:    one hash per row; a member pointer's key is read in place, never copied.
  /// Source:  key groups as in Flink's KeyGroupRangeAssignment.
  template <class P, class... Q>
    requires std::invocable<const P&, const T&> && (std::invocable<const Q&, const T&> && ...)
  auto key_by(P column, Q... more) const;

  /// The rows that an operator of this step emitted to `tag`.
  template <class S>
  DataStream<S> side_output(const OutputTag<S>& tag,
                            std::source_location where = std::source_location::current()) const {
    return DataStream<S>(this->graph_, this->side_output_of(tag.name, batch_type<S>(), where));
  }

  /// Writes every row to `sink`.
  SinkHandle sink_to(const Sink<T>& sink,
                     std::source_location where = std::source_location::current()) const {
    return SinkHandle(this->graph_, this->add_sink(sink.name, sink.factory, where));
  }

  /// Calls `f(row)` for every row, on the subtasks' threads. After a restart rows since the last
  /// checkpoint are seen again.
  template <class F>
    requires std::invocable<F&, const T&>
  SinkHandle for_each(F f, std::source_location where = std::source_location::current()) const {
    return SinkHandle(this->graph_,
                      this->add_function_sink("for_each", detail::for_each_factory<T>(std::move(f)),
                                              where));
  }

  /// Keeps every row in memory; the handle's rows() are there when the job has ended. Exactly once
  /// across restarts within the process.
  Collected<T> collect(std::string_view uid = {},
                       std::source_location where = std::source_location::current()) const {
    Collected<T> handle;
    const SinkHandle sink = collect_into(handle, where);
    if (!uid.empty()) sink.uid(uid);
    return handle;
  }

  /// Collects into a handle that is there already: of an earlier run of the same job.
  SinkHandle collect_into(const Collected<T>& handle,
                          std::source_location where = std::source_location::current()) const {
    return SinkHandle(this->graph_,
                      this->add_function_sink("collect", handle.operator_factory(), where));
  }

  /// Reads the stream and drops its rows.
  SinkHandle discard(std::source_location where = std::source_location::current()) const {
    return for_each([](const T&) {}, where);
  }

  /// Deals rows out to the next step's subtasks in turn, whatever the parallelisms.
  DataStream<T> rebalance() const {
    DataStream<T> dealt = *this;
    dealt.exchange_ = {ExchangeKind::kRebalance, nullptr};
    return dealt;
  }

  /// Windows need a key first.
  template <class W, class... A>
  void window(W, A...) const {
    static_assert(sizeof(W) == 0,
                  "window: this stream has no key; call key_by first, or window_all for one window "
                  "over all rows");
  }

 private:
  template <class R>
  DataStream<R> step(std::string name, detail::OperatorFactory factory,
                     std::source_location where) const {
    return DataStream<R>(this->graph_, this->add_step(std::move(name), batch_type<R>(),
                                                      std::move(factory), where));
  }
};

}  // namespace levada

#include "levada/connected_streams.h"
#include "levada/keyed_stream.h"
