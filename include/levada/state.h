// State members: what a function of process() keeps. They are plain members of the function's struct:
//
//   struct Watchdog {
//     levada::ValueState<Timestamp> deadline{"deadline"};
//     void process(const Heartbeat& beat, levada::KeyedContext<std::string, Alert>& ctx);
//   };
//
// The engine copies the prototype once per subtask and binds the members of the copy. It finds them in
// structs of up to 16 public members, without constructors, base classes and C arrays. ValueState, ListState,
// MapState, ReducingState and AggregatingState belong to the key of the row or timer at hand; BroadcastState
// is the same in all subtasks; OperatorState is a subtask's own. A name is part of the checkpoint, together
// with the step's uid.
//
// Threads:  of the subtask.
// Lifetime: what find() and get() return is valid until the state is changed, at most until the call ends.
// Failures: std::logic_error when keyed state is used where there is no key (open, finish,
//           process_broadcast); StateError when state outgrows the job's memory.
// Source:   kinds and their meaning are Flink's.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/fwd.h"
#include "levada/serde.h"
#include "levada/time.h"

namespace levada {

/// What makes an entry with a time to live young again.
enum class TtlUpdate {
  kOnCreateAndWrite,
  kOnReadAndWrite,
};

/// Options of keyed state.
struct StateOptions {
  /// How long an entry lives after it was last updated, in processing time; 0: for ever. Each element of a list
  /// and each entry of a map has a life of its own. An expired entry is never returned.
  Duration ttl{};
  TtlUpdate update = TtlUpdate::kOnCreateAndWrite;
};

/// Who gets the elements of an operator state when a job is restored.
enum class Redistribution {
  kSplit,  ///< each subtask some: its own when the parallelism is as it was
  kUnion,  ///< every subtask all
};

struct OperatorStateOptions {
  Redistribution redistribution = Redistribution::kSplit;
};

namespace detail {

/// What all state members have.
class StateMember {
 public:
  StateMember(const StateMember& other) : name_(other.name_) { note_copy(); }
  StateMember& operator=(const StateMember&) = delete;

  const std::string& name() const noexcept { return name_; }

 protected:
  explicit StateMember(std::string_view name) : name_(name) {}
  ~StateMember() = default;

  /// The place that `access` points to; throws std::logic_error when the member was not bound.
  template <class Access>
  Access& bound(Access* access) const {
    if (access == nullptr) throw_unbound();
    return *access;
  }

 private:
  void note_copy() const;
  [[noreturn]] void throw_unbound() const;

  std::string name_;
};

/// Notes the names of the state members that are copied while it lives, on its thread.
class StateCopies {
 public:
  StateCopies();
  ~StateCopies();
  StateCopies(const StateCopies&) = delete;
  StateCopies& operator=(const StateCopies&) = delete;
  std::vector<std::string> names;

 private:
  StateCopies* outer_;
};

class KeyedMember : public StateMember {
 public:
  const StateOptions& options() const noexcept { return options_; }

 protected:
  KeyedMember(std::string_view name, StateOptions options) : StateMember(name), options_(options) {}

 private:
  StateOptions options_;
};

/// The places of state members in the state of the key at hand.
template <class T>
class ValueAccess {
 public:
  virtual const T* find() = 0;
  /// The value, made when there is none; says whether it was.
  virtual T& at(bool& created) = 0;
  virtual void set(T&& value) = 0;
  virtual void clear() = 0;

 protected:
  ~ValueAccess() = default;
};

template <class T>
class ListAccess {
 public:
  virtual std::span<const T> get() = 0;
  virtual void add(T&& element) = 0;
  virtual void set(std::vector<T>&& elements) = 0;
  virtual void clear() = 0;

 protected:
  ~ListAccess() = default;
};

template <class K, class V>
class MapAccess {
 public:
  using Visit = std::function<bool(const K&, const V&)>;
  virtual const V* find(const K& key) = 0;
  virtual V& at(const K& key) = 0;
  virtual void put(const K& key, V&& value) = 0;
  virtual bool erase(const K& key) = 0;
  /// Visits the entries with from <= key < to, ascending, until `visit` returns false; null: no bound.
  virtual void scan(const K* from, const K* to, const Visit& visit) = 0;
  virtual void clear() = 0;

 protected:
  ~MapAccess() = default;
};

template <class K, class V>
class BroadcastEntries;
template <class T>
class OperatorList;

/// True for the context of process_broadcast().
template <class C>
inline constexpr bool kMayWriteBroadcast = false;

}  // namespace detail

/// One value per key.
template <class T>
class ValueState : public detail::KeyedMember {
 public:
  static_assert(Serializable<T>,
                "ValueState<T>: describe T with LEVADA_RECORD(T, fields...) or specialise levada::Serde<T>");
  using value_type = T;

  explicit ValueState(std::string_view name, StateOptions options = {}) : KeyedMember(name, options) {}

  /// The key's value; null when there is none.
  const T* find() { return bound(access_).find(); }
  /// The key's value, to be changed; a T{} when there was none.
  T& get() {
    bool created;
    return bound(access_).at(created);
  }
  void set(T value) { bound(access_).set(std::move(value)); }
  void clear() { bound(access_).clear(); }

  void bind(detail::ValueAccess<T>& access) noexcept { access_ = &access; }

 private:
  detail::ValueAccess<T>* access_ = nullptr;
};

/// A list per key.
template <class T>
class ListState : public detail::KeyedMember {
 public:
  static_assert(Serializable<T>,
                "ListState<T>: describe T with LEVADA_RECORD(T, fields...) or specialise levada::Serde<T>");
  static_assert(!std::is_same_v<T, bool>, "ListState<bool>: use std::uint8_t");
  using value_type = T;

  explicit ListState(std::string_view name, StateOptions options = {}) : KeyedMember(name, options) {}

  /// The key's elements in the order in which they were added.
  std::span<const T> get() { return bound(access_).get(); }
  void add(T element) { bound(access_).add(std::move(element)); }
  /// Puts these in the place of all elements.
  void set(std::vector<T> elements) { bound(access_).set(std::move(elements)); }
  void clear() { bound(access_).clear(); }

  void bind(detail::ListAccess<T>& access) noexcept { access_ = &access; }

 private:
  detail::ListAccess<T>* access_ = nullptr;
};

/// A map per key, in the order of its own keys.
///
/// Cost:  an entry is found in the time of the logarithm of the map's size. With state in RocksDB a map beyond some
///        kilobytes lies in pages: a row brings into memory, and a checkpoint writes, those that are touched; a pass
///        over many leaves them where they are, unless reading makes entries young again. In memory, and in a
///        savepoint, the map is one value: its first change after a barrier copies it.
template <class K, class V>
class MapState : public detail::KeyedMember {
 public:
  static_assert(Serializable<K> && Serializable<V>,
                "MapState<K, V>: describe K and V with LEVADA_RECORD or specialise levada::Serde");
  static_assert(std::totally_ordered<K>, "MapState<K, V>: K needs == and <, its entries are kept in order");
  using key_type = K;
  using mapped_type = V;

  explicit MapState(std::string_view name, StateOptions options = {}) : KeyedMember(name, options) {}

  /// The entry's value; null when there is none.
  const V* find(const K& key) { return bound(access_).find(key); }
  bool contains(const K& key) { return find(key) != nullptr; }
  /// The entry's value, to be changed; a V{} when there was none.
  V& get(const K& key) { return bound(access_).at(key); }
  void put(const K& key, V value) { bound(access_).put(key, std::move(value)); }
  /// Whether there was such an entry.
  bool erase(const K& key) { return bound(access_).erase(key); }
  bool empty() {
    bool none = true;
    bound(access_).scan(nullptr, nullptr, [&](const K&, const V&) { return none = false; });
    return none;
  }
  void clear() { bound(access_).clear(); }

  /// Calls `f(key, value)` for all entries in ascending order; when it returns a bool, until that is false.
  /// `f` must not change the map; what it is given is valid until it returns.
  template <class F>
  void for_each(F f) {
    bound(access_).scan(nullptr, nullptr, visit(f));
  }
  /// The same for the entries with from <= key < to.
  template <class F>
  void for_each(const K& from, const K& to, F f) {
    bound(access_).scan(&from, &to, visit(f));
  }

  void bind(detail::MapAccess<K, V>& access) noexcept { access_ = &access; }

 private:
  template <class F>
  static typename detail::MapAccess<K, V>::Visit visit(F& f) {
    return [&f](const K& key, const V& value) {
      if constexpr (std::is_void_v<std::invoke_result_t<F&, const K&, const V&>>) {
        f(key, value);
        return true;
      } else {
        return static_cast<bool>(f(key, value));
      }
    };
  }

  detail::MapAccess<K, V>* access_ = nullptr;
};

/// One value per key, to which what is added is reduced: `ReducingState<T> best{"best", better}`.
template <class T>
class ReducingState : public detail::KeyedMember {
 public:
  static_assert(Serializable<T>,
                "ReducingState<T>: describe T with LEVADA_RECORD(T, fields...) or specialise levada::Serde<T>");
  using value_type = T;

  ReducingState(std::string_view name, std::function<T(T, const T&)> reduce, StateOptions options = {})
      : KeyedMember(name, options), reduce_(std::move(reduce)) {}

  const T* find() { return bound(access_).find(); }
  void add(const T& value) {
    bool created;
    T& so_far = bound(access_).at(created);
    so_far = created ? value : reduce_(std::move(so_far), value);
  }
  void clear() { bound(access_).clear(); }

  void bind(detail::ValueAccess<T>& access) noexcept { access_ = &access; }

 private:
  std::function<T(T, const T&)> reduce_;
  detail::ValueAccess<T>* access_ = nullptr;
};

/// One accumulator per key. A has Accumulator, add(Accumulator&, const Value&) and result(const Accumulator&),
/// as for levada::aggregator.
template <class A>
class AggregatingState : public detail::KeyedMember {
 public:
  using value_type = typename A::Accumulator;
  static_assert(Serializable<value_type>,
                "AggregatingState<A>: describe A::Accumulator with LEVADA_RECORD or specialise levada::Serde");
  using Result = std::remove_cvref_t<decltype(std::declval<const A&>().result(
      std::declval<const value_type&>()))>;

  explicit AggregatingState(std::string_view name, A aggregate = {}, StateOptions options = {})
      : KeyedMember(name, options), aggregate_(std::move(aggregate)) {}

  template <class V>
  void add(const V& value) {
    bool created;
    aggregate_.add(bound(access_).at(created), value);
  }
  /// The result so far; nothing when nothing was added.
  std::optional<Result> get() {
    const value_type* so_far = bound(access_).find();
    if (so_far == nullptr) return std::nullopt;
    return aggregate_.result(*so_far);
  }
  void clear() { bound(access_).clear(); }

  void bind(detail::ValueAccess<value_type>& access) noexcept { access_ = &access; }

 private:
  A aggregate_;
  detail::ValueAccess<value_type>* access_ = nullptr;
};

/// A map that every subtask has whole. Only process_broadcast() writes it, and must do the same in all
/// subtasks; rows of the other input read it.
template <class K, class V>
class BroadcastState : public detail::StateMember {
 public:
  static_assert(Serializable<K> && Serializable<V>,
                "BroadcastState<K, V>: describe K and V with LEVADA_RECORD or specialise levada::Serde");
  static_assert(std::totally_ordered<K>,
                "BroadcastState<K, V>: K needs == and <, its entries are kept in order");
  using key_type = K;
  using mapped_type = V;

  explicit BroadcastState(std::string_view name) : StateMember(name) {}

  /// The entry's value; null when there is none.
  const V* find(const K& key) const;
  bool contains(const K& key) const { return find(key) != nullptr; }
  std::size_t size() const;
  /// Calls `f(key, value)` for all entries in ascending order.
  template <class F>
  void for_each(F f) const;

  template <class C>
  void put(const K& key, V value, C& context);
  template <class C>
  bool erase(const K& key, C& context);
  template <class C>
  void clear(C& context);

  void bind(detail::BroadcastEntries<K, V>& entries) noexcept { entries_ = &entries; }

 private:
  template <class C>
  static constexpr void check_context() {
    static_assert(detail::kMayWriteBroadcast<C>,
                  "BroadcastState: only process_broadcast() may write it; that has the BroadcastContext");
  }

  detail::BroadcastEntries<K, V>* entries_ = nullptr;
};

/// A list of a subtask's own, without key.
template <class T>
class OperatorState : public detail::StateMember {
 public:
  static_assert(Serializable<T>,
                "OperatorState<T>: describe T with LEVADA_RECORD(T, fields...) or specialise levada::Serde<T>");
  using value_type = T;

  explicit OperatorState(std::string_view name, OperatorStateOptions options = {})
      : StateMember(name), options_(options) {}

  std::span<const T> get() const;
  void add(T element);
  /// Puts these in the place of all elements.
  void set(std::vector<T> elements);
  void clear() { set({}); }

  const OperatorStateOptions& options() const noexcept { return options_; }
  void bind(detail::OperatorList<T>& list) noexcept { list_ = &list; }

 private:
  OperatorStateOptions options_;
  detail::OperatorList<T>* list_ = nullptr;
};

}  // namespace levada
