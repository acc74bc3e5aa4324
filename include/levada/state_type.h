// StateType: what the engine has to know of a C++ type to read state that was written before the type
// changed: what a field that was not there yet begins with, and how to step over bytes that only a Serde
// understands. The schema's text says everything else.
//
// Threads:  immutable; made once per type at first use.
// Lifetime: for ever.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/bytes.h"
#include "levada/serde.h"
#include "levada/state_backend.h"

namespace levada {

struct StateType {
  std::string schema;
  /// Of a type with a Serde of its own: takes one encoding off the front. Else null: the schema says it.
  void (*skip)(View& in) = nullptr;
  /// Of a described struct: the encoding of T{}.
  std::optional<Bytes> default_bytes;
  /// The fields, the parts of a tuple, or the element of an optional, vector or array.
  std::vector<const StateType*> parts;
};

/// The state type of T.
template <class T>
const StateType& state_type();

namespace detail {

/// Lists the types that a type is made of; kKnown: its schema says how it is encoded.
template <class T>
struct StateParts {
  static constexpr bool kKnown =
      (std::is_arithmetic_v<T> && !std::is_same_v<T, long double>) || std::is_enum_v<T> || kIsDuration<T> ||
      std::is_same_v<T, std::string> || std::is_same_v<T, Timestamp>;
  static std::vector<const StateType*> list() { return {}; }
};

template <class... P>
struct KnownParts {
  static constexpr bool kKnown = true;
  static std::vector<const StateType*> list() { return {&state_type<P>()...}; }
};
template <class T>
struct StateParts<std::optional<T>> : KnownParts<T> {};
template <class T>
struct StateParts<std::vector<T>> : KnownParts<T> {};
template <class T, std::size_t N>
struct StateParts<std::array<T, N>> : KnownParts<T> {};
template <class A, class B>
struct StateParts<std::pair<A, B>> : KnownParts<A, B> {};
template <class... P>
struct StateParts<std::tuple<P...>> : KnownParts<P...> {};

template <class F>
struct FieldParts;
template <class... F>
struct FieldParts<std::tuple<F...>> : KnownParts<FieldType<F>...> {};
template <Described T>
struct StateParts<T> : FieldParts<std::remove_cv_t<decltype(kFields<T>)>> {};

template <class T>
StateType make_state_type() {
  StateType type{Serde<T>::schema(), nullptr, std::nullopt, StateParts<T>::list()};
  if constexpr (!StateParts<T>::kKnown) {
    type.skip = [](View& in) {
      T value{};
      Serde<T>::read(in, value);
    };
  }
  if constexpr (Described<T>) Serde<T>::write(T{}, type.default_bytes.emplace());
  return type;
}

}  // namespace detail

template <class T>
const StateType& state_type() {
  static const StateType type = detail::make_state_type<T>();
  return type;
}

/// The keyed state "K -> V" of that name.
template <class K, class V>
StateSpec keyed_state_spec(std::string name) {
  return {std::move(name), true,
          std::string(Serde<K>::schema()) + " -> " + std::string(Serde<V>::schema()),
          {&state_type<K>(), &state_type<V>()}};
}

}  // namespace levada
