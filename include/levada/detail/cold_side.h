// ColdSide<Table>: the half of a TypedTable that has a cold tier. The table is what a log-structured store calls
// its memtable, of decoded values: entries leave it for the tier in runs when its memory is wanted, and come
// back before their keys are visited. Without a cold tier a table has no such side, and pays one branch a batch.
//
// The age of an entry:
//   dirty   newer than what the tier has of it; every write makes it so. The only age without a cold tier.
//   aged    the same, and not written since the clock passed it last
//   pinned  in a run on its way into the tier: it stays until the tier has it, then it goes
//   clean   as the tier has it: it may go at any time
// An entry that was removed while the tier may have it stays as gone, dirty at first like any other.
//
// Eviction is a clock with a second chance, key group by key group, between batches only: what is not clean
// is aged first, and only what is found aged again leaves. So what is in use costs the tier nothing.
//
// Snapshots capture what is dirty or aged; what is pinned or clean is in the tier's own checkpoint, whose place in the
// queue of its changes is that of the barrier. They age a sample of what they capture, since a write costs more where
// an entry is aged. When nearly all of the sample had not changed since the snapshot before, the next one ages all, and
// after it what stays aged is tidied up between batches, with or without rows: it goes to the tier and stays in the
// table as clean, so that the next snapshots leave it out.
//
// Threads:    of the table's task.
// Invariants: 1. What a space's entries in the table do not say of a key, the tier says: Space::cold is set
//                before the first entry of it that the tier has leaves the table, and stays set.
//             2. An entry pinned is in exactly one run under way; a key group that has such is not passed by
//                the clock until the run has arrived.
//             3. Nothing leaves the table between make_ready() and the end of the visit, or load() and unload(),
//                between which the operator may wait for room in its output.
// Failures:   what the tier throws, from the next call after it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/bytes.h"
#include "levada/cold_tier.h"
#include "levada/detail/cold_flights.h"
#include "levada/detail/cold_misses.h"
#include "levada/detail/cold_queue.h"
#include "levada/memory.h"
#include "levada/serde.h"
#include "levada/state_backend.h"

namespace levada::detail {

/// What a snapshot found when it captured some entries.
struct ColdNoted {
  bool ages_all = false;
  std::size_t changed = 0, unchanged = 0;
};

template <class Table>
class ColdSide {
 public:
  ColdSide(Table& table, ColdQueue& queue, std::string_view node)
      : table_(table),
        tier_(queue.tier()),
        number_(queue.add_table(node, table.name())),
        flights_(queue, table.share_) {
    discover();
  }

  template <class Entry>
  static bool dirty(const Entry& entry) {
    return (entry.meta & kPinned) == 0;  // both of pinned and clean have that bit
  }
  /// The tier may have entries of the space, or will have.
  template <class Space>
  static bool may_have(const Space& space) {
    return space.cold || space.in_flight > 0;
  }

  /// Before rows are visited: makes room, and brings the entries of their keys into the table.
  template <class Space, class KeyAt>
  void make_ready(Space& space, const std::uint64_t* hashes, KeyAt& key_at, std::size_t first,
                  std::size_t last) {
    make_room(space);
    if (space.cold) fetch(space, hashes, key_at, first, last);
  }
  /// Before one key is looked up. Nothing leaves: what the caller knows of other entries stays true.
  template <class Space, class KeyView>
  void fetch_one(Space& space, std::uint64_t hash, KeyView&& key) {
    if (!space.cold) return;
    const auto key_at = [&](std::size_t) -> typename Table::KeyView { return key; };
    fetch(space, &hash, key_at, 0, 1);
  }
  /// What the tier has of a key that the table does not have.
  template <class Space, class KeyView>
  bool read(Space& space, std::uint64_t hash, KeyView&& key, typename Table::Value& into) {
    if (!space.cold) return false;
    misses_.clear();
    add_miss(space, hash, key);
    misses_.look_up(tier_);
    if (!misses_.found(0)) return false;
    View in(misses_.value(0));
    Serde<typename Table::Value>::read(in, into);
    return true;
  }
  /// The same as make_ready() without rows.
  template <class Space>
  void make_room(Space& space) {
    land();
    if (short_of_memory()) make_room_for(space);
  }
  /// Before entries are restored.
  void make_room() {
    land();
    if (short_of_memory()) force_room();
  }

  /// Brings all of a group into the table.
  template <class Space, class Group>
  void load(Space& space, Group& group) {
    land();
    loaded_ = true;
    if (!space.cold) return;
    if (short_of_memory()) make_room_for(space);
    Bytes first;
    put_prefix(first, space, group);
    const auto cursor = tier_.scan(first, cold_prefix_end(first));
    for (; cursor->valid(); cursor->next()) {
      const std::string_view key = cursor->key().substr(kColdPrefixBytes);
      put_clean(space, key, cursor->value());
    }
  }
  /// Lets go of what load() has brought.
  template <class Space, class Group>
  void unload(Space& space, Group& group) {
    loaded_ = false;
    if (space.cold) drop_clean(space, group);
  }

  /// The space is dropped.
  template <class Space>
  void forget(Space& space) {
    if (!may_have(space)) return;
    std::vector<std::pair<Bytes, Bytes>> ranges;
    for (const auto& group : space.groups) {
      Bytes first;
      put_prefix(first, space, group);
      Bytes last = cold_prefix_end(first);
      ranges.emplace_back(std::move(first), std::move(last));
    }
    flights_.remove_ranges(std::move(ranges));
  }

  /// What was last updated by then is not wanted any more.
  void expire(std::int64_t before_us) {
    const auto expired = [](std::string_view bytes, std::int64_t before) {
      try {
        View in(bytes);
        typename Table::Value value{};
        Serde<typename Table::Value>::read(in, value);
        return value.forget(before);
      } catch (...) {
        return false;  // whoever reads it says so
      }
    };
    tier_.expire({.table = number_, .expired = expired, .before_us = before_us});
  }

  /// A snapshot begins: what is pinned is in the tier's checkpoint, which must not be submitted before.
  void before_snapshot() {
    flights_.submit();
    changed_ = unchanged_ = 0;
  }
  ColdNoted begin_noting() const { return {.ages_all = ages_all_}; }
  /// A snapshot captures a dirty or aged entry. Returns its new meta.
  static std::uint32_t note_captured(std::uint32_t meta, ColdNoted& noted) {
    // No branches: which entries are of the sample is random.
    const bool sampled = (meta & kNoSample) == 0;
    const bool unchanged = (meta & kAged) != 0;
    noted.changed += static_cast<unsigned>(sampled) & static_cast<unsigned>(!unchanged);
    noted.unchanged += static_cast<unsigned>(sampled) & static_cast<unsigned>(unchanged);
    return meta | (sampled || noted.ages_all ? kAged : 0);
  }
  void end_noting(const ColdNoted& noted) {
    changed_ += noted.changed;
    unchanged_ += noted.unchanged;
  }
  void snapshot_ended() {
    const bool quiet = unchanged_ >= kTidyMin && changed_ * kTidyPart <= unchanged_;
    if (!std::exchange(ages_all_, quiet) || !quiet) return;
    if (std::exchange(tidying_, true)) {
      tidy_again_ = true;  // what it has passed may have come to be unchanged since
    } else {
      begin_tidying();
    }
  }
  /// Goes on with tidying up, between two batches. A walk over a group that load() has brought may still be under way.
  StateTable::Settled settle() {
    if (!tidying_) return StateTable::Settled::kDone;
    if (loaded_) return StateTable::Settled::kWaiting;
    land();
    if (!flights_.none_under_way()) return StateTable::Settled::kWaiting;
    tidy();
    return StateTable::Settled::kMore;
  }

 private:
  using Key = typename Table::Key;
  using Entry = typename Table::Entry;
  using Space = typename Table::Space;
  using Group = typename Table::Group;

  static constexpr std::uint32_t kAged = 1 << 1;
  static constexpr std::uint32_t kPinned = 2 << 1;
  static constexpr std::uint32_t kClean = 3 << 1;
  // The clock keeps the share below this part of its limit, in 1/8.
  static constexpr std::size_t kHighWater = 7;
  // Of what a group may have: from kCrowded on it is passed by the clock, down to kRoomy; in 1/16.
  static constexpr std::size_t kCrowded = 13;
  static constexpr std::size_t kRoomy = 10;
  // Groups of other spaces that the clock passes with a batch.
  static constexpr std::size_t kOthers = 8;
  static constexpr std::size_t kRunBytes = std::size_t{8} << 20;
  // Writing an entry with one more snapshot costs a small part of bringing it into the tier: that is worth it
  // where less than this part of the entries changes from one snapshot to the next.
  static constexpr std::size_t kTidyPart = 8;
  static constexpr std::size_t kTidyMin = 64;  // of the sample
  // Of the tag: one entry in 16 has none of these bits. Entries of all groups: those that the clock has just passed have
  // few that are old.
  static constexpr std::uint32_t kNoSample = 0xf << 4;
  static constexpr std::size_t kTidySlots = 2048;  // at a time: some tens of microseconds

  // The keys of rows. What looks for them is made once and not for every loop over rows.
  class Keys {
   public:
    template <class KeyAt>
    explicit Keys(KeyAt& key_at)
        : key_at_(&key_at), call_([](const void* of, std::size_t row) -> typename Table::KeyView {
            return (*static_cast<const KeyAt*>(of))(row);
          }) {
      static_assert(std::is_same_v<decltype(key_at(0)), typename Table::KeyView>, "it would refer to what is gone");
    }
    typename Table::KeyView operator[](std::size_t row) const { return call_(key_at_, row); }

   private:
    const void* key_at_;
    typename Table::KeyView (*call_)(const void*, std::size_t);
  };

  // ---- keys and values as bytes

  std::uint32_t number_of(const Space& space, const Group& group) const {
    return table_.range_.first + static_cast<std::uint32_t>(&group - space.groups.data());
  }
  void put_prefix(Bytes& out, const Space& space, const Group& group) const {
    put_cold_prefix(out, number_of(space, group), number_, space.name);
  }
  // The same as in blocks.
  static void put_key(Bytes& out, typename Table::KeyView key) {
    if constexpr (Key::kInArena) {
      if constexpr (Key::kText) return put_string(out, key);
      out += key;
    } else {
      Serde<std::remove_cvref_t<decltype(key)>>::write(key, out);
    }
  }
  // Calls f(key as the table looks it up, its hash).
  template <class F>
  static void with_key(std::string_view bytes, F f) {
    if constexpr (Key::kInArena) {
      if constexpr (Key::kText) {
        const std::string_view text = View(bytes).take_string();
        f(text, hash_bytes(text.data(), text.size()));
      } else {
        typename Table::KeyType key{};
        View in(bytes);
        Serde<typename Table::KeyType>::read(in, key);
        f(bytes, hash_of(key));
      }
    } else {
      typename Table::KeyType key{};
      View in(bytes);
      Serde<typename Table::KeyType>::read(in, key);
      f(key, hash_of(key));
    }
  }

  // ---- from the tier

  // The spaces of which the tier has something.
  void discover() {
    for (std::uint32_t group = table_.range_.first; group < table_.range_.last; ++group) {
      Bytes first;
      put_cold_prefix(first, group, number_, INT64_MIN);
      const Bytes last = cold_prefix_end(std::string_view(first).substr(0, 2 + 4));
      const auto cursor = tier_.scan(first, last);
      while (cursor->valid()) {
        const std::int64_t name = cold_name_space(cursor->key());
        table_.space(name).cold = true;
        Bytes next;
        put_cold_prefix(next, group, number_, name);
        cursor->seek(cold_prefix_end(next));
      }
    }
  }

  template <class KeyAt>
  void fetch(Space& space, const std::uint64_t* hashes, KeyAt& key_at, std::size_t first, std::size_t last) {
    fetch(space, hashes, Keys(key_at), first, last);
  }
  void fetch(Space& space, const std::uint64_t* hashes, Keys keys, std::size_t first, std::size_t last) {
    note_misses(space, hashes, keys, first, last);
    if (misses_.empty()) return;
    misses_.look_up(tier_);
    for (std::size_t i = 0; i < misses_.size(); ++i) {
      if (misses_.found(i)) put_clean(space, misses_.key(i).substr(kColdPrefixBytes), misses_.value(i));
    }
  }

  void note_misses(Space& space, const std::uint64_t* hashes, Keys keys, std::size_t first, std::size_t last) {
    misses_.clear();
    constexpr std::size_t kAhead = 16;
    const auto fetch = [&](std::size_t row) {
      Group& group = table_.group_of(space, hashes[row]);
      if (!group.empty()) Table::prefetch_bucket(group.home(hashes[row]));
    };
    for (std::size_t row = first; row < std::min(first + kAhead, last); ++row) fetch(row);
    for (std::size_t row = first; row < last; ++row) {
      if (row + kAhead < last) fetch(row + kAhead);
      typename Table::KeyView key = keys[row];
      if (table_.look_up(space, hashes[row], key) != nullptr) continue;
      add_miss(space, hashes[row], key);
    }
  }
  void add_miss(Space& space, std::uint64_t hash, typename Table::KeyView key) {
    put_prefix(misses_.bytes(), space, table_.group_of(space, hash));
    put_key(misses_.bytes(), key);
    misses_.add();
  }

  // An entry of the tier comes into the table, unless the table has a newer one.
  void put_clean(Space& space, std::string_view key_bytes, std::string_view value) {
    with_key(key_bytes, [&](typename Table::KeyView key, std::uint64_t hash) {
      if (table_.look_up(space, hash, key) != nullptr) return;
      Entry& entry = table_.find_or_insert(space, hash, key);
      View in(value);
      Serde<typename Table::Value>::read(in, entry.value);
      if constexpr (!kFlat<typename Table::Value>) {
        table_.charge_change(space, 0, heap_bytes_of(entry.value));
      }
      entry.meta |= kClean;
    });
  }

  // ---- out of the table

  bool short_of_memory() const {
    return table_.share_.used_bytes() > table_.share_.limit_bytes() / 8 * kHighWater;
  }
  bool out_of_memory() const { return table_.share_.used_bytes() > table_.share_.limit_bytes(); }

  // The entries that a group may have before it grows.
  static std::size_t room_of(const Space& space, const Group& group) {
    return space.slot_bytes < Table::kSmallBytes ? group.slots() / 3 : group.slots() * 5 / 8;
  }

  void make_room_for(Space& space) {
    if (out_of_memory()) return force_room();
    const auto crowded = [&](const Group& group) {
      return group.size * 16 > room_of(space, group) * kCrowded;
    };
    // Together: a run of many groups is worth its files.
    if (std::any_of(space.groups.begin(), space.groups.end(), crowded)) {
      for (Group& group : space.groups) {
        const std::size_t roomy = room_of(space, group) * kRoomy / 16;
        if (group.size <= roomy) continue;
        if (flights_.has(&group)) {
          if (!crowded(group)) continue;
          land_all();
        }
        if (group.size > roomy) pass(space, group, group.size - roomy);
      }
    }
    pass_others(space);
    flights_.submit();
  }

  // The clock goes on over the groups of the other spaces: what is not written any more leaves.
  void pass_others(const Space& current) {
    if (table_.spaces_.size() < 2) return;
    table_.drop_spares();
    for (std::size_t i = 0; i < kOthers; ++i) {
      auto at = table_.spaces_.lower_bound(hand_space_);
      if (at == table_.spaces_.end()) at = table_.spaces_.begin();
      Space& space = *at->second;
      hand_space_ = at->first;
      if (&space != &current && !space.dying && hand_group_ < space.groups.size()) {
        Group& group = space.groups[hand_group_];
        if (!flights_.has(&group)) {
          pass(space, group, group.size);
          shrink(space, group);
        }
      }
      if (++hand_group_ < space.groups.size()) continue;
      hand_group_ = 0;
      ++hand_space_;
    }
  }

  // Beyond the limit: halves what is in the table, until it fits or nothing more can leave.
  void force_room() {
    table_.drop_spares();
    land_all();
    for (std::size_t before = SIZE_MAX; short_of_memory() && table_.share_.used_bytes() < before;) {
      before = table_.share_.used_bytes();
      for (auto& [name, space] : table_.spaces_) {
        if (space->dying) continue;
        for (Group& group : space->groups) {
          pass(*space, group, (group.size + 1) / 2);
          if (flights_.gathered_bytes() > kRunBytes) flights_.submit();
        }
      }
      flights_.submit();
      land_all();
      for (auto& [name, space] : table_.spaces_) {
        for (Group& group : space->groups) shrink(*space, group);
      }
    }
  }

  // The clock passes a group: `wanted` entries shall leave, those first that were not written since it passed
  // last. What is pinned for that counts.
  void pass(Space& space, Group& group, std::size_t wanted) {
    if (group.empty()) return;
    const typename Table::Moving moving(table_);
    wanted -= std::min(wanted, drop_clean(space, group, wanted));
    for (int round = 0; round < 2 && wanted > 0; ++round) {
      for (std::size_t i = 0; i < group.slots() && wanted > 0; ++i) {
        Entry& entry = group.slot(i);
        if (!space.taken(entry) || !dirty(entry)) continue;
        if ((entry.meta & kAged) == 0) {
          entry.meta |= kAged;
          continue;
        }
        pin(space, group, entry);
        --wanted;
      }
    }
  }

  std::size_t drop_clean(Space& space, Group& group, std::size_t most = SIZE_MAX) {
    const typename Table::Moving moving(table_);
    std::size_t dropped = 0;
    for (std::size_t i = 0; i < group.slots() && dropped < most;) {
      Entry& entry = group.slot(i);
      if (space.taken(entry) && (entry.meta & Table::kAgeMask) == kClean) {
        table_.erase(space, group, entry);  // another may come into its place
        ++dropped;
      } else {
        ++i;
      }
    }
    return dropped;
  }

  void begin_tidying() {
    tidy_space_ = INT64_MIN;
    tidy_group_ = tidy_slot_ = 0;
  }
  // What has not changed since the last snapshot goes to the tier, a little at a time. It is over when all of it has
  // arrived. REQUIRES: nothing is under way.
  void tidy() {
    const auto at = table_.spaces_.lower_bound(tidy_space_);
    if (at == table_.spaces_.end()) {
      flights_.submit();
      if (!flights_.none_under_way()) return;
      tidying_ = std::exchange(tidy_again_, false);
      return begin_tidying();
    }
    Space& space = *at->second;
    if (at->first != tidy_space_) {
      tidy_space_ = at->first;
      tidy_group_ = tidy_slot_ = 0;
    }
    if (tidy_group_ == space.groups.size() || space.dying) {
      ++tidy_space_;
      tidy_group_ = tidy_slot_ = 0;
      return;
    }
    Group& group = space.groups[tidy_group_];
    const typename Table::Moving moving(table_);
    const std::size_t last = std::min(tidy_slot_ + kTidySlots, group.slots());
    for (; tidy_slot_ < last; ++tidy_slot_) {
      Entry& entry = group.slot(tidy_slot_);
      if (space.taken(entry) && (entry.meta & Table::kAgeMask) == kAged) pin(space, group, entry, true);
    }
    if (tidy_slot_ >= group.slots()) {
      ++tidy_group_;
      tidy_slot_ = 0;
    }
    if (flights_.gathered_bytes() > kRunBytes) flights_.submit();
  }

  void pin(Space& space, Group& group, Entry& entry, bool stays = false) {
    table_.keep_for_snapshot(space, Table::index_of(space, group), entry);
    bool fresh = false;
    ColdRun& run = flights_.begin(space.name, space.id, &group, stays, fresh);
    space.in_flight += fresh;
    const bool gone = (entry.meta & Table::kGoneBit) != 0;
    run.begin(entry.key.hash(), gone);
    put_prefix(run.bytes(), space, group);
    put_key(run.bytes(), entry.key.view());
    run.end_key();
    if (!gone) Serde<typename Table::Value>::write(entry.value, run.bytes());
    run.end();
    flights_.end();
    entry.meta = (entry.meta & ~Table::kAgeMask) | kPinned;
  }

  // Lets go of what has arrived in the tier.
  void land() {
    while (const auto flight = flights_.take_done()) {
      for (const ColdFlights::Part& part : flight->parts) land(*flight, part);
    }
  }
  void land_all() {
    flights_.submit();
    for (; !flights_.none_under_way(); land()) flights_.finish_first();
  }

  void land(const ColdFlights::Flight& flight, const ColdFlights::Part& part) {
    const ColdRun& run = *flight.run;
    const auto at = table_.spaces_.find(part.space);
    if (at == table_.spaces_.end() || at->second->id != part.id) return;
    Space& space = *at->second;
    const typename Table::Moving moving(table_);
    space.cold = true;
    --space.in_flight;
    if (space.dying) return;
    for (std::size_t i = part.first; i < part.last; ++i) {
      const ColdRun::Entry& from = run.entries()[i];
      with_key(run.key(from).substr(kColdPrefixBytes),
               [&](typename Table::KeyView key, std::uint64_t) {
                 Entry* const entry = table_.look_up(space, from.hash, key);
                 if (entry == nullptr || (entry->meta & Table::kAgeMask) != kPinned) return;
                 if (flight.stays && !from.removed) {
                   entry->meta |= kClean;
                 } else {
                   table_.erase(space, table_.group_of(space, from.hash), *entry);
                 }
               });
    }
  }

  // Gives a group the least slots that its entries are at home in.
  void shrink(Space& space, Group& group) {
    if (group.empty() || group.size * 4 > room_of(space, group)) return;
    if (group.size == 0) {
      const typename Table::Moving moving(table_);
      table_.drop_memory(space, group);
      group = Group();
      ++table_.layout_;
      table_.scan_again(space, group);
      return;
    }
    std::size_t slots = Table::kSlotsMin;
    while (group.size * 4 > slots) slots *= 2;
    if (slots < group.slots()) table_.resize(space, group, slots);
  }

  Table& table_;
  ColdTier& tier_;
  const std::uint32_t number_;
  ColdFlights flights_;
  ColdMisses misses_;

  bool loaded_ = false;  // between load() and unload(): nothing may leave

  // What the snapshot under way captured of the sample, and where tidying up is.
  std::size_t changed_ = 0, unchanged_ = 0;
  bool ages_all_ = false;
  bool tidying_ = false;
  bool tidy_again_ = false;
  std::int64_t tidy_space_ = INT64_MIN;
  std::size_t tidy_group_ = 0, tidy_slot_ = 0;
  // Where the clock is.
  std::int64_t hand_space_ = INT64_MIN;
  std::size_t hand_group_ = 0;
};

}  // namespace levada::detail
