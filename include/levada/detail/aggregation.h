// Aggregation: several aggregates as one: one accumulator per key, one result row.
#pragma once

#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/aggregate.h"

namespace levada::detail {

template <class A>
struct AggregateTraits {
  static constexpr bool kNamed = false;
  using Aggregate = A;
};
template <class A, class Out, class M>
struct AggregateTraits<As<A, Out, M>> {
  static constexpr bool kNamed = true;
  using Aggregate = A;
  using Row = Out;
  using Field = M;
};

template <class A>
using AggregateOf = typename AggregateTraits<A>::Aggregate;
template <class A, class K, class T>
using ResultOf = typename AggregateOf<A>::template Result<K, T>;

template <class A>
inline constexpr bool kNeedsWindow = requires { AggregateOf<A>::kNeedsWindow; };

template <class A, class T>
inline constexpr bool kRetracts =
    requires(const A& aggregate, typename A::template Accumulator<T>& from) {
      aggregate.template retract<T>(from, from);
    };

// Braces refuse what would narrow; the same type always fits.
template <class From, class To>
concept FitsInto = std::is_same_v<From, To> || requires(From from) { To{from}; };

template <class First, class...>
struct FirstOf {
  using type = First;
};

/// The row type that aggregates A… of rows T with keys K make; says in one line what is wrong.
template <class K, class T, class... A>
struct AggregateRow {
  static constexpr bool kAll = (AggregateTraits<A>::kNamed && ...);
  static constexpr bool kNone = !(AggregateTraits<A>::kNamed || ...);
  static_assert(sizeof...(A) > 0, "aggregate: at least one aggregate is needed");
  static_assert(kAll || kNone, "aggregate: name every column with .as(&Row::field), or none");

  static auto find() {
    if constexpr (kAll) {
      using Row = typename AggregateTraits<typename FirstOf<A...>::type>::Row;
      static_assert((std::is_same_v<typename AggregateTraits<A>::Row, Row> && ...),
                    "aggregate: all .as(...) must name fields of one struct");
      static_assert((FitsInto<ResultOf<A, K, T>, typename AggregateTraits<A>::Field> && ...),
                    "aggregate: a result does not fit into the field named by .as(...)");
      return std::type_identity<Row>{};
    } else if constexpr (kNone) {
      return std::type_identity<Aggregated<K, ResultOf<A, K, T>...>>{};
    } else {
      return std::type_identity<T>{};  // the assertion above speaks
    }
  }
  using type = typename decltype(find())::type;
};

/// What an operator does with the aggregates.
template <class K, class T, class... A>
class Aggregation {
 public:
  using Accumulator = std::tuple<typename AggregateOf<A>::template Accumulator<T>...>;
  using Row = typename AggregateRow<K, T, A...>::type;

  explicit Aggregation(A... aggregates) : aggregates_(std::move(aggregates)...) {}

  void add(Accumulator& accumulator, const T& row) const {
    each([&]<std::size_t I>(const auto& aggregate) {
      bare(aggregate).template add<T>(std::get<I>(accumulator), row);
    });
  }
  void merge(Accumulator& into, const Accumulator& from) const {
    each([&]<std::size_t I>(const auto& aggregate) {
      bare(aggregate).template merge<T>(std::get<I>(into), std::get<I>(from));
    });
  }
  /// True when the order of rows does not matter, so that parts may be merged in any.
  static constexpr bool kCommutative = (AggregateOf<A>::kCommutative && ...);
  /// True when a merge can be undone exactly.
  static constexpr bool kRetractable = (kRetracts<AggregateOf<A>, T> && ...);
  void retract(Accumulator& from, const Accumulator& what) const
    requires kRetractable
  {
    each([&]<std::size_t I>(const auto& aggregate) {
      bare(aggregate).template retract<T>(std::get<I>(from), std::get<I>(what));
    });
  }
  void result(Row& row, const K& key, const Accumulator& accumulator, const Window& window) const {
    if constexpr (!AggregateRow<K, T, A...>::kAll) {
      row.key = key;
      row.window = window;
    }
    each([&]<std::size_t I>(const auto& aggregate) {
      place<I>(aggregate, row) =
          bare(aggregate).template result<T>(std::get<I>(accumulator), key, window);
    });
  }

  /// What is wrong with the names: a field of the row not given, or given twice.
  std::vector<std::string> problems() const {
    std::vector<std::string> found;
    if constexpr (AggregateRow<K, T, A...>::kAll) {
      const Row sample{};
      for (const FieldInfo& field : type_info<Row>().fields) {
        int given = 0;
        each([&]<std::size_t I>(const auto& aggregate) {
          const void* at = &(sample.*(aggregate.into));
          given += at == reinterpret_cast<const char*>(&sample) + field.offset;
        });
        if (given == 1) continue;
        found.push_back("aggregate: field '" + std::string(field.name) + "' of " +
                        std::string(type_info<Row>().name) +
                        (given == 0 ? " is not given by any .as(...)" : " is given twice"));
      }
    }
    return found;
  }

 private:
  template <class X>
  static const auto& bare(const X& aggregate) {
    if constexpr (AggregateTraits<X>::kNamed) {
      return aggregate.aggregate;
    } else {
      return aggregate;
    }
  }
  template <std::size_t I, class X>
  static auto& place(const X& aggregate, Row& row) {
    if constexpr (AggregateTraits<X>::kNamed) {
      return row.*(aggregate.into);
    } else {
      return std::get<I>(row.values);
    }
  }
  template <class F>
  void each(F f) const {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (f.template operator()<I>(std::get<I>(aggregates_)), ...);
    }(std::index_sequence_for<A...>{});
  }

  std::tuple<A...> aggregates_;
};

/// reduce(f) as an aggregation: the accumulator is the row so far.
template <class K, class T, class F>
class Reduction {
 public:
  using Accumulator = std::optional<T>;
  using Row = T;
  static constexpr bool kCommutative = false;  // f need only be associative
  static constexpr bool kRetractable = false;

  explicit Reduction(F f) : f_(std::move(f)) {}

  void add(Accumulator& so_far, const T& row) const {
    if (so_far) {
      *so_far = std::invoke(f_, std::move(*so_far), row);
    } else {
      so_far = row;
    }
  }
  void merge(Accumulator& into, const Accumulator& from) const { add(into, *from); }
  void result(Row& row, const K&, const Accumulator& so_far, const Window&) const { row = *so_far; }
  std::vector<std::string> problems() const { return {}; }

 private:
  F f_;
};

}  // namespace levada::detail
