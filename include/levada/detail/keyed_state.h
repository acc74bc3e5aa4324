// The places of keyed state members: each is a table of its own, from keys to what is kept of them, in which
// the entry of the key at hand is found when the function asks for it.
//
// Threads:    of the subtask.
// Invariants: 1. What a function may have changed is charged when it has returned, or before it is removed.
//             2. Nothing expired is ever returned: what is read is compared with processing time as the
//                operator keeps it, which never goes back over a restore.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "levada/detail/keyed_scope.h"
#include "levada/detail/open_entries.h"
#include "levada/detail/state_names.h"
#include "levada/detail/stored_state.h"
#include "levada/detail/typed_table.h"
#include "levada/state.h"

namespace levada::detail {

/// A table of state, whatever its keys are: snapshots, restores, and what is too old leaves it.
template <class TableKey, class V>
class StateStore : public BoundState {
 public:
  using Table = TypedTable<TableKey, V>;
  using Entry = typename Table::Entry;

  StateStore(std::string table_name, const KeyedMember& member, FunctionScope& scope)
      : table_(std::move(table_name), *scope.context),
        space_(table_.space(0)),
        time_(scope.time),
        ttl_us_(member.options().ttl.count()),
        refreshes_(member.options().update == TtlUpdate::kOnReadAndWrite) {}

  void restore(const RestoredState& state, const OperatorContext& context) override {
    state.read_table(table_, context.key_groups.first, context.key_groups.last);
  }
  StateLookUp* look_up() override { return &table_; }
  void snapshot(SnapshotContext& context) override {
    if constexpr (Expires<V>) table_.leave_out(before());
    context.put_table(table_);
  }
  void clean(std::size_t slots) override {
    if constexpr (Expires<V>) {
      find_expired(slots);
      for (const auto& [hash, key] : expired_) forget(hash, Table::Key::view(key, key_bytes_));
      expired_.clear();
    }
  }

  std::int64_t now() const { return time_->now.time_since_epoch().count(); }
  /// How long entries live; 0: for ever.
  std::int64_t ttl_us() const { return ttl_us_; }
  /// What was updated at or before that has expired.
  std::int64_t before() const { return now() - ttl_us_; }
  /// True when reading makes young again.
  bool refreshes() const { return refreshes_; }

 protected:
  Table table_;
  typename Table::Space& space_;
  Bytes key_bytes_;  // of a key that is looked for

 private:
  // Looks at `slots` more slots, round and round.
  void find_expired(std::size_t slots) {
    constexpr std::size_t kBlock = 32;
    std::uint32_t found[kBlock];
    for (std::size_t looked = 0, groups = 0; looked < slots && groups <= space_.groups.size();) {
      auto& group = space_.groups[clean_group_];
      if (clean_slot_ >= group.slots()) {
        clean_group_ = (clean_group_ + 1) % space_.groups.size();
        clean_slot_ = 0;
        ++groups;
        continue;
      }
      const std::size_t first = clean_slot_;
      const std::size_t count = table_.live_slots(space_, group, clean_slot_, found, kBlock);
      looked += clean_slot_ - first;
      for (std::size_t i = 0; i < count; ++i) {
        const Entry& entry = group.slot(found[i]);
        if (!entry.value.has_expired(before())) continue;
        entry.key.copy_to(expired_.emplace_back(entry.key.hash(), TableKey{}).second);
      }
    }
  }

  void forget(std::uint64_t hash, typename Table::KeyView key) {
    Entry& entry = table_.at(space_, hash, key);
    const std::size_t bytes = heap_bytes_of(entry.value);
    const bool nothing_left = entry.value.forget(before());
    table_.charge_change(space_, bytes, heap_bytes_of(entry.value));
    if (nothing_left) table_.remove(space_, hash, key);
  }

  const FunctionTime* const time_;
  const std::int64_t ttl_us_;
  const bool refreshes_;
  std::size_t clean_group_ = 0;
  std::size_t clean_slot_ = 0;
  std::vector<std::pair<std::uint64_t, TableKey>> expired_;
};

/// The table of one state; V is what is kept of a key.
template <class K, class V>
class KeyedTable : public StateStore<K, V>, private ColdState<K> {
 public:
  using Base = StateStore<K, V>;
  using typename Base::Entry;
  using typename Base::Table;

  KeyedTable(std::string table_name, const KeyedMember& member, KeyedScope<K>& scope)
      : Base(std::move(table_name), member, scope), scope_(scope) {
    if (table_.has_cold_tier()) scope.cold.push_back(this);
  }
  KeyedTable(const KeyedMember& member, KeyedScope<K>& scope)
      : KeyedTable(state_table_name(member.name()), member, scope) {}

  void prefetch(const std::uint64_t* hashes, std::size_t first, std::size_t last) override {
    table_.prefetch(space_, hashes, first, last);
  }
  void settle() override {
    if constexpr (!kFlat<V>) {
      if (changed_ == nullptr) return;
      table_.charge_change(space_, changed_bytes_, heap_bytes_of(changed_->value));
      changed_ = nullptr;
    }
  }

  /// What is kept of the key at hand; null when there is nothing.
  const V* find_kept() { return kept(find_entry()); }
  /// The same, when it is in the table: the cold tier is not asked.
  const V* peek_kept() {
    CurrentKey<K>& current = key_at_hand();
    return kept(table_.peek(space_, current.hash(), current.view()));
  }

 protected:
  /// The entry of the key at hand, to be read; null when there is none.
  const Entry* find_entry() {
    CurrentKey<K>& current = key_at_hand();
    return table_.find(space_, current.hash(), current.view());
  }
  /// The entry of the key at hand, to be changed.
  Entry& entry_at(bool& created) {
    CurrentKey<K>& current = key_at_hand();
    created = false;
    Entry* entry = table_.at_home(space_, current.hash(), current.view());
    if (entry == nullptr) [[unlikely]] entry = &entry_anywhere(created);
    if constexpr (!kFlat<V>) {
      if (changed_ == nullptr) {
        changed_ = entry;
        changed_bytes_ = heap_bytes_of(entry->value);
        scope_.changed.push_back(this);
      }
    }
    return *entry;
  }
  void remove_entry() {
    this->settle();
    CurrentKey<K>& current = key_at_hand();
    table_.remove(space_, current.hash(), current.view());
  }

  using Base::key_bytes_;
  using Base::space_;
  using Base::table_;

 private:
  void make_ready(const KeyColumn<K>& keys, const std::uint64_t* hashes, std::size_t first,
                  std::size_t last) override {
    const auto key_at = [&](std::size_t row) -> typename Table::KeyView {
      return Table::Key::view(keys[row], key_bytes_);
    };
    table_.make_ready(space_, hashes, key_at, first, last);
  }
  void make_room() override { table_.make_room(space_); }

  static const V* kept(const Entry* entry) { return entry == nullptr ? nullptr : &entry->value; }

  CurrentKey<K>& key_at_hand() {
    if (!scope_.current.there()) [[unlikely]] throw_no_key(table_.name());
    return scope_.current;
  }

  [[gnu::noinline]] Entry& entry_anywhere(bool& created) {
    CurrentKey<K>& current = scope_.current;
    // An entry that comes from the cold tier is not created, and one that was removed there is.
    const bool known =
        !table_.has_cold_tier() || table_.find(space_, current.hash(), current.view()) != nullptr;
    const std::uint32_t size = table_.group_of(space_, current.hash()).size;
    Entry& entry = table_.at(space_, current.hash(), current.view());
    created = !known || table_.group_of(space_, current.hash()).size != size;
    return entry;
  }

  KeyedScope<K>& scope_;
  Entry* changed_ = nullptr;  // what the function may be changing
  std::size_t changed_bytes_ = 0;
};

template <class K, class T, bool kTimed>
class KeyedValue final : public KeyedTable<K, std::conditional_t<kTimed, Expiring<T>, T>>,
                         public ValueAccess<T> {
 public:
  using KeyedTable<K, std::conditional_t<kTimed, Expiring<T>, T>>::KeyedTable;

  const T* find() override {
    const auto* entry = this->find_entry();
    if (entry == nullptr) return nullptr;
    if constexpr (kTimed) {
      if (entry->value.has_expired(this->before())) {
        this->remove_entry();
        return nullptr;
      }
      if (this->refreshes()) {
        bool created;
        return &at(created);
      }
      return &entry->value.value;
    } else {
      return &entry->value;
    }
  }
  T& at(bool& created) override {
    auto& entry = this->entry_at(created);
    if constexpr (kTimed) {
      created = entry.value.has_expired(this->before());
      if (created) entry.value.value = T{};
      entry.value.updated_us = this->now();
      return entry.value.value;
    } else {
      return entry.value;
    }
  }
  void set(T&& value) override {
    bool created;
    at(created) = std::move(value);
  }
  void clear() override { this->remove_entry(); }
};

template <class K, class T, bool kTimed>
class KeyedList final : public KeyedTable<K, StoredList<T, kTimed>>, public ListAccess<T> {
 public:
  using KeyedTable<K, StoredList<T, kTimed>>::KeyedTable;

  std::span<const T> get() override {
    const auto* entry = this->find_entry();
    if (entry == nullptr) return {};
    if constexpr (kTimed) {
      const std::size_t first = entry->value.expired(this->before());
      if (first == entry->value.values.size()) {
        this->remove_entry();
        return {};
      }
      if (this->refreshes()) {
        StoredList<T, kTimed>& list = list_at();
        std::fill(list.updated_us.begin(), list.updated_us.end(), this->now());
        return list.values;
      }
      return std::span<const T>(entry->value.values).subspan(first);
    } else {
      return entry->value.values;
    }
  }
  void add(T&& element) override { list_at().add(std::move(element), this->now()); }
  void set(std::vector<T>&& elements) override {
    if (elements.empty()) return clear();
    StoredList<T, kTimed>& list = list_at();
    list = {};
    list.values.reserve(elements.size());
    for (T& element : elements) list.add(std::move(element), this->now());
  }
  void clear() override { this->remove_entry(); }

 private:
  // The list without what has expired.
  StoredList<T, kTimed>& list_at() {
    bool created;
    StoredList<T, kTimed>& list = this->entry_at(created).value;
    if constexpr (kTimed) list.forget(this->before());
    return list;
  }
};

template <class K, class MK, class MV, bool kTimed>
class KeyedMap final : public KeyedTable<K, StoredMap<MK, MV, kTimed>>, public MapAccess<MK, MV> {
 public:
  using Base = KeyedTable<K, StoredMap<MK, MV, kTimed>>;
  using Map = StoredMap<MK, MV, kTimed>;
  using typename MapAccess<MK, MV>::Visit;
  using Base::Base;

  const MV* find(const MK& key) override {
    const auto* entry = this->find_entry();
    if (entry == nullptr) return nullptr;
    const auto found = entry->value.entries.find(key);
    if (found == entry->value.entries.end()) return nullptr;
    if constexpr (kTimed) {
      if (found->second.has_expired(this->before())) {
        erase(key);
        return nullptr;
      }
      if (this->refreshes()) return &at(key);
    }
    return &value_of(found->second);
  }

  MV& at(const MK& key) override {
    bool created;
    Map& map = this->entry_at(created).value;
    const auto [found, fresh] = map.entries.try_emplace(key);
    if (fresh) map.parts_heap_bytes += Map::heap_bytes_of_entry(*found);
    open_.add(kNoPage, *found);
    if constexpr (kTimed) {
      if (found->second.has_expired(this->before())) found->second.value = MV{};
      found->second.updated_us = this->now();
    }
    return value_of(found->second);
  }
  void put(const MK& key, MV&& value) override { at(key) = std::move(value); }

  bool erase(const MK& key) override {
    const auto* entry = this->find_entry();
    if (entry == nullptr || !entry->value.entries.contains(key)) return false;
    account();
    bool created;
    Map& map = this->entry_at(created).value;
    const auto found = map.entries.find(key);
    open_.forget(*found);
    bool lived = true;
    if constexpr (kTimed) lived = !found->second.has_expired(this->before());
    map.erase(found);
    if (map.entries.empty()) this->remove_entry();
    return lived;
  }

  void scan(const MK* from, const MK* to, const Visit& visit) override {
    const auto* entry = this->find_entry();
    if (entry == nullptr) return;
    bool created;
    const bool refresh = kTimed && this->refreshes();
    const auto& entries = refresh ? this->entry_at(created).value.entries : entry->value.entries;
    auto at = from == nullptr ? entries.begin() : entries.lower_bound(*from);
    for (; at != entries.end() && (to == nullptr || at->first < *to); ++at) {
      if constexpr (kTimed) {
        if (at->second.has_expired(this->before())) continue;
        if (refresh) const_cast<Expiring<MV>&>(at->second).updated_us = this->now();
      }
      if (!visit(at->first, value_of(at->second))) return;
    }
  }

  void clear() override { this->remove_entry(); }

  void settle() override {
    close();
    Base::settle();
  }

  /// Takes the map out; `opened` becomes the keys of entries that the function may change still. REQUIRES: there
  /// is one.
  Map take(std::vector<const MK*>& opened) {
    opened = open_.keys();
    settle();
    bool created;
    Map& map = this->entry_at(created).value;
    Map taken = std::exchange(map, Map{});
    this->remove_entry();
    return taken;
  }
  /// Puts a map where none was.
  void give(Map&& map) {
    bool created;
    this->entry_at(created).value = std::move(map);
  }

 private:
  static constexpr std::uint64_t kNoPage = 0;

  void account() {
    if (open_.empty()) return;
    bool created;
    Map& map = this->entry_at(created).value;
    open_.account([&](std::uint64_t, std::size_t bytes) { map.parts_heap_bytes += bytes; });
  }
  void close() {
    account();
    open_.clear();
  }

  OpenEntries<MK, MV, kTimed> open_;
};

template <class Timed, class Untimed, class Member, class K>
std::unique_ptr<BoundState> bind_keyed(Member& member, KeyedScope<K>& scope) {
  const auto bind = [&]<class State>(std::type_identity<State>) -> std::unique_ptr<BoundState> {
    auto state = std::make_unique<State>(member, scope);
    member.bind(*state);
    return state;
  };
  return member.options().ttl > Duration{0} ? bind(std::type_identity<Timed>{})
                                            : bind(std::type_identity<Untimed>{});
}

/// Makes the place of a keyed state member of a function's copy.
template <class K, class T>
std::unique_ptr<BoundState> bind_state(ValueState<T>& member, KeyedScope<K>& scope) {
  return bind_keyed<KeyedValue<K, T, true>, KeyedValue<K, T, false>>(member, scope);
}
template <class K, class T>
std::unique_ptr<BoundState> bind_state(ReducingState<T>& member, KeyedScope<K>& scope) {
  return bind_keyed<KeyedValue<K, T, true>, KeyedValue<K, T, false>>(member, scope);
}
template <class K, class A>
std::unique_ptr<BoundState> bind_state(AggregatingState<A>& member, KeyedScope<K>& scope) {
  using T = typename A::Accumulator;
  return bind_keyed<KeyedValue<K, T, true>, KeyedValue<K, T, false>>(member, scope);
}
template <class K, class T>
std::unique_ptr<BoundState> bind_state(ListState<T>& member, KeyedScope<K>& scope) {
  return bind_keyed<KeyedList<K, T, true>, KeyedList<K, T, false>>(member, scope);
}

/// The states of keyed members, for the graph.
template <class K, class Timed, class Untimed>
StateSpec keyed_member_spec(const KeyedMember& member) {
  const std::string name = state_table_name(member.name());
  return member.options().ttl > Duration{0} ? keyed_state_spec<K, Timed>(name) : keyed_state_spec<K, Untimed>(name);
}
template <class K, class T>
StateSpec spec_of(const ValueState<T>& member) {
  return keyed_member_spec<K, Expiring<T>, T>(member);
}
template <class K, class T>
StateSpec spec_of(const ReducingState<T>& member) {
  return keyed_member_spec<K, Expiring<T>, T>(member);
}
template <class K, class A>
StateSpec spec_of(const AggregatingState<A>& member) {
  return keyed_member_spec<K, Expiring<typename A::Accumulator>, typename A::Accumulator>(member);
}
template <class K, class T>
StateSpec spec_of(const ListState<T>& member) {
  return keyed_member_spec<K, StoredList<T, true>, StoredList<T, false>>(member);
}
template <class K, class MK, class MV>
StateSpec spec_of(const MapState<MK, MV>& member) {
  StateSpec spec = keyed_member_spec<K, StoredMap<MK, MV, true>, StoredMap<MK, MV, false>>(member);
  spec.paged = true;
  return spec;
}

}  // namespace levada::detail
