// The places of state members that belong to no key: small, kept in memory, written whole with every snapshot.
//
// Threads:  of the subtask.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "levada/detail/function_scope.h"
#include "levada/detail/memory_charge.h"
#include "levada/serde.h"
#include "levada/state.h"
#include "levada/state_type.h"

namespace levada::detail {

/// The old subtasks whose elements of an operator state a subtask takes over, and which part of them.
struct OperatorShare {
  std::size_t first = 0;
  std::size_t last = 0;
};

/// Which of `elements` (of each old subtask) a subtask gets, counted through all of them: its own when the
/// parallelism is as it was, else an equal part.
OperatorShare split_share(const std::vector<std::size_t>& elements, const OperatorContext& context);

/// The state of an unkeyed member, for the graph and for itself: one value of type T.
template <class T>
StateSpec operator_member_spec(const std::string& name) {
  return {.name = state_table_name(name), .schema = Serde<T>::schema(), .types = {&state_type<T>()}};
}

/// The entries of a broadcast state.
template <class K, class V>
class BroadcastEntries final : public BoundState {
 public:
  BroadcastEntries(const std::string& name, OperatorContext& context)
      : spec_(operator_member_spec<std::map<K, V>>(name)),
        charge_(context.memory->state(), context.node + "." + name, context.evicting) {}

  const std::map<K, V>& entries() const { return entries_; }

  void put(const K& key, V&& value) {
    bytes_ += heap_bytes_of(value);
    const auto [at, fresh] = entries_.try_emplace(key);
    bytes_ += fresh ? kNodeBytes + heap_bytes_of(at->first) : 0;
    bytes_ -= heap_bytes_of(at->second);
    at->second = std::move(value);
    charge_.set(bytes_);
  }
  bool erase(const K& key) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return false;
    bytes_ -= kNodeBytes + heap_bytes_of(at->first) + heap_bytes_of(at->second);
    entries_.erase(at);
    charge_.set(bytes_);
    return true;
  }
  void clear() {
    entries_.clear();
    charge_.set(bytes_ = 0);
  }

  // Every subtask writes all of it, and each reads what one of the old ones wrote.
  void snapshot(SnapshotContext& context) override {
    Bytes bytes;
    Serde<std::map<K, V>>::write(entries_, bytes);
    context.put_operator_value(spec_, bytes);
  }
  void restore(const RestoredState& state, const OperatorContext& context) override {
    const std::vector<Bytes> states = state.operator_values(spec_);
    if (states.empty()) return;
    View bytes(states[static_cast<std::size_t>(context.subtask) % states.size()]);
    Serde<std::map<K, V>>::read(bytes, entries_);
    charge_.set(bytes_ = heap_bytes_of(entries_));
  }

 private:
  static constexpr std::size_t kNodeBytes = kMapNodeBytes<K, V>;

  const StateSpec spec_;
  std::map<K, V> entries_;
  std::size_t bytes_ = 0;
  MemoryCharge charge_;
};

/// The elements of an operator state.
template <class T>
class OperatorList final : public BoundState {
 public:
  OperatorList(const std::string& name, Redistribution redistribution, OperatorContext& context)
      : spec_(operator_member_spec<std::vector<T>>(name)),
        redistribution_(redistribution),
        charge_(context.memory->state(), context.node + "." + name, context.evicting) {}

  const std::vector<T>& elements() const { return elements_; }
  void add(T&& element) {
    heap_bytes_ += heap_bytes_of(element);
    elements_.push_back(std::move(element));
    charge();
  }
  void set(std::vector<T>&& elements) {
    elements_ = std::move(elements);
    heap_bytes_ = 0;
    for (const T& element : elements_) heap_bytes_ += heap_bytes_of(element);
    charge();
  }

  void snapshot(SnapshotContext& context) override {
    Bytes bytes;
    Serde<std::vector<T>>::write(elements_, bytes);
    context.put_operator_value(spec_, bytes);
  }
  void restore(const RestoredState& state, const OperatorContext& context) override {
    std::vector<T> all;
    std::vector<std::size_t> counts;
    for (const Bytes& value : state.operator_values(spec_)) {
      View bytes(value);
      std::vector<T> some;
      Serde<std::vector<T>>::read(bytes, some);
      counts.push_back(some.size());
      std::move(some.begin(), some.end(), std::back_inserter(all));
    }
    if (redistribution_ == Redistribution::kSplit) {
      const OperatorShare mine = split_share(counts, context);
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(mine.last), all.end());
      all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(mine.first));
    }
    set(std::move(all));
  }

 private:
  void charge() { charge_.set(elements_.capacity() * sizeof(T) + heap_bytes_); }

  const StateSpec spec_;
  const Redistribution redistribution_;
  std::vector<T> elements_;
  std::size_t heap_bytes_ = 0;
  MemoryCharge charge_;
};

/// Makes the place of an unkeyed state member of a function's copy.
template <class MK, class MV, class Scope>
std::unique_ptr<BoundState> bind_state(BroadcastState<MK, MV>& member, Scope& scope) {
  auto entries = std::make_unique<BroadcastEntries<MK, MV>>(member.name(), *scope.context);
  member.bind(*entries);
  return entries;
}
template <class T, class Scope>
std::unique_ptr<BoundState> bind_state(OperatorState<T>& member, Scope& scope) {
  auto list = std::make_unique<OperatorList<T>>(member.name(), member.options().redistribution,
                                                *scope.context);
  member.bind(*list);
  return list;
}

template <class K, class MK, class MV>
StateSpec spec_of(const BroadcastState<MK, MV>& member) {
  return operator_member_spec<std::map<MK, MV>>(member.name());
}
template <class K, class T>
StateSpec spec_of(const OperatorState<T>& member) {
  return operator_member_spec<std::vector<T>>(member.name());
}

}  // namespace levada::detail

namespace levada {

template <class K, class V>
const V* BroadcastState<K, V>::find(const K& key) const {
  const auto& entries = bound(entries_).entries();
  const auto at = entries.find(key);
  return at == entries.end() ? nullptr : &at->second;
}
template <class K, class V>
std::size_t BroadcastState<K, V>::size() const {
  return bound(entries_).entries().size();
}
template <class K, class V>
template <class F>
void BroadcastState<K, V>::for_each(F f) const {
  for (const auto& [key, value] : bound(entries_).entries()) f(key, value);
}
template <class K, class V>
template <class C>
void BroadcastState<K, V>::put(const K& key, V value, C&) {
  check_context<C>();
  bound(entries_).put(key, std::move(value));
}
template <class K, class V>
template <class C>
bool BroadcastState<K, V>::erase(const K& key, C&) {
  check_context<C>();
  return bound(entries_).erase(key);
}
template <class K, class V>
template <class C>
void BroadcastState<K, V>::clear(C&) {
  check_context<C>();
  bound(entries_).clear();
}

template <class T>
std::span<const T> OperatorState<T>::get() const {
  return bound(list_).elements();
}
template <class T>
void OperatorState<T>::add(T element) {
  bound(list_).add(std::move(element));
}
template <class T>
void OperatorState<T>::set(std::vector<T> elements) {
  bound(list_).set(std::move(elements));
}

}  // namespace levada
