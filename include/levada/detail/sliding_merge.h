// What windows of several slices keep merged between firings, so that a firing costs at most three merges
// of a slice's size, whatever size / slide is.
//
// RunningMerge: for aggregates that can retract: one table with the sum of all slices of the window; a
// slice is merged in once and taken out once.
//
// TwoStacks: for all others. The front holds, for each of its slices, the merge of it and the front slices
// after it; the back is the merge of all slices that came since. A window is the front table of its first
// slice merged with the back. When no front slice is left, the slices of the window become the front.
//
// Both are derived: a restored operator merges anew at its first firing. They work key group by key group
// in the order begin(), { prepare(), the group's result is read, done() } for each group, end(); between
// two groups a firing may rest, and rows may not be folded.
//
// Threads: of the operator. Source: two stacks as in Tangwongsan, Hirzel, Schneider, "Low-Latency
// Sliding-Window Aggregation in Worst-Case Constant Time", DEBS 2017.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "levada/detail/typed_table.h"
#include "levada/operator.h"
#include "levada/windows.h"

namespace levada::detail {

/// A window to fire. Slices are named by their ends.
struct Firing {
  Window window;
  Timestamp next_start;                 ///< of the next window: slices before it leave with this firing
  std::span<const std::int64_t> slices;  ///< those of the window that have state, ascending
};

/// Calls change(value, more) and charges for what the value has come to hold outside itself.
template <class Table, class V, class F>
void change_value(Table& table, typename Table::Space& space, V& value, F change) {
  if constexpr (kFlat<V>) {
    change(value);
  } else {
    const std::size_t before = heap_bytes_of(value);
    change(value);
    table.charge_change(space, before, heap_bytes_of(value));
  }
}

/// Visits the entries of `into` for all live keys of one group of `from`: f(into entry, from entry).
template <class From, class Into, class F>
void visit_group(From& from, typename From::Space& from_space, std::size_t group_index, Into& into,
                 typename Into::Space& into_space, F f) {
  constexpr std::size_t kMost = 256;
  auto& group = from_space.groups[group_index];
  from.load(from_space, group);
  std::uint32_t found[kMost];
  std::uint64_t hashes[kMost];
  for (std::size_t slot = 0; slot < group.slots();) {
    const std::size_t count = from.live_slots(from_space, group, slot, found, kMost);
    for (std::size_t i = 0; i < count; ++i) hashes[i] = group.slot(found[i]).key.hash();
    into.visit(
        into_space, hashes,
        [&](std::size_t i) -> typename Into::KeyView { return group.slot(found[i]).key.view(); }, 0,
        count,
        [&](std::size_t i, auto& entry) { f(entry, group.slot(found[i])); });
  }
  from.unload(from_space, group);
}

inline std::vector<std::int64_t> ending_by(std::span<const std::int64_t> slices, Timestamp time) {
  const auto end = std::upper_bound(slices.begin(), slices.end(), time.time_since_epoch().count());
  return {slices.begin(), end};
}

inline std::vector<std::int64_t> without(std::span<const std::int64_t> slices,
                                         std::span<const std::int64_t> others) {
  std::vector<std::int64_t> rest;
  std::set_difference(slices.begin(), slices.end(), others.begin(), others.end(),
                      std::back_inserter(rest));
  return rest;
}

inline bool contains(std::span<const std::int64_t> slices, std::int64_t slice) {
  return std::binary_search(slices.begin(), slices.end(), slice);
}

template <class K, class G>
class RunningMerge {
 public:
  using V = typename G::Accumulator;
  using Slices = TypedTable<K, V>;
  /// The tally of an entry is the number of slices that have its key.
  using Table = TypedTable<K, V, true>;
  using Entry = typename Table::Entry;

  RunningMerge(const G& aggregation, Slices& slices, OperatorContext& context)
      : aggregation_(aggregation),
        slices_(slices),
        table_("sliding", context.node, context.key_groups, context.max_parallelism,
               context.memory->state()),
        space_(table_.space(0)),
        alive_(table_.group_count(), 0) {
    table_.overdraw(context);
  }

  void begin(const Firing& firing) {
    LEVADA_DEBUG_ASSERT(ending_by(merged_, firing.window.start).empty(),
                        "a slice is taken out with the last window that covers it");
    entering_ = without(firing.slices, merged_);
    leaving_ = ending_by(firing.slices, firing.next_start);
    merged_.assign(firing.slices.begin(), firing.slices.end());
  }
  void prepare(std::size_t group) {
    for (const std::int64_t slice : entering_) {
      visit_group(slices_, *slices_.find_space(slice), group, table_, space_,
                  [&](Entry& into, const auto& from) {
                    change_value(table_, space_, into.value,
                                 [&](V& value) { aggregation_.merge(value, from.value); });
                    alive_[group] += into.tally++ == 0;
                  });
    }
  }
  const Table& table() const { return table_; }
  typename Table::Space& space(std::size_t) { return space_; }
  typename Table::Group& result(std::size_t group) { return space_.groups[group]; }
  /// A key that no slice has any more.
  static bool gone(const Entry& entry) { return entry.tally == 0; }

  void done(std::size_t group) {
    for (const std::int64_t slice : leaving_) {
      visit_group(slices_, *slices_.find_space(slice), group, table_, space_,
                  [&](Entry& from, const auto& what) {
                    change_value(table_, space_, from.value,
                                 [&](V& value) { aggregation_.retract(value, what.value); });
                    alive_[group] -= --from.tally == 0;
                  });
    }
    // Keys that are gone stay until they are the greater part.
    auto& entries = space_.groups[group];
    if (alive_[group] * 2 >= entries.size) return;
    table_.sift(space_, entries, [](const Entry& entry) { return !gone(entry); });
  }
  void end() { merged_ = without(merged_, leaving_); }

  /// A late row was folded into `slice`; `fresh`: the slice did not have its key before.
  template <class Add>
  void add_late(std::int64_t slice, std::uint64_t hash, typename Table::KeyView key, bool fresh,
                Add add) {
    if (!contains(merged_, slice)) return;
    Entry& entry = table_.at(space_, hash, key);
    change_value(table_, space_, entry.value, add);
    if (fresh) alive_[table_.group_index(hash)] += entry.tally++ == 0;
  }

 private:
  const G& aggregation_;
  Slices& slices_;
  Table table_;
  typename Table::Space& space_;
  std::vector<std::uint32_t> alive_;   // keys of each group that some slice has
  std::vector<std::int64_t> merged_;   // the slices in the table, once the firing under way has ended
  std::vector<std::int64_t> entering_, leaving_;  // with the firing under way
};

template <class K, class G>
class TwoStacks {
 public:
  using V = typename G::Accumulator;
  using Table = TypedTable<K, V>;
  using Space = typename Table::Space;
  using Entry = typename Table::Entry;

  TwoStacks(const G& aggregation, Table& slices, OperatorContext& context)
      : aggregation_(aggregation),
        slices_(slices),
        front_table_("sliding", context.node, context.key_groups, context.max_parallelism,
                     context.memory->state()),
        back_table_("sliding", context.node, context.key_groups, context.max_parallelism,
                    context.memory->state()),
        result_table_("sliding", context.node, {0, 1}, 1, context.memory->state()),
        back_space_(back_table_.space(0)),
        result_space_(result_table_.space(0)) {
    for (Table* table : {&front_table_, &back_table_, &result_table_}) table->overdraw(context);
  }

  void begin(const Firing& firing) {
    const std::vector<std::int64_t> left = ending_by(front_, firing.window.start);
    for (const std::int64_t slice : left) front_table_.drop(slice);
    front_ = without(front_, left);
    if (front_.empty()) {
      made_.assign(firing.slices.begin(), firing.slices.end());
      front_ = made_;
      back_.clear();
      back_table_.clear(back_space_);
      entering_.clear();
    } else {
      // A slice that got its first row late may belong between those of the front.
      const std::vector<std::int64_t> fresh = without(without(firing.slices, front_), back_);
      made_ = ending_by(fresh, Timestamp{Duration{front_.back()}});
      entering_ = without(fresh, made_);
      insert(front_, made_);
      insert(back_, entering_);
    }
  }
  void prepare(std::size_t group) {
    for (std::size_t i = made_.size(); i-- > 0;) make_front(made_[i], group);
    for (const std::int64_t slice : entering_) {
      merge(slices_, *slices_.find_space(slice), group, back_table_, back_space_);
    }
    if (back_.empty()) return;
    result_table_.clear(result_space_);
    merge(front_table_, front_space(front_.front()), group, result_table_, result_space_);
    merge(back_table_, back_space_, group, result_table_, result_space_);
  }
  const Table& table() const { return result_table_; }
  Space& space(std::size_t) { return back_.empty() ? front_space(front_.front()) : result_space_; }
  typename Table::Group& result(std::size_t group) {
    return back_.empty() ? front_space(front_.front()).groups[group] : result_space_.groups[0];
  }
  static bool gone(const Entry&) { return false; }
  void done(std::size_t) {}
  void end() {}

  template <class Add>
  void add_late(std::int64_t slice, std::uint64_t hash, typename Table::KeyView key, bool, Add add) {
    const auto add_to = [&](Table& table, Space& into) {
      change_value(table, into, table.at(into, hash, key).value, add);
    };
    if (contains(back_, slice)) add_to(back_table_, back_space_);
    if (!contains(front_, slice)) return;
    for (const std::int64_t front : ending_by(front_, Timestamp{Duration{slice}})) {
      add_to(front_table_, front_space(front));
    }
  }

 private:
  Space& front_space(std::int64_t slice) { return front_table_.space(slice); }

  static void insert(std::vector<std::int64_t>& slices, const std::vector<std::int64_t>& more) {
    slices.insert(slices.end(), more.begin(), more.end());
    std::sort(slices.begin(), slices.end());
  }

  void merge(Table& from, Space& from_space, std::size_t group, Table& into, Space& into_space) {
    visit_group(from, from_space, group, into, into_space, [&](Entry& entry, const Entry& more) {
      change_value(into, into_space, entry.value,
                   [&](V& value) { aggregation_.merge(value, more.value); });
    });
  }

  // Makes the front table of a slice: it and all front slices after it, whose tables are made already. The
  // tables before it that were there take the slice in.
  void make_front(std::int64_t slice, std::size_t group) {
    Space& own = *slices_.find_space(slice);
    merge(slices_, own, group, front_table_, front_space(slice));
    const auto next = std::upper_bound(front_.begin(), front_.end(), slice);
    if (next != front_.end()) {
      merge(front_table_, front_space(*next), group, front_table_, front_space(slice));
    }
    for (auto before = front_.begin(); *before != slice; ++before) {
      if (!contains(made_, *before)) {
        merge(slices_, own, group, front_table_, front_space(*before));
      }
    }
  }

  const G& aggregation_;
  Table& slices_;
  Table front_table_;  // a space for each front slice
  Table back_table_;
  Table result_table_;  // of one key group at a time
  Space& back_space_;
  Space& result_space_;
  std::vector<std::int64_t> front_, back_;     // ascending
  std::vector<std::int64_t> made_, entering_;  // front and back slices that the firing under way adds
};

}  // namespace levada::detail
