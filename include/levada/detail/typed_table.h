// TypedTable<K, V>: keyed state in open-addressing tables, one per namespace and key group.
//
// An entry is {meta, key, value} in one place, so a hit touches one cache line. meta is 0 for an empty
// slot, else a tag from the middle bits of the hash and the captured bit. The slot comes from the low
// bits, the key group from the high ones: never the same bits. Growing moves one group.
//
// Snapshots: state_backend.h. `phase_` is the value of the captured bit that means captured; a snapshot
// flips it. Outside of snapshots every entry is captured, so the test on the way of a row is one
// comparison that is never true.
//
// Threads:    of its task.
// Invariants: 1. Outside of a snapshot all entries' captured bits equal phase_.
//             2. A namespace dropped during a snapshot stays until the scan has passed it.
//             3. All memory of slots, and what keys and values hold outside themselves, is charged to
//                the share; a charge that does not fit is a StateError and changes nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "levada/assert.h"
#include "levada/detail/key_groups.h"
#include "levada/error.h"
#include "levada/memory.h"
#include "levada/serde.h"
#include "levada/state_backend.h"

namespace levada::detail {

/// Throws StateError: the state does not fit into its budget.
[[noreturn]] void throw_state_full(std::string_view state, std::size_t wanted_bytes,
                                   const MemoryShare& share);

/// The entries of one key group in one namespace.
template <class K, class V>
class GroupTable {
 public:
  struct Entry {
    std::uint32_t meta = 0;
    K key{};
    V value{};
  };

  static constexpr std::uint32_t kCapturedBit = 1;
  static constexpr std::size_t kSlotsMin = 8;

  static std::uint32_t meta_of(std::uint64_t hash, std::uint32_t phase) {
    return 0x80000000u | ((static_cast<std::uint32_t>(hash >> 16) & 0x3fffffffu) << 1) | phase;
  }
  static bool same_tag(std::uint32_t a, std::uint32_t b) { return ((a ^ b) & ~kCapturedBit) == 0; }

  std::size_t size() const { return size_; }
  std::size_t slots() const { return slots_.size(); }
  Entry* begin() { return slots_.data(); }
  Entry& slot(std::size_t i) { return slots_[i]; }
  const Entry& slot(std::size_t i) const { return slots_[i]; }
  bool wants_to_grow() const { return (size_ + 1) * 8 > slots_.size() * 5; }
  std::size_t grown_slots() const { return slots_.empty() ? kSlotsMin : slots_.size() * 2; }

  void prefetch(std::uint64_t hash) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[hash & (slots_.size() - 1)], 1);
  }

  /// The entry of the key, null when there is none.
  Entry* find(std::uint64_t hash, const K& key) {
    if (slots_.empty()) return nullptr;
    Entry& entry = probe(hash, key);
    return entry.meta == 0 ? nullptr : &entry;
  }

  /// The key's entry, or the empty slot where it belongs. REQUIRES: slots() > 0.
  Entry& probe(std::uint64_t hash, const K& key) {
    const std::size_t mask = slots_.size() - 1;
    const std::uint32_t wanted = meta_of(hash, 0);
    for (std::size_t i = hash & mask;; i = (i + 1) & mask) {
      Entry& entry = slots_[i];
      if (entry.meta == 0 || (same_tag(entry.meta, wanted) && entry.key == key)) return entry;
    }
  }

  /// Fills the empty slot that probe() returned.
  void occupy(Entry& entry, std::uint64_t hash, const K& key, std::uint32_t phase) {
    entry.meta = meta_of(hash, phase);
    entry.key = key;
    ++size_;
  }

  void grow() {
    std::vector<Entry> old(grown_slots());
    old.swap(slots_);
    const std::size_t mask = slots_.size() - 1;
    for (Entry& entry : old) {
      if (entry.meta == 0) continue;
      std::size_t i = hash_of(entry.key) & mask;
      while (slots_[i].meta != 0) i = (i + 1) & mask;
      slots_[i] = std::move(entry);
    }
  }

  /// Removes all entries and keeps the slots.
  void clear() {
    for (Entry& entry : slots_) {
      if (entry.meta != 0) entry = Entry{};
    }
    size_ = 0;
  }

  // Old values captured and not yet handed out.
  Bytes captured;
  std::uint32_t captured_count = 0;

 private:
  std::vector<Entry> slots_;
  std::size_t size_ = 0;
};

template <class K, class V>
class TypedTable final : public StateTable {
 public:
  using Group = GroupTable<K, V>;
  using Entry = typename Group::Entry;

  /// All groups of one namespace.
  struct Space {
    std::int64_t name = 0;
    bool dying = false;
    std::vector<Group> groups;
  };

  TypedTable(std::string name, std::string owner, KeyGroupRange range, int max_parallelism,
             MemoryShare& share)
      : name_(std::move(name)),
        owner_(std::move(owner)),
        range_(range),
        max_parallelism_(static_cast<std::uint32_t>(max_parallelism)),
        share_(share) {}
  ~TypedTable() override { share_.release(charged_bytes_); }

  // ---- spaces

  /// The space, made when it is not there.
  Space& space(std::int64_t name) {
    if (Space* known = find_space(name)) return *known;
    LEVADA_ASSERT(!spaces_.contains(name), "a dropped space does not come back");
    std::unique_ptr<Space> made = take_spare();
    made->name = name;
    return *spaces_.emplace(name, std::move(made)).first->second;
  }
  Space* find_space(std::int64_t name) {
    const auto at = spaces_.find(name);
    return at == spaces_.end() || at->second->dying ? nullptr : at->second.get();
  }
  /// The names of the live spaces, ascending.
  std::vector<std::int64_t> names() const {
    std::vector<std::int64_t> all;
    for (const auto& [name, space] : spaces_) {
      if (!space->dying) all.push_back(name);
    }
    return all;
  }
  /// Drops a space; while a snapshot still has to pass it, it only becomes invisible.
  void drop(std::int64_t name) {
    const auto at = spaces_.find(name);
    if (at == spaces_.end()) return;
    if (sink_ != nullptr && name >= scan_name_) {
      at->second->dying = true;
      return;
    }
    retire(at);
  }

  std::size_t group_count() const { return range_.last - range_.first; }
  Group& group_of(Space& space, std::uint64_t hash) {
    return space.groups[key_group_of(hash, max_parallelism_) - range_.first];
  }

  // ---- entries

  /// The entry of the key, made with a default value when it is not there, ready to be written.
  Entry& at(Space& space, std::uint64_t hash, const K& key) {
    Group& group = group_of(space, hash);
    if (group.slots() > 0) {
      Entry& entry = group.probe(hash, key);
      if (entry.meta != 0) {
        if ((entry.meta & Group::kCapturedBit) != phase_) capture(space, group, entry);
        return entry;
      }
      if (!group.wants_to_grow()) return insert(group, entry, hash, key);
    }
    grow(space, group);
    return insert(group, group.probe(hash, key), hash, key);
  }

  /// Charges what a value has come to hold outside itself.
  void charge_change(std::size_t before, std::size_t after) {
    if (after > before) charge(after - before);
    if (after < before) uncharge(before - after);
  }

  // ---- StateTable

  std::string_view name() const override { return name_; }
  std::string schema() const override { return Serde<K>::schema() + " -> " + Serde<V>::schema(); }
  std::size_t entries() const override {
    std::size_t count = 0;
    for (const auto& [name, space] : spaces_) {
      for (const Group& group : space->groups) count += group.size();
    }
    return count;
  }
  std::size_t memory_bytes() const override { return charged_bytes_; }

  void begin_snapshot(BlockSink& sink) override {
    LEVADA_ASSERT(sink_ == nullptr, "one snapshot at a time");
    if (spaces_.empty()) return;
    sink_ = &sink;
    phase_ ^= Group::kCapturedBit;
    scan_name_ = spaces_.begin()->first;
    scan_last_ = spaces_.rbegin()->first;
    scan_group_ = scan_slot_ = 0;
  }

  bool scan(std::size_t max_entries) override {
    if (sink_ == nullptr) return true;
    for (std::size_t done = 0; done < max_entries;) {
      const auto at = spaces_.lower_bound(scan_name_);
      if (at == spaces_.end() || at->first > scan_last_) return end_snapshot();
      if (at->first != scan_name_) {
        scan_name_ = at->first;
        scan_group_ = scan_slot_ = 0;
      }
      done += scan_some(*at->second, max_entries - done) + 1;
    }
    return false;
  }

  void abort_snapshot() override {
    if (sink_ == nullptr) return;
    for (auto& [name, space] : spaces_) {
      for (Group& group : space->groups) {
        group.captured.clear();
        group.captured_count = 0;
        for (std::size_t i = 0; i < group.slots(); ++i) mark_captured(group.slot(i));
      }
    }
    scan_name_ = INT64_MAX;
    end_snapshot();
  }

  void restore(const RestoredBlock& block) override {
    Space& into = space(block.name_space);
    View bytes = block.bytes;
    K key{};
    for (std::uint32_t i = 0; i < block.entries; ++i) {
      Serde<K>::read(bytes, key);
      Entry& entry = at(into, hash_of(key), key);
      const std::size_t before = heap_bytes_of(entry.value);
      Serde<V>::read(bytes, entry.value);
      charge_change(before, heap_bytes_of(entry.value));
    }
    if (!bytes.empty()) throw StateError("a block of '" + name_ + "' has more bytes than entries");
  }

 private:
  static constexpr std::size_t kBlockBytes = 32 * 1024;
  static constexpr std::size_t kSparesMax = 16;

  Entry& insert(Group& group, Entry& entry, std::uint64_t hash, const K& key) {
    if constexpr (!kFlat<K>) charge(heap_bytes_of(key));
    group.occupy(entry, hash, key, phase_);
    return entry;
  }

  void grow(Space& space, Group& group) {
    charge((group.grown_slots() - group.slots()) * sizeof(Entry));
    group.grow();
    // The slots have moved: what was captured says so itself, so the group is scanned again.
    if (sink_ != nullptr && space.name == scan_name_ && &group == &space.groups[scan_group_]) {
      scan_slot_ = 0;
    }
  }

  void charge(std::size_t bytes) {
    if (bytes == 0) return;
    if (!share_.try_acquire(bytes)) throw_state_full(owner_ + "." + name_, bytes, share_);
    charged_bytes_ += bytes;
  }
  void uncharge(std::size_t bytes) {
    share_.release(bytes);
    charged_bytes_ -= bytes;
  }

  void mark_captured(Entry& entry) {
    if (entry.meta != 0) entry.meta = (entry.meta & ~Group::kCapturedBit) | phase_;
  }

  // Appends the entry's value as it is now, before anybody changes it.
  void capture(Space& space, Group& group, Entry& entry) {
    mark_captured(entry);
    Serde<K>::write(entry.key, group.captured);
    Serde<V>::write(entry.value, group.captured);
    ++group.captured_count;
    if (group.captured.size() >= kBlockBytes) hand_out(space, group);
  }

  void hand_out(Space& space, Group& group) {
    if (group.captured_count == 0) return;
    StateBlock block;
    block.name_space = space.name;
    block.key_group = range_.first + static_cast<std::uint32_t>(&group - space.groups.data());
    block.entries = std::exchange(group.captured_count, 0);
    block.bytes = std::exchange(group.captured, {});
    sink_->block(std::move(block));
  }

  // Captures on in one space; returns how many slots it looked at.
  std::size_t scan_some(Space& space, std::size_t max_slots) {
    std::size_t looked = 0;
    for (; scan_group_ < space.groups.size(); ++scan_group_, scan_slot_ = 0) {
      Group& group = space.groups[scan_group_];
      for (; scan_slot_ < group.slots(); ++scan_slot_) {
        if (looked++ == max_slots) return looked;
        Entry& entry = group.slot(scan_slot_);
        if (entry.meta != 0 && (entry.meta & Group::kCapturedBit) != phase_) {
          capture(space, group, entry);
        }
      }
      hand_out(space, group);
    }
    pass(space);
    return looked;
  }

  // The scan is through with a space: goes on behind it.
  void pass(Space& space) {
    const bool dying = space.dying;
    const std::int64_t name = space.name;
    scan_name_ = name + 1;  // names are ends of slices, never the last number
    scan_group_ = scan_slot_ = 0;
    if (dying) retire(spaces_.find(name));
  }

  bool end_snapshot() {
    sink_ = nullptr;
    for (auto at = spaces_.begin(); at != spaces_.end();) {
      const auto next = std::next(at);
      if (at->second->dying) retire(at);
      at = next;
    }
    return true;
  }

  using Spaces = std::map<std::int64_t, std::unique_ptr<Space>>;

  // Empties a space and keeps its memory for the next one.
  void retire(typename Spaces::iterator at) {
    std::unique_ptr<Space> space = std::move(at->second);
    spaces_.erase(at);
    std::size_t slot_bytes = 0;
    for (Group& group : space->groups) {
      if constexpr (!kFlat<K> || !kFlat<V>) release_heap(group);
      group.clear();
      slot_bytes += group.slots() * sizeof(Entry);
    }
    space->dying = false;
    if (spares_.size() < kSparesMax) {
      spares_.push_back(std::move(space));
    } else {
      uncharge(slot_bytes);
    }
  }

  void release_heap(Group& group) {
    for (std::size_t i = 0; i < group.slots(); ++i) {
      const Entry& entry = group.slot(i);
      if (entry.meta != 0) uncharge(heap_bytes_of(entry.key) + heap_bytes_of(entry.value));
    }
  }

  std::unique_ptr<Space> take_spare() {
    if (!spares_.empty()) {
      std::unique_ptr<Space> spare = std::move(spares_.back());
      spares_.pop_back();
      return spare;
    }
    auto made = std::make_unique<Space>();
    made->groups.resize(group_count());
    return made;
  }

  std::string name_;
  std::string owner_;
  KeyGroupRange range_;
  std::uint32_t max_parallelism_;
  MemoryShare& share_;
  std::size_t charged_bytes_ = 0;
  Spaces spaces_;
  std::vector<std::unique_ptr<Space>> spares_;

  std::uint32_t phase_ = 0;
  BlockSink* sink_ = nullptr;
  std::int64_t scan_name_ = 0;
  std::int64_t scan_last_ = 0;
  std::size_t scan_group_ = 0;
  std::size_t scan_slot_ = 0;
};

}  // namespace levada::detail
