// Streams that a function reads side by side: a stream and a broadcast one, two with one type of key, or two
// without keys.
//
//   payments.key_by(&Payment::card).connect(rules.broadcast()).process<Score>(Scorer{});
//
// Event time is the least of both inputs': a broadcast stream without watermarks holds back event-time timers.
// Rows of the two inputs come in any order.
//
// Threads, lifetime: as DataStream.
// Source:   Flink's BroadcastConnectedStream and ConnectedStreams.
#pragma once

#include <source_location>
#include <type_traits>
#include <utility>

#include "levada/data_stream.h"
#include "levada/detail/process_kernel.h"

namespace levada {

/// A stream of which every subtask of the step behind it gets every row.
template <class T>
class BroadcastStream : public detail::StreamHandle {
 public:
  using row_type = T;

  BroadcastStream() = default;
  explicit BroadcastStream(const StreamHandle& stream) : StreamHandle(stream) {
    set_exchange({ExchangeKind::kBroadcast, nullptr});
  }
};

namespace detail {

template <class F, class T, class U, class C, class R>
concept ProcessesBroadcast = requires(F& f, const T& row, const U& other, C& context,
                                      BroadcastContext<R>& broadcast) {
  f.process(row, context);
  f.process_broadcast(other, broadcast);
};
template <class F, class T, class U, class C>
concept ProcessesBoth = requires(F& f, const T& left, const U& right, C& context) {
  f.process_left(left, context);
  f.process_right(right, context);
};

}  // namespace detail

template <class T, class U>
class UnkeyedBroadcastStreams {
 public:
  UnkeyedBroadcastStreams(DataStream<T> stream, BroadcastStream<U> broadcast)
      : stream_(std::move(stream)), broadcast_(std::move(broadcast)) {}

  /// Shape:   a struct with void process(const T&, Context<R>&) and
  ///          void process_broadcast(const U&, BroadcastContext<R>&) -> DataStream<R>.
  /// State:   BroadcastState, which only process_broadcast() writes; OperatorState.
  template <class R, class F>
  DataStream<R> process(F f, std::source_location where = std::source_location::current()) const {
    constexpr bool kFits = detail::ProcessesBroadcast<F, T, U, Context<R>, R>;
    static_assert(kFits,
                  "process<Out>: the function needs void process(const Row&, Context<Out>&) and "
                  "void process_broadcast(const Other&, BroadcastContext<Out>&)");
    if constexpr (kFits) {
      const auto states = detail::states_of_unkeyed<R>(f);
      using Kernel = detail::BroadcastKernel<detail::UnkeyedKernel<T, R, F>, U, R>;
      return DataStream<R>(stream_.graph(), detail::add_function<R, Kernel>(stream_, &broadcast_, states,
                                                                            std::move(f), where));
    } else {
      return {};
    }
  }

 private:
  DataStream<T> stream_;
  BroadcastStream<U> broadcast_;
};

template <class T, class U>
class UnkeyedConnectedStreams {
 public:
  UnkeyedConnectedStreams(DataStream<T> left, DataStream<U> right)
      : left_(std::move(left)), right_(std::move(right)) {}

  /// Shape:   a struct with void process_left(const T&, Context<R>&) and
  ///          void process_right(const U&, Context<R>&) -> DataStream<R>.
  /// State:   OperatorState. A subtask sees the rows that come its way: to meet, rows need a key.
  template <class R, class F>
  DataStream<R> process(F f, std::source_location where = std::source_location::current()) const {
    constexpr bool kFits = detail::ProcessesBoth<F, T, U, Context<R>>;
    static_assert(kFits,
                  "process<Out>: the function needs void process_left(const Left&, Context<Out>&) and "
                  "void process_right(const Right&, Context<Out>&)");
    if constexpr (kFits) {
      const auto states = detail::states_of_unkeyed<R>(f);
      using Kernel = detail::UnkeyedConnectedKernel<T, U, R, F>;
      return DataStream<R>(left_.graph(),
                           detail::add_function<R, Kernel>(left_, &right_, states, std::move(f), where));
    } else {
      return {};
    }
  }

 private:
  DataStream<T> left_;
  DataStream<U> right_;
};

template <class K, class T, class U>
class KeyedBroadcastStreams {
 public:
  KeyedBroadcastStreams(KeyedStream<K, T> stream, BroadcastStream<U> broadcast)
      : stream_(std::move(stream)), broadcast_(std::move(broadcast)) {}

  /// Shape:   a struct with void process(const T&, KeyedContext<K, R>&) and
  ///          void process_broadcast(const U&, BroadcastContext<R>&) -> DataStream<R>; on_timer as for one
  ///          input.
  /// State:   of the row's key; BroadcastState, which only process_broadcast() writes; OperatorState.
  template <class R, class F>
  DataStream<R> process(F f, std::source_location where = std::source_location::current()) const {
    constexpr bool kFits = detail::ProcessesBroadcast<F, T, U, KeyedContext<K, R>, R>;
    static_assert(kFits,
                  "process<Out>: the function needs void process(const Row&, KeyedContext<Key, Out>&) and "
                  "void process_broadcast(const Other&, BroadcastContext<Out>&)");
    if constexpr (kFits) {
      const auto states = detail::states_of_keyed<K, R>(f);
      using Kernel = detail::BroadcastKernel<detail::KeyedKernel<K, T, R, F>, U, R>;
      return DataStream<R>(stream_.graph(),
                           detail::add_function<R, Kernel>(stream_, &broadcast_, states, std::move(f), where,
                                                           stream_.selector()));
    } else {
      return {};
    }
  }

 private:
  KeyedStream<K, T> stream_;
  BroadcastStream<U> broadcast_;
};

template <class K, class T, class U>
class ConnectedStreams {
 public:
  ConnectedStreams(KeyedStream<K, T> left, KeyedStream<K, U> right)
      : left_(std::move(left)), right_(std::move(right)) {}

  /// Shape:   a struct with void process_left(const T&, KeyedContext<K, R>&) and
  ///          void process_right(const U&, KeyedContext<K, R>&) -> DataStream<R>; on_timer as for one input.
  /// State:   of the row's key: rows of both inputs see the same.
  template <class R, class F>
  DataStream<R> process(F f, std::source_location where = std::source_location::current()) const {
    constexpr bool kFits = detail::ProcessesBoth<F, T, U, KeyedContext<K, R>>;
    static_assert(kFits,
                  "process<Out>: the function needs void process_left(const Left&, KeyedContext<Key, Out>&) "
                  "and void process_right(const Right&, KeyedContext<Key, Out>&)");
    if constexpr (kFits) {
      const auto states = detail::states_of_keyed<K, R>(f);
      using Kernel = detail::ConnectedKernel<K, T, U, R, F>;
      return DataStream<R>(left_.graph(),
                           detail::add_function<R, Kernel>(left_, &right_, states, std::move(f), where,
                                                           left_.selector(), right_.selector()));
    } else {
      return {};
    }
  }

 private:
  KeyedStream<K, T> left_;
  KeyedStream<K, U> right_;
};

template <class T>
template <class R, class F>
DataStream<R> DataStream<T>::process(F f, std::source_location where) const {
  constexpr bool kFits = detail::Processes<F, T, Context<R>>;
  static_assert(kFits, "process<Out>: the function needs void process(const Row&, Context<Out>&)");
  if constexpr (kFits) {
    const auto states = detail::states_of_unkeyed<R>(f);
    using Kernel = detail::UnkeyedKernel<T, R, F>;
    return DataStream<R>(this->graph_,
                         detail::add_function<R, Kernel>(*this, nullptr, states, std::move(f), where));
  } else {
    return {};
  }
}

}  // namespace levada
