// Serde<T>: how a value becomes bytes and comes back; LEVADA_RECORD: how a struct gets one.
//
// Numbers, bool, enums, std::string, Timestamp, durations, std::optional, vector, map, array, pair and
// tuple have one. A struct gets one by LEVADA_RECORD(Order, user, amount, ts) below it, in its namespace; that
// also gives JSON, SQL columns and the schema kept in checkpoints. A type that is not yours gets one by
// specialising levada::Serde.
//
// The bytes are part of the checkpoint format: an encoding never changes between versions.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/bytes.h"
#include "levada/time.h"
#include "levada/type_info.h"

namespace levada {

/// Encodes, decodes, hashes and measures values of T. A specialisation has
///   static void write(const T&, Bytes& out);      appends the encoding
///   static void read(View& in, T& into);          takes one encoding off the front; throws StateError
///   static std::string schema();                  the schema kept in checkpoints: a word such as "money",
///                                                 and behind a blank, if there is one, the schema of the type
///                                                 that it is encoded as: "money {units:int64,cents:int8}"
/// and may have
///   static std::uint64_t hash(const T&);          stable between versions; default: of the encoding
///   static std::size_t heap_bytes(const T&);      what the value holds outside itself; default: 0
///   static constexpr std::size_t max_bytes();     with put(): no encoding has more bytes
///   static char* put(const T&, char* at);         writes the encoding, returns its end
///
/// Threads: pure functions.
template <class T>
struct Serde;

/// A type with a Serde: may be a row, a key, or be kept in state.
template <class T>
concept Serializable = requires(const T& value, T& into, Bytes& out, View& in) {
  Serde<T>::write(value, out);
  Serde<T>::read(in, into);
  { Serde<T>::schema() } -> std::convertible_to<std::string>;
};

/// A type whose encodings are never longer than a known length: they are written without asking for room each time.
template <class T>
concept BoundedEncoding = requires {
  // Its very own: that of a base for what T converts to would be another encoding than write()'s.
  static_cast<char* (*)(const T&, char*)>(&Serde<T>::put);
  { Serde<T>::max_bytes() } -> std::same_as<std::size_t>;
};

namespace detail {

template <class N>
char* put_raw(N value, char* at) {
  std::memcpy(at, &value, sizeof(N));
  return at + sizeof(N);
}

// ---- stable hashes: values never change between versions (golden values in the tests)

/// XXH3 of bytes, 64 bits.
std::uint64_t hash_bytes(const void* data, std::size_t size);

/// A bijective mix of 64 bits (the finaliser of SplitMix64).
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

constexpr std::uint64_t hash_combine(std::uint64_t seed, std::uint64_t hash) {
  return mix(seed ^ (hash + 0x9e3779b97f4a7c15ULL + (seed << 6) + (seed >> 2)));
}

// ---- counting the fields of an aggregate

struct AnyField {
  template <class T>
  operator T() const;
};

template <class T, class... A>
constexpr std::size_t field_count() {
  if constexpr (requires { T{A{}..., AnyField{}}; }) {
    return field_count<T, A..., AnyField>();
  } else {
    return sizeof...(A);
  }
}

template <class T>
concept Described = requires(const T* t) {
  levada_fields(t);
  levada_field_names(t);
};

template <class T>
struct MemberPointer;
template <class T, class M>
struct MemberPointer<M T::*> {
  using owner = T;
  using type = M;
};

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;
template <class T>
inline constexpr bool kIsDuration = false;
template <class R, class P>
inline constexpr bool kIsDuration<std::chrono::duration<R, P>> = true;

}  // namespace detail

/// The stable 64-bit hash of a key: decides its key group, so it is part of the checkpoint format.
template <class T>
std::uint64_t hash_of(const T& value) {
  if constexpr (requires { Serde<T>::hash(value); }) {
    return Serde<T>::hash(value);
  } else {
    Bytes encoded;
    Serde<T>::write(value, encoded);
    return detail::hash_bytes(encoded.data(), encoded.size());
  }
}

/// Bytes that `value` holds outside itself (the characters of a long string, a vector's elements).
template <class T>
std::size_t heap_bytes_of(const T& value) {
  if constexpr (requires { Serde<T>::heap_bytes(value); }) {
    return Serde<T>::heap_bytes(value);
  } else {
    return 0;
  }
}

/// True when no value of T holds anything outside itself, so that nothing has to be measured.
template <class T>
inline constexpr bool kFlat = !requires(const T& v) { Serde<T>::heap_bytes(v); };

template <class T>
const TypeInfo& type_info();

// ---- numbers, enums, time

template <class T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
struct Serde<T> {
  static void write(const T& value, Bytes& out) { put_number(out, value); }
  static constexpr std::size_t max_bytes() { return sizeof(T); }
  static char* put(const T& value, char* at) { return detail::put_raw(value, at); }
  static void read(View& in, T& into) {
    if constexpr (std::is_same_v<T, bool>) {
      into = in.take_number<std::uint8_t>() != 0;
    } else {
      into = in.take_number<T>();
    }
  }
  static std::string schema() { return schema_of(type_info<T>()); }
  static std::uint64_t hash(const T& value) {
    if constexpr (std::is_floating_point_v<T>) {
      return detail::hash_bytes(&value, sizeof value);
    } else {
      return detail::mix(static_cast<std::uint64_t>(value));
    }
  }
};

template <>
struct Serde<Timestamp> {
  static void write(const Timestamp& value, Bytes& out) {
    put_number(out, static_cast<std::int64_t>(value.time_since_epoch().count()));
  }
  static constexpr std::size_t max_bytes() { return sizeof(std::int64_t); }
  static char* put(const Timestamp& value, char* at) {
    return detail::put_raw(static_cast<std::int64_t>(value.time_since_epoch().count()), at);
  }
  static void read(View& in, Timestamp& into) {
    into = Timestamp{Duration{in.take_number<std::int64_t>()}};
  }
  static std::string schema() { return "timestamp"; }
  static std::uint64_t hash(const Timestamp& value) {
    return detail::mix(static_cast<std::uint64_t>(value.time_since_epoch().count()));
  }
};

template <class R, class P>
struct Serde<std::chrono::duration<R, P>> {
  using T = std::chrono::duration<R, P>;
  static void write(const T& value, Bytes& out) { Serde<R>::write(value.count(), out); }
  static constexpr std::size_t max_bytes()
    requires BoundedEncoding<R>
  {
    return Serde<R>::max_bytes();
  }
  static char* put(const T& value, char* at)
    requires BoundedEncoding<R>
  {
    return Serde<R>::put(value.count(), at);
  }
  static void read(View& in, T& into) {
    R count;
    Serde<R>::read(in, count);
    into = T{count};
  }
  static std::string schema() {
    std::string text = "duration(" + std::to_string(P::num) + "/" + std::to_string(P::den);
    if (!std::is_same_v<R, std::int64_t>) text += "," + Serde<R>::schema();
    return text + ")";
  }
  static std::uint64_t hash(const T& value) { return Serde<R>::hash(value.count()); }
};

// ---- strings and containers

template <>
struct Serde<std::string> {
  static void write(const std::string& value, Bytes& out) { put_string(out, value); }
  static void read(View& in, std::string& into) { into.assign(in.take_string()); }
  static std::string schema() { return "string"; }
  static std::uint64_t hash(const std::string& value) {
    return detail::hash_bytes(value.data(), value.size());
  }
  static std::size_t heap_bytes(const std::string& value) {
    return value.capacity() > std::string().capacity() ? value.capacity() + 1 : 0;
  }
};

template <Serializable T>
struct Serde<std::optional<T>> {
  static void write(const std::optional<T>& value, Bytes& out) {
    put_number(out, static_cast<std::uint8_t>(value.has_value()));
    if (value) Serde<T>::write(*value, out);
  }
  static constexpr std::size_t max_bytes()
    requires BoundedEncoding<T>
  {
    return 1 + Serde<T>::max_bytes();
  }
  static char* put(const std::optional<T>& value, char* at)
    requires BoundedEncoding<T>
  {
    at = detail::put_raw(static_cast<std::uint8_t>(value.has_value()), at);
    return value ? Serde<T>::put(*value, at) : at;
  }
  static void read(View& in, std::optional<T>& into) {
    if (in.take_number<std::uint8_t>() == 0) {
      into.reset();
      return;
    }
    if (!into) into.emplace();
    Serde<T>::read(in, *into);
  }
  static std::string schema() { return Serde<T>::schema() + "?"; }
  static std::size_t heap_bytes(const std::optional<T>& value)
    requires(!kFlat<T>)
  {
    return value ? heap_bytes_of(*value) : 0;
  }
};

template <Serializable T>
struct Serde<std::vector<T>> {
  static void write(const std::vector<T>& value, Bytes& out) {
    put_varint(out, value.size());
    for (const T& element : value) Serde<T>::write(element, out);
  }
  static void read(View& in, std::vector<T>& into) {
    // Grows step by step: a length that lies must not allocate more than the bytes can hold.
    const std::uint64_t count = in.take_varint();
    into.clear();
    for (std::uint64_t i = 0; i < count; ++i) {
      T element{};
      Serde<T>::read(in, element);
      into.push_back(std::move(element));
    }
  }
  static std::string schema() { return "[" + Serde<T>::schema() + "]"; }
  static std::size_t heap_bytes(const std::vector<T>& value) {
    std::size_t bytes = value.capacity() * sizeof(T);
    if constexpr (!kFlat<T>) {
      for (const T& element : value) bytes += heap_bytes_of(element);
    }
    return bytes;
  }
};

namespace detail {

/// What a map's entry takes: itself, three pointers and a colour.
template <class K, class V>
inline constexpr std::size_t kMapNodeBytes = sizeof(std::pair<const K, V>) + 4 * sizeof(void*);

}  // namespace detail

template <Serializable K, Serializable V>
struct Serde<std::map<K, V>> {
  static void write(const std::map<K, V>& value, Bytes& out) {
    put_varint(out, value.size());
    for (const auto& [key, mapped] : value) {
      Serde<K>::write(key, out);
      Serde<V>::write(mapped, out);
    }
  }
  static void read(View& in, std::map<K, V>& into) {
    into.clear();
    for (std::uint64_t count = in.take_varint(); count > 0; --count) {
      K key{};
      V mapped{};
      Serde<K>::read(in, key);
      Serde<V>::read(in, mapped);
      into.insert_or_assign(into.end(), std::move(key), std::move(mapped));
    }
  }
  static std::string schema() { return "[" + Serde<K>::schema() + " -> " + Serde<V>::schema() + "]"; }
  static std::size_t heap_bytes(const std::map<K, V>& value) {
    std::size_t bytes = value.size() * detail::kMapNodeBytes<K, V>;
    if constexpr (!kFlat<K> || !kFlat<V>) {
      for (const auto& [key, mapped] : value) bytes += heap_bytes_of(key) + heap_bytes_of(mapped);
    }
    return bytes;
  }
};

template <Serializable T, std::size_t N>
struct Serde<std::array<T, N>> {
  static void write(const std::array<T, N>& value, Bytes& out) {
    for (const T& element : value) Serde<T>::write(element, out);
  }
  static constexpr std::size_t max_bytes()
    requires BoundedEncoding<T>
  {
    return N * Serde<T>::max_bytes();
  }
  static char* put(const std::array<T, N>& value, char* at)
    requires BoundedEncoding<T>
  {
    for (const T& element : value) at = Serde<T>::put(element, at);
    return at;
  }
  static void read(View& in, std::array<T, N>& into) {
    for (T& element : into) Serde<T>::read(in, element);
  }
  static std::string schema() { return "[" + Serde<T>::schema() + ";" + std::to_string(N) + "]"; }
  static std::size_t heap_bytes(const std::array<T, N>& value)
    requires(!kFlat<T>)
  {
    std::size_t bytes = 0;
    for (const T& element : value) bytes += heap_bytes_of(element);
    return bytes;
  }
};

namespace detail {

// The members shared by everything that is a fixed list of parts: tuples, pairs, described structs.
template <class... P>
char* put_parts(char* at, const P&... part) {
  ((at = Serde<P>::put(part, at)), ...);
  return at;
}
template <class... P>
constexpr std::size_t max_bytes_parts() {
  return (std::size_t{0} + ... + Serde<P>::max_bytes());
}
// What is bigger is appended part by part: an array of arrays may be of any size.
inline constexpr std::size_t kPutBytesMax = 256;
template <class... P>
void write_parts(Bytes& out, const P&... part) {
  if constexpr (sizeof...(P) > 1 && (BoundedEncoding<P> && ...)) {
    if constexpr (max_bytes_parts<P...>() <= kPutBytesMax) {
      char encoded[kPutBytesMax];
      out.append(encoded, static_cast<std::size_t>(put_parts(encoded, part...) - encoded));
      return;
    }
  }
  (Serde<P>::write(part, out), ...);
}
template <class... P>
void read_parts(View& in, P&... part) {
  (Serde<P>::read(in, part), ...);
}
template <class... P>
std::uint64_t hash_parts(const P&... part) {
  std::uint64_t hash = sizeof...(P);
  ((hash = hash_combine(hash, hash_of(part))), ...);
  return hash;
}
template <class... P>
std::size_t heap_bytes_parts(const P&... part) {
  return (std::size_t{0} + ... + heap_bytes_of(part));
}

template <class T>
struct TupleSerde;
template <template <class...> class Tuple, class... P>
struct TupleSerde<Tuple<P...>> {
  using T = Tuple<P...>;
  static void write(const T& value, Bytes& out) {
    std::apply([&](const P&... part) { write_parts(out, part...); }, value);
  }
  static constexpr std::size_t max_bytes()
    requires(BoundedEncoding<P> && ...)
  {
    return max_bytes_parts<P...>();
  }
  static char* put(const T& value, char* at)
    requires(BoundedEncoding<P> && ...)
  {
    return std::apply([&](const P&... part) { return put_parts(at, part...); }, value);
  }
  static void read(View& in, T& into) {
    std::apply([&](P&... part) { read_parts(in, part...); }, into);
  }
  static std::string schema() {
    std::string text = "(";
    ((text += Serde<P>::schema() + ","), ...);
    return text + ")";
  }
  static std::uint64_t hash(const T& value) {
    return std::apply([](const P&... part) { return hash_parts(part...); }, value);
  }
  static std::size_t heap_bytes(const T& value)
    requires(!(kFlat<P> && ...))
  {
    return std::apply([](const P&... part) { return heap_bytes_parts(part...); }, value);
  }
};

}  // namespace detail

template <Serializable A, Serializable B>
struct Serde<std::pair<A, B>> : detail::TupleSerde<std::pair<A, B>> {};
template <Serializable... P>
struct Serde<std::tuple<P...>> : detail::TupleSerde<std::tuple<P...>> {};

// ---- described structs

namespace detail {

template <class T>
inline constexpr auto kFields = levada_fields(static_cast<const T*>(nullptr));
template <class T>
inline constexpr auto kFieldNames = levada_field_names(static_cast<const T*>(nullptr));

template <class F>
using FieldType = std::remove_cv_t<typename MemberPointer<F>::type>;

template <class T>
struct FieldsFlat;
template <class... F>
struct FieldsFlat<std::tuple<F...>> : std::bool_constant<(kFlat<FieldType<F>> && ...)> {};
template <class T>
struct FieldsBounded;
template <class... F>
struct FieldsBounded<std::tuple<F...>> : std::bool_constant<(BoundedEncoding<FieldType<F>> && ...)> {
  static constexpr std::size_t bytes() { return max_bytes_parts<FieldType<F>...>(); }
};
template <class T>
using FieldsOf = std::remove_cv_t<decltype(kFields<T>)>;

}  // namespace detail

template <detail::Described T>
struct Serde<T> {
  static void write(const T& value, Bytes& out) {
    std::apply([&](auto... field) { detail::write_parts(out, value.*field...); },
               detail::kFields<T>);
  }
  static constexpr std::size_t max_bytes()
    requires(detail::FieldsBounded<detail::FieldsOf<T>>::value)
  {
    return detail::FieldsBounded<detail::FieldsOf<T>>::bytes();
  }
  static char* put(const T& value, char* at)
    requires(detail::FieldsBounded<detail::FieldsOf<T>>::value)
  {
    return std::apply([&](auto... field) { return detail::put_parts(at, value.*field...); }, detail::kFields<T>);
  }
  static void read(View& in, T& into) {
    std::apply([&](auto... field) { detail::read_parts(in, into.*field...); }, detail::kFields<T>);
  }
  static std::string schema() {
    std::string text = "{";
    std::size_t index = 0;
    const auto add = [&]<class F>(F) {
      if (index > 0) text += ',';
      text += detail::kFieldNames<T>[index++];
      text += ':';
      text += Serde<detail::FieldType<F>>::schema();
    };
    std::apply([&](auto... field) { (add(field), ...); }, detail::kFields<T>);
    return text + "}";
  }
  static std::uint64_t hash(const T& value) {
    return std::apply([&](auto... field) { return detail::hash_parts(value.*field...); },
                      detail::kFields<T>);
  }
  static std::size_t heap_bytes(const T& value)
    requires(!detail::FieldsFlat<detail::FieldsOf<T>>::value)
  {
    return std::apply([&](auto... field) { return detail::heap_bytes_parts(value.*field...); },
                      detail::kFields<T>);
  }
};

// ---- TypeInfo of every type that has a shape

namespace detail {

template <class T>
consteval TypeKind kind_of() {
  if constexpr (std::is_enum_v<T>) {
    return kind_of<std::underlying_type_t<T>>();
  } else if constexpr (std::is_same_v<T, bool>) {
    return TypeKind::kBool;
  } else if constexpr (std::is_integral_v<T>) {
    constexpr bool kSigned = std::is_signed_v<T>;
    switch (sizeof(T)) {
      case 1: return kSigned ? TypeKind::kInt8 : TypeKind::kUint8;
      case 2: return kSigned ? TypeKind::kInt16 : TypeKind::kUint16;
      case 4: return kSigned ? TypeKind::kInt32 : TypeKind::kUint32;
      default: return kSigned ? TypeKind::kInt64 : TypeKind::kUint64;
    }
  } else if constexpr (std::is_same_v<T, float>) {
    return TypeKind::kFloat;
  } else if constexpr (std::is_same_v<T, double>) {
    return TypeKind::kDouble;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return TypeKind::kString;
  } else if constexpr (std::is_same_v<T, Timestamp>) {
    return TypeKind::kTimestamp;
  } else if constexpr (std::is_same_v<T, Duration>) {
    return TypeKind::kDuration;
  } else if constexpr (kIsOptional<T>) {
    return TypeKind::kOptional;
  } else if constexpr (kIsVector<T>) {
    return TypeKind::kList;
  } else if constexpr (Described<T>) {
    return TypeKind::kRecord;
  } else {
    return TypeKind::kOpaque;
  }
}

template <class T>
TypeInfo make_type_info() {
  constexpr TypeKind kKind = kind_of<T>();
  TypeInfo info{kKind, to_string(kKind), sizeof(T), nullptr, {}, nullptr, nullptr, nullptr};
  if constexpr (kKind == TypeKind::kOptional) {
    info.element = &type_info<typename T::value_type>();
    info.emplace = [](void* value) -> void* {
      T& optional = *static_cast<T*>(value);
      if (!optional) optional.emplace();
      return &*optional;
    };
    info.clear = [](void* value) { static_cast<T*>(value)->reset(); };
    info.at = [](const void* value, std::size_t) -> const void* {
      const T& optional = *static_cast<const T*>(value);
      return optional ? &*optional : nullptr;
    };
  } else if constexpr (kKind == TypeKind::kList) {
    if constexpr (!std::is_same_v<typename T::value_type, bool>) {
      info.element = &type_info<typename T::value_type>();
      info.emplace = [](void* value) -> void* { return &static_cast<T*>(value)->emplace_back(); };
      info.clear = [](void* value) { static_cast<T*>(value)->clear(); };
      info.at = [](const void* value, std::size_t index) -> const void* {
        const T& list = *static_cast<const T*>(value);
        return index < list.size() ? &list[index] : nullptr;
      };
    } else {
      info.kind = TypeKind::kOpaque;  // its elements have no address
    }
  } else if constexpr (kKind == TypeKind::kRecord) {
    static const std::vector<FieldInfo> fields = [] {
      const T sample{};
      std::vector<FieldInfo> made;
      const auto add = [&]<class F>(F field) {
        const auto* base = reinterpret_cast<const char*>(&sample);
        const auto* at = reinterpret_cast<const char*>(&(sample.*field));
        made.push_back({kFieldNames<T>[made.size()], &type_info<FieldType<F>>(),
                        static_cast<std::size_t>(at - base)});
      };
      std::apply([&](auto... field) { (add(field), ...); }, kFields<T>);
      return made;
    }();
    info.name = levada_record_name(static_cast<const T*>(nullptr));
    info.fields = fields;
  }
  return info;
}

}  // namespace detail

/// The shape of T.
template <class T>
const TypeInfo& type_info() {
  static const TypeInfo info = detail::make_type_info<T>();
  return info;
}

}  // namespace levada

// ---- LEVADA_RECORD

#define LEVADA_DETAIL_EXPAND(...) LEVADA_DETAIL_E4(LEVADA_DETAIL_E4(LEVADA_DETAIL_E4(__VA_ARGS__)))
#define LEVADA_DETAIL_E4(...) LEVADA_DETAIL_E3(LEVADA_DETAIL_E3(LEVADA_DETAIL_E3(__VA_ARGS__)))
#define LEVADA_DETAIL_E3(...) LEVADA_DETAIL_E2(LEVADA_DETAIL_E2(LEVADA_DETAIL_E2(__VA_ARGS__)))
#define LEVADA_DETAIL_E2(...) LEVADA_DETAIL_E1(LEVADA_DETAIL_E1(LEVADA_DETAIL_E1(__VA_ARGS__)))
#define LEVADA_DETAIL_E1(...) __VA_ARGS__
#define LEVADA_DETAIL_PARENS ()
#define LEVADA_DETAIL_FIELDS(T, field, ...) \
  &T::field __VA_OPT__(, LEVADA_DETAIL_FIELDS_AGAIN LEVADA_DETAIL_PARENS(T, __VA_ARGS__))
#define LEVADA_DETAIL_FIELDS_AGAIN() LEVADA_DETAIL_FIELDS
#define LEVADA_DETAIL_NAMES(field, ...) \
  std::string_view{#field} __VA_OPT__(, LEVADA_DETAIL_NAMES_AGAIN LEVADA_DETAIL_PARENS(__VA_ARGS__))
#define LEVADA_DETAIL_NAMES_AGAIN() LEVADA_DETAIL_NAMES

/// Describes struct `T` (an aggregate without base class or C array) by the list of all its fields, in
/// its own namespace. Gives it Serde, TypeInfo, JSON and SQL columns. A forgotten field does not compile.
#define LEVADA_RECORD(T, ...)                                                                   \
  [[maybe_unused]] constexpr auto levada_fields(const T*) {                                     \
    return std::tuple{LEVADA_DETAIL_EXPAND(LEVADA_DETAIL_FIELDS(T, __VA_ARGS__))};              \
  }                                                                                             \
  [[maybe_unused]] constexpr auto levada_field_names(const T*) {                                \
    return std::array{LEVADA_DETAIL_EXPAND(LEVADA_DETAIL_NAMES(__VA_ARGS__))};                  \
  }                                                                                             \
  [[maybe_unused]] constexpr std::string_view levada_record_name(const T*) { return #T; }       \
  static_assert(std::tuple_size_v<decltype(levada_fields(static_cast<const T*>(nullptr)))> ==   \
                    ::levada::detail::field_count<T>(),                                         \
                "LEVADA_RECORD(" #T ", ...) does not list every field of " #T);
