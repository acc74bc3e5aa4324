// Aggregates: what is computed of the rows of a key (and window). `.as(&Row::field)` says where the
// result goes:
//
//   .aggregate(levada::key().as(&Total::user), levada::sum(&Order::amount).as(&Total::total))
//
// All named: a stream of that row type, every field of which must be given once. None named: a stream of
// Aggregated<K, R…>.
//
// Threads:  values; copied once per subtask.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/serde.h"
#include "levada/windows.h"

namespace levada {

/// The result of aggregates without names: `auto& [key, window, total, n] = row` reads it.
template <class K, class... R>
struct Aggregated {
  K key{};
  Window window{};
  std::tuple<R...> values{};
  bool operator==(const Aggregated&) const = default;
};

template <std::size_t I, class K, class... R>
const auto& get(const Aggregated<K, R...>& row) {
  if constexpr (I == 0) {
    return row.key;
  } else if constexpr (I == 1) {
    return row.window;
  } else {
    return std::get<I - 2>(row.values);
  }
}

template <>
struct Serde<Window> {
  static void write(const Window& window, Bytes& out) {
    detail::write_parts(out, window.start, window.end);
  }
  static void read(View& in, Window& into) { detail::read_parts(in, into.start, into.end); }
  static std::string schema() { return "window {start:timestamp,end:timestamp}"; }
};

template <class K, class... R>
struct Serde<Aggregated<K, R...>> {
  using T = Aggregated<K, R...>;
  static void write(const T& row, Bytes& out) {
    detail::write_parts(out, row.key, row.window, row.values);
  }
  static void read(View& in, T& into) { detail::read_parts(in, into.key, into.window, into.values); }
  static std::string schema() {
    return "{key:" + Serde<K>::schema() + ",window:" + Serde<Window>::schema() +
           ",values:" + Serde<std::tuple<R...>>::schema() + "}";
  }
  static std::size_t heap_bytes(const T& row)
    requires(!kFlat<K> || !(kFlat<R> && ...))
  {
    return detail::heap_bytes_parts(row.key, row.values);
  }
};

namespace detail {

/// The accumulator of an aggregate that needs none.
struct Nothing {
  bool operator==(const Nothing&) const = default;
};

template <class A, class Out, class M>
struct As {
  A aggregate;
  M Out::*into;
};

/// Gives an aggregate its `.as`.
template <class Derived>
struct Nameable {
  /// The result does not depend on the order of rows.
  static constexpr bool kCommutative = true;
  /// Puts the result into this field.
  template <class Out, class M>
  As<Derived, Out, M> as(M Out::*field) const {
    return {static_cast<const Derived&>(*this), field};
  }
};

template <class P, class T>
using ColumnOf = std::remove_cvref_t<std::invoke_result_t<const P&, const T&>>;

template <class R>
inline constexpr bool kSummable = std::is_arithmetic_v<R> && !std::is_same_v<R, bool>;

// The identity of min and max where there is one: no flag has to be kept for it.
template <class R>
inline constexpr bool kHasLimits = std::numeric_limits<R>::is_specialized;

struct Count : Nameable<Count> {
  template <class K, class T>
  using Result = std::int64_t;
  template <class T>
  using Accumulator = std::int64_t;
  template <class T>
  void add(std::int64_t& count, const T&) const {
    ++count;
  }
  template <class T>
  void merge(std::int64_t& into, const std::int64_t& from) const {
    into += from;
  }
  template <class T>
  void retract(std::int64_t& from, const std::int64_t& what) const {
    from -= what;
  }
  template <class T, class K>
  std::int64_t result(const std::int64_t& count, const K&, const Window&) const {
    return count;
  }
};

[[noreturn]] inline void throw_sum_overflow() {
  throw std::overflow_error("sum: the total does not fit into 64 bits");
}

template <class P>
struct Sum : Nameable<Sum<P>> {
  P column;
  template <class T>
  using Accumulator =
      std::conditional_t<std::is_integral_v<ColumnOf<P, T>>, std::int64_t, ColumnOf<P, T>>;
  template <class K, class T>
  using Result = Accumulator<T>;

  template <class A>
  static void plus(A& into, const A& more) {
    if constexpr (std::is_integral_v<A>) {
      if (__builtin_add_overflow(into, more, &into)) throw_sum_overflow();
    } else {
      into += more;
    }
  }
  template <class T>
  void add(Accumulator<T>& total, const T& row) const {
    static_assert(kSummable<ColumnOf<P, T>>, "sum: the column is not a number");
    if constexpr (kSummable<ColumnOf<P, T>>) {
      const auto value = std::invoke(column, row);
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::uint64_t>) {
        if (value > static_cast<std::uint64_t>(INT64_MAX)) throw_sum_overflow();
      }
      plus(total, static_cast<Accumulator<T>>(value));
    }
  }
  template <class T>
  void merge(Accumulator<T>& into, const Accumulator<T>& from) const {
    plus(into, from);
  }
  // Sums of floating-point numbers are never retracted: what is left would not be what was.
  template <class T>
  void retract(Accumulator<T>& from, const Accumulator<T>& what) const
    requires std::is_integral_v<Accumulator<T>>
  {
    if (__builtin_sub_overflow(from, what, &from)) throw_sum_overflow();
  }
  template <class T, class K>
  Accumulator<T> result(const Accumulator<T>& total, const K&, const Window&) const {
    return total;
  }
};

/// A number that began at its limit.
template <class R, bool kMin>
struct Limited {
  R value = kMin ? std::numeric_limits<R>::max() : std::numeric_limits<R>::lowest();
};

/// min and max: of numbers from their limits, of anything else from the first row on.
template <class P, bool kMin>
struct Extreme : Nameable<Extreme<P, kMin>> {
  P column;
  template <class K, class T>
  using Result = ColumnOf<P, T>;
  template <class T>
  using Accumulator = std::conditional_t<kHasLimits<ColumnOf<P, T>>, Limited<ColumnOf<P, T>, kMin>,
                                         std::optional<ColumnOf<P, T>>>;

  template <class R>
  static void take(Limited<R, kMin>& best, const R& value) {
    if (kMin ? value < best.value : best.value < value) best.value = value;
  }
  template <class R>
  static void take(std::optional<R>& best, const R& value) {
    if (!best || (kMin ? value < *best : *best < value)) best = value;
  }
  template <class T>
  void add(Accumulator<T>& best, const T& row) const {
    take(best, std::invoke(column, row));
  }
  template <class T>
  void merge(Accumulator<T>& into, const Accumulator<T>& from) const {
    if constexpr (kHasLimits<ColumnOf<P, T>>) {
      take(into, from.value);
    } else if (from) {
      take(into, *from);
    }
  }
  template <class T, class K>
  ColumnOf<P, T> result(const Accumulator<T>& best, const K&, const Window&) const {
    if constexpr (kHasLimits<ColumnOf<P, T>>) {
      return best.value;
    } else {
      return best ? *best : ColumnOf<P, T>{};
    }
  }
};

struct Mean {
  double sum = 0;
  std::int64_t count = 0;
};

template <class P>
struct Average : Nameable<Average<P>> {
  P column;
  template <class K, class T>
  using Result = double;
  template <class T>
  using Accumulator = Mean;
  template <class T>
  void add(Mean& mean, const T& row) const {
    static_assert(kSummable<ColumnOf<P, T>>, "average: the column is not a number");
    if constexpr (kSummable<ColumnOf<P, T>>) {
      mean.sum += static_cast<double>(std::invoke(column, row));
      ++mean.count;
    }
  }
  template <class T>
  void merge(Mean& into, const Mean& from) const {
    into.sum += from.sum;
    into.count += from.count;
  }
  template <class T, class K>
  double result(const Mean& mean, const K&, const Window&) const {
    return mean.sum / static_cast<double>(mean.count);
  }
};

/// What is known of key and window without looking at any row.
template <class Derived>
struct Given : Nameable<Derived> {
  template <class T>
  using Accumulator = Nothing;
  template <class T>
  void add(Nothing&, const T&) const {}
  template <class T>
  void merge(Nothing&, const Nothing&) const {}
  template <class T>
  void retract(Nothing&, const Nothing&) const {}
};

struct WholeKey : Given<WholeKey> {
  template <class K, class T>
  using Result = K;
  template <class T, class K>
  const K& result(const Nothing&, const K& key, const Window&) const {
    return key;
  }
};

template <std::size_t I>
struct KeyPart : Given<KeyPart<I>> {
  template <class K, class T>
  using Result = std::tuple_element_t<I, K>;
  template <class T, class K>
  const std::tuple_element_t<I, K>& result(const Nothing&, const K& key, const Window&) const {
    return std::get<I>(key);
  }
};

struct WindowStart : Given<WindowStart> {
  static constexpr bool kNeedsWindow = true;
  template <class K, class T>
  using Result = Timestamp;
  template <class T, class K>
  Timestamp result(const Nothing&, const K&, const Window& window) const {
    return window.start;
  }
};

struct WindowEnd : Given<WindowEnd> {
  static constexpr bool kNeedsWindow = true;
  template <class K, class T>
  using Result = Timestamp;
  template <class T, class K>
  Timestamp result(const Nothing&, const K&, const Window& window) const {
    return window.end;
  }
};

/// A user's own aggregator.
template <class U>
struct Custom : Nameable<Custom<U>> {
  static constexpr bool kCommutative = requires { requires U::kCommutative; };
  U user;
  template <class T>
  using Accumulator = typename U::Accumulator;
  template <class K, class T>
  using Result =
      std::remove_cvref_t<decltype(std::declval<const U&>().result(
          std::declval<const typename U::Accumulator&>()))>;
  template <class T>
  void add(typename U::Accumulator& accumulator, const T& row) const {
    static_assert(requires { user.add(accumulator, row); },
                  "aggregator: it needs void add(Accumulator&, const Row&) const");
    user.add(accumulator, row);
  }
  template <class T>
  void merge(typename U::Accumulator& into, const typename U::Accumulator& from) const {
    static_assert(requires { user.merge(into, from); },
                  "aggregator: windows need void merge(Accumulator&, const Accumulator&) const");
    user.merge(into, from);
  }
  template <class T>
  void retract(typename U::Accumulator& from, const typename U::Accumulator& what) const
    requires requires { std::declval<const U&>().retract(from, what); }
  {
    user.retract(from, what);
  }
  template <class T, class K>
  auto result(const typename U::Accumulator& accumulator, const K&, const Window&) const {
    return user.result(accumulator);
  }
};

}  // namespace detail

template <>
struct Serde<detail::Nothing> {
  static void write(const detail::Nothing&, Bytes&) {}
  static constexpr std::size_t max_bytes() { return 0; }
  static char* put(const detail::Nothing&, char* at) { return at; }
  static void read(View&, detail::Nothing&) {}
  static std::string schema() { return "nothing {}"; }
};

template <>
struct Serde<detail::Mean> {
  static void write(const detail::Mean& mean, Bytes& out) {
    detail::write_parts(out, mean.sum, mean.count);
  }
  static constexpr std::size_t max_bytes() {
    return detail::max_bytes_parts<decltype(detail::Mean::sum), decltype(detail::Mean::count)>();
  }
  static char* put(const detail::Mean& mean, char* at) { return detail::put_parts(at, mean.sum, mean.count); }
  static void read(View& in, detail::Mean& into) { detail::read_parts(in, into.sum, into.count); }
  static std::string schema() { return "mean {sum:double,count:int64}"; }
};

template <class R, bool kMin>
struct Serde<detail::Limited<R, kMin>> {
  static void write(const detail::Limited<R, kMin>& best, Bytes& out) {
    Serde<R>::write(best.value, out);
  }
  static constexpr std::size_t max_bytes()
    requires BoundedEncoding<R>
  {
    return Serde<R>::max_bytes();
  }
  static char* put(const detail::Limited<R, kMin>& best, char* at)
    requires BoundedEncoding<R>
  {
    return Serde<R>::put(best.value, at);
  }
  static void read(View& in, detail::Limited<R, kMin>& into) { Serde<R>::read(in, into.value); }
  static std::string schema() { return (kMin ? "min " : "max ") + Serde<R>::schema(); }
};

/// How many rows.
///
/// Shape: int64.
inline detail::Count count() { return {}; }

/// The sum of a column (a member pointer or a lambda).
///
/// Shape:  int64 of integers, the column's own type of floating-point numbers.
/// Errors: a column that is no number does not compile; a sum beyond int64 fails the job.
/// Order:  of floating-point numbers the last bits depend on the order of rows.
template <class P>
detail::Sum<P> sum(P column) {
  return {{}, std::move(column)};
}

/// The least value of a column. Shape: the column's type.
template <class P>
detail::Extreme<P, true> min(P column) {
  return {{}, std::move(column)};
}

/// The greatest value of a column. Shape: the column's type.
template <class P>
detail::Extreme<P, false> max(P column) {
  return {{}, std::move(column)};
}

/// The mean of a column. Shape: double.
template <class P>
detail::Average<P> average(P column) {
  return {{}, std::move(column)};
}

/// The key of the group. Shape: the key's type; a tuple when key_by had several columns.
inline detail::WholeKey key() { return {}; }
/// One part of a key of several columns.
template <std::size_t I>
detail::KeyPart<I> key() {
  return {};
}

/// The start of the window; only behind .window(...).
inline detail::WindowStart window_start() { return {}; }
/// The end of the window (the first moment that is not in it); only behind .window(...).
inline detail::WindowEnd window_end() { return {}; }

/// An aggregator of your own: a struct with `Accumulator` (default-constructible, with a Serde),
/// `void add(Accumulator&, const Row&) const`, `R result(const Accumulator&) const`, and for windows
/// `void merge(Accumulator&, const Accumulator&) const`, which adds what came later to what came before.
/// `static constexpr bool kCommutative = true` says that the order of rows does not matter: they may then be
/// folded before they travel. Where it has `void retract(Accumulator&, const Accumulator&) const`, which exactly undoes a merge,
/// sliding windows keep one running accumulator per key.
template <class U>
detail::Custom<U> aggregator(U user) {
  static_assert(requires(const U& u, const typename U::Accumulator& a) { u.result(a); },
                "aggregator: it needs Accumulator and R result(const Accumulator&) const");
  return {{}, std::move(user)};
}

}  // namespace levada

template <class K, class... R>
struct std::tuple_size<levada::Aggregated<K, R...>>
    : std::integral_constant<std::size_t, sizeof...(R) + 2> {};
template <std::size_t I, class K, class... R>
struct std::tuple_element<I, levada::Aggregated<K, R...>> {
  using type = std::remove_cvref_t<decltype(levada::get<I>(
      std::declval<const levada::Aggregated<K, R...>&>()))>;
};
