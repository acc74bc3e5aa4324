// How the states of a key are kept in a table: lists and maps in one entry, and, where entries have a time to
// live, when each was last updated. These encodings are part of the checkpoint format.
//
// What expires has
//   bool has_expired(std::int64_t before) const;            something in it was last updated at or before that
//   bool forget(std::int64_t before);                       drops that; true: nothing is left
//   bool write_unexpired(Bytes& out, std::int64_t before) const;   false, and nothing written: nothing is left
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "levada/serde.h"
#include "levada/state_type.h"

namespace levada::detail {

/// A value, or an element of a collection, that expires.
template <class T>
struct Expiring {
  static constexpr bool kExpires = true;
  std::int64_t updated_us = INT64_MIN;  ///< INT64_MIN: it was only just made
  T value{};

  bool has_expired(std::int64_t before) const { return updated_us <= before; }
  bool forget(std::int64_t before) const { return has_expired(before); }
  bool write_unexpired(Bytes& out, std::int64_t before) const;
};

/// A list. Elements of one that expires are in the order of their updates.
template <class T, bool kTimed>
struct StoredList {
  static constexpr bool kExpires = kTimed;
  std::vector<T> values;
  std::vector<std::int64_t> updated_us;  ///< of each value; empty when !kTimed
  std::size_t values_heap_bytes = 0;     ///< what the values hold outside themselves

  bool empty() const { return values.empty(); }
  std::size_t expired(std::int64_t before) const {
    return static_cast<std::size_t>(std::upper_bound(updated_us.begin(), updated_us.end(), before) -
                                    updated_us.begin());
  }
  bool has_expired(std::int64_t before) const {
    return !updated_us.empty() && updated_us.front() <= before;
  }
  bool forget(std::int64_t before) {
    const auto count = static_cast<std::ptrdiff_t>(expired(before));
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      values_heap_bytes -= heap_bytes_of(values[static_cast<std::size_t>(i)]);
    }
    values.erase(values.begin(), values.begin() + count);
    updated_us.erase(updated_us.begin(), updated_us.begin() + count);
    return values.empty();
  }
  bool write_unexpired(Bytes& out, std::int64_t before) const {
    const std::size_t first = expired(before);
    if (first == values.size()) return false;
    write_from(first, out);
    return true;
  }
  void write_from(std::size_t first, Bytes& out) const {
    put_varint(out, values.size() - first);
    for (std::size_t i = first; i < values.size(); ++i) {
      if constexpr (kTimed) put_number(out, updated_us[i]);
      Serde<T>::write(values[i], out);
    }
  }
  void add(T&& value, std::int64_t now_us) {
    values_heap_bytes += heap_bytes_of(value);
    values.push_back(std::move(value));
    if constexpr (kTimed) updated_us.push_back(now_us);
  }
};

template <class V, bool kTimed>
using MapValue = std::conditional_t<kTimed, Expiring<V>, V>;

/// The value in what a map keeps of it.
template <class V>
V& value_of(V& stored) {
  return stored;
}
template <class V>
V& value_of(Expiring<V>& stored) {
  return stored.value;
}
template <class V>
const V& value_of(const Expiring<V>& stored) {
  return stored.value;
}

/// A map in the order of its keys.
template <class K, class V, bool kTimed>
struct StoredMap {
  static constexpr bool kExpires = kTimed;
  using Entries = std::map<K, MapValue<V, kTimed>>;
  Entries entries;
  std::size_t parts_heap_bytes = 0;  ///< what keys and values hold outside themselves

  static std::size_t heap_bytes_of_entry(const typename Entries::value_type& entry) {
    return heap_bytes_of(entry.first) + heap_bytes_of(entry.second);
  }
  typename Entries::iterator erase(typename Entries::iterator at) {
    parts_heap_bytes -= heap_bytes_of_entry(*at);
    return entries.erase(at);
  }

  bool has_expired(std::int64_t before) const {
    return std::any_of(entries.begin(), entries.end(),
                       [&](const auto& entry) { return entry.second.has_expired(before); });
  }
  bool forget(std::int64_t before) {
    for (auto at = entries.begin(); at != entries.end();) {
      at = at->second.has_expired(before) ? erase(at) : std::next(at);
    }
    return entries.empty();
  }
  bool write_unexpired(Bytes& out, std::int64_t before) const {
    const auto lives = [&](const auto& entry) { return !entry.second.has_expired(before); };
    const auto count = std::count_if(entries.begin(), entries.end(), lives);
    if (count == 0) return false;
    put_varint(out, static_cast<std::uint64_t>(count));
    for (const auto& entry : entries) {
      if (lives(entry)) write_parts(out, entry.first, entry.second);
    }
    return true;
  }
};

}  // namespace levada::detail

namespace levada {

template <class T>
struct Serde<detail::Expiring<T>> {
  using Stored = detail::Expiring<T>;
  static void write(const Stored& stored, Bytes& out) {
    put_number(out, stored.updated_us);
    Serde<T>::write(stored.value, out);
  }
  static void read(View& in, Stored& into) {
    into.updated_us = in.take_number<std::int64_t>();
    Serde<T>::read(in, into.value);
  }
  static std::string schema() { return "{updated:timestamp,value:" + Serde<T>::schema() + "}"; }
  static std::size_t heap_bytes(const Stored& stored)
    requires(!kFlat<T>)
  {
    return heap_bytes_of(stored.value);
  }
};

template <class T, bool kTimed>
struct Serde<detail::StoredList<T, kTimed>> {
  using Stored = detail::StoredList<T, kTimed>;
  static void write(const Stored& list, Bytes& out) { list.write_from(0, out); }
  static void read(View& in, Stored& into) {
    into = {};
    const std::uint64_t count = in.take_varint();
    for (std::uint64_t i = 0; i < count; ++i) {
      std::int64_t updated_us = 0;
      if constexpr (kTimed) updated_us = in.take_number<std::int64_t>();
      T value{};
      Serde<T>::read(in, value);
      into.add(std::move(value), updated_us);
    }
  }
  static std::string schema() {
    return "[" + Serde<std::conditional_t<kTimed, detail::Expiring<T>, T>>::schema() + "]";
  }
  static std::size_t heap_bytes(const Stored& list) {
    return list.values.capacity() * sizeof(T) + list.updated_us.capacity() * sizeof(std::int64_t) +
           list.values_heap_bytes;
  }
};

template <class K, class V, bool kTimed>
struct Serde<detail::StoredMap<K, V, kTimed>> {
  using Stored = detail::StoredMap<K, V, kTimed>;
  using Value = detail::MapValue<V, kTimed>;
  static void write(const Stored& map, Bytes& out) {
    put_varint(out, map.entries.size());
    for (const auto& [key, value] : map.entries) detail::write_parts(out, key, value);
  }
  static void read(View& in, Stored& into) {
    into = {};
    const std::uint64_t count = in.take_varint();
    for (std::uint64_t i = 0; i < count; ++i) {
      K key{};
      Value value{};
      detail::read_parts(in, key, value);
      const auto at = into.entries.insert_or_assign(into.entries.end(), std::move(key), std::move(value));
      into.parts_heap_bytes += Stored::heap_bytes_of_entry(*at);
    }
  }
  static std::string schema() { return "[" + Serde<K>::schema() + " -> " + Serde<Value>::schema() + "]"; }
  static std::size_t heap_bytes(const Stored& map) {
    return map.entries.size() * detail::kMapNodeBytes<K, Value> + map.parts_heap_bytes;
  }
};

namespace detail {

template <class T>
struct StateParts<Expiring<T>> : KnownParts<Timestamp, T> {};
template <class T, bool kTimed>
struct StateParts<StoredList<T, kTimed>> : KnownParts<std::conditional_t<kTimed, Expiring<T>, T>> {};
template <class K, class V, bool kTimed>
struct StateParts<StoredMap<K, V, kTimed>> : KnownParts<K, MapValue<V, kTimed>> {};

template <class T>
bool Expiring<T>::write_unexpired(Bytes& out, std::int64_t before) const {
  if (has_expired(before)) return false;
  Serde<Expiring<T>>::write(*this, out);
  return true;
}

}  // namespace detail
}  // namespace levada
