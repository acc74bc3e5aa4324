// Watermarks: how a source's rows get their event time, and how far it has come. Watermarks are made per
// split (a Kafka partition), are part of the checkpoint, and merge by minimum over active splits.
#pragma once

#include <algorithm>
#include <functional>
#include <type_traits>
#include <utility>

#include "levada/batch.h"
#include "levada/time.h"

namespace levada {

struct EventTimeOptions {
  Duration bounded_out_of_orderness{};  ///< a split's watermark stays this (and 1 µs) behind its newest row
  Duration idle_after{};  ///< a caught-up split without rows for so long holds nobody back; 0: never
};

namespace detail {
/// The erased strategy that a source transformation holds.
struct WatermarkStrategy {
  /// Sets the times of rows [first, first + count) of a batch and returns the greatest; empty: the source's
  /// own times stay.
  std::function<Timestamp(Batch&, std::size_t first, std::size_t count)> assign_times;
  EventTimeOptions options;
  bool given = false;
};
}  // namespace detail

/// The event time of rows of type T.
template <class T>
struct Watermarks {
  detail::WatermarkStrategy strategy;
};

namespace detail {
template <class T, class F>
Watermarks<T> time_from(F time_of, EventTimeOptions options) {
  auto assign = [time_of = std::move(time_of)](Batch& batch, std::size_t first, std::size_t count) {
    const T* rows = batch.rows<T>() + first;
    Timestamp* times = batch.times() + first;
    Timestamp greatest = kNoTimestamp;
    for (std::size_t i = 0; i < count; ++i) {
      times[i] = std::invoke(time_of, rows[i]);
      greatest = std::max(greatest, times[i]);
    }
    return greatest;
  };
  return {{std::move(assign), options, true}};
}
}  // namespace detail

/// The event time of a row is its field `field`.
///
/// Shape:   Timestamp T::* -> Watermarks<T>.
/// Units:   bounded_out_of_orderness in event time; idle_after in processing time.
/// Errors:  a field of another type than Timestamp does not compile: a bare number has no unit.
template <class T, class M>
Watermarks<T> event_time(M T::*field, EventTimeOptions options = {}) {
  static_assert(std::is_same_v<M, Timestamp>,
                "event_time: the field must be a levada::Timestamp; for a number say its unit in a "
                "lambda");
  if constexpr (std::is_same_v<M, Timestamp>) {
    return detail::time_from<T>(field, options);
  } else {
    return {};
  }
}

/// The event time of a row is what `time_of(row)` returns: `event_time<Order>([](const Order& o) …)`.
///
/// Shape:   Timestamp(const T&) -> Watermarks<T>.
template <class T, class F>
  requires std::is_invocable_r_v<Timestamp, F, const T&> && (!std::is_member_pointer_v<F>)
Watermarks<T> event_time(F time_of, EventTimeOptions options = {}) {
  return detail::time_from<T>(std::move(time_of), options);
}

/// The event time of a row is the time its source gives it (a Kafka record's timestamp).
///
/// Shape:   -> Watermarks<T>.
template <class T>
Watermarks<T> source_time(EventTimeOptions options = {}) {
  return {{nullptr, options, true}};
}

}  // namespace levada
