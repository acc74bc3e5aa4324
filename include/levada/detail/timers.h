// Timers of keyed functions, of one time domain. What is true is a table from keys to the times at which each
// has a timer: it is snapshotted and restored like any other state. A heap beside it says which comes first;
// timers that were deleted stay in it until they come up or are too many.
//
// Threads:    of the subtask.
// Invariants: 1. Every timer of the table is in the heap at least once.
//             2. The heap has at most twice as many entries as there are timers, and some.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "levada/detail/function_scope.h"
#include "levada/detail/memory_charge.h"
#include "levada/detail/typed_table.h"

namespace levada::detail {

/// The times of one key's timers, ascending; one takes no memory of its own.
class TimerList {
 public:
  TimerList() = default;
  TimerList(TimerList&& other) noexcept { swap(other); }
  TimerList& operator=(TimerList&& other) noexcept {
    swap(other);
    return *this;
  }
  ~TimerList() { release(); }

  const std::int64_t* begin() const { return capacity_ == 0 ? &one_ : many_; }
  const std::int64_t* end() const { return begin() + size_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool contains(std::int64_t time) const { return std::binary_search(begin(), end(), time); }
  std::size_t heap_bytes() const { return capacity_ * sizeof(std::int64_t); }

  /// False when it was there already.
  bool insert(std::int64_t time) {
    const std::size_t at = place_of(time);
    if (at < size_ && data()[at] == time) return false;
    if (size_ == std::max<std::uint32_t>(capacity_, 1)) grow();
    std::int64_t* times = data();
    std::memmove(times + at + 1, times + at, (size_ - at) * sizeof *times);
    times[at] = time;
    ++size_;
    return true;
  }
  /// False when it was not there.
  bool erase(std::int64_t time) {
    const std::size_t at = place_of(time);
    std::int64_t* times = data();
    if (at == size_ || times[at] != time) return false;
    std::memmove(times + at, times + at + 1, (size_ - at - 1) * sizeof *times);
    --size_;
    return true;
  }

 private:
  std::int64_t* data() { return capacity_ == 0 ? &one_ : many_; }
  std::size_t place_of(std::int64_t time) const {
    return static_cast<std::size_t>(std::lower_bound(begin(), end(), time) - begin());
  }
  void grow() {
    const std::uint32_t capacity = std::max<std::uint32_t>(4, 2 * capacity_);
    auto* more = new std::int64_t[capacity];
    std::copy(begin(), end(), more);
    release();
    many_ = more;
    capacity_ = capacity;
  }
  void release() {
    if (capacity_ != 0) delete[] many_;
    capacity_ = 0;
  }
  void swap(TimerList& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(one_, other.one_);  // as wide as the pointer
  }

  static_assert(sizeof(std::int64_t) == sizeof(std::int64_t*));

  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 0;  // 0: the only time is in one_
  union {
    std::int64_t one_ = 0;
    std::int64_t* many_;
  };
};

}  // namespace levada::detail

namespace levada {

template <>
struct Serde<detail::TimerList> {
  static void write(const detail::TimerList& list, Bytes& out) {
    put_varint(out, list.size());
    for (const std::int64_t time : list) put_number(out, time);
  }
  static void read(View& in, detail::TimerList& into) {
    into = detail::TimerList();
    const std::uint64_t count = in.take_varint();
    for (std::uint64_t i = 0; i < count; ++i) into.insert(in.take_number<std::int64_t>());
  }
  static std::string schema() { return "timers [timestamp]"; }
  static std::size_t heap_bytes(const detail::TimerList& list) { return list.heap_bytes(); }
};

}  // namespace levada

namespace levada::detail {

// The names of the states, as checkpoints have them.
inline constexpr const char* kEventTimers = "timers/event";
inline constexpr const char* kProcessingTimers = "timers/processing";

template <class K>
struct Timer {
  std::int64_t time_us = 0;
  std::uint64_t hash = 0;
  K key{};
  std::size_t key_heap_bytes = 0;  ///< when it came: moves may leave a string with more room than it needs
};

template <class K>
class TimerQueue {
 public:
  using Table = TypedTable<K, TimerList>;

  TimerQueue(std::string name, const OperatorContext& context)
      : table_(name, context.node, context.key_groups, context.max_parallelism, context.memory->state()),
        space_(table_.space(0)),
        charge_(context.memory->state(), context.node + "." + name, context.evicting) {
    table_.overdraw(context);
  }

  /// Sets a timer of the key at hand; one that is set already stays as it is.
  void set(std::int64_t time_us, CurrentKey<K>& current) {
    auto& entry = table_.at(space_, current.hash(), current.view());
    const std::size_t before = entry.value.heap_bytes();
    if (!entry.value.insert(time_us)) return;
    table_.charge_change(space_, before, entry.value.heap_bytes());
    ++timers_;
    push({time_us, current.hash(), current.key(), 0});
  }

  /// Deletes a timer of the key at hand; nothing happens when there is none.
  void erase(std::int64_t time_us, CurrentKey<K>& current) {
    if (!erase(time_us, current.hash(), current.view())) return;
    if (heap_.size() > 2 * timers_ + kDeletedMax) rebuild();
  }

  /// When the first timer is due, or before, when it was deleted; nothing: there is none.
  std::optional<Timestamp> next() const {
    if (heap_.empty()) return std::nullopt;
    return Timestamp{Duration{heap_.front().time_us}};
  }

  /// Takes the first timer. False: it had been deleted. REQUIRES: next().
  bool take(Timer<K>& into) {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    into = std::move(heap_.back());
    heap_.pop_back();
    keys_heap_bytes_ -= into.key_heap_bytes;
    return erase(into.time_us, into.hash, Table::Key::view(into.key, key_bytes_));
  }

  void restore(const RestoredState& state, const OperatorContext& context) {
    state.read_table(table_, context.key_groups.first, context.key_groups.last);
    rebuild();
  }
  void snapshot(SnapshotContext& context) { context.put_table(table_); }
  StateTable& table() { return table_; }
  void prefetch(const std::uint64_t* hashes, std::size_t first, std::size_t last) {
    table_.prefetch(space_, hashes, first, last);
  }

 private:
  // Deleted timers that the heap may have beside as many as there are others.
  static constexpr std::size_t kDeletedMax = 1024;

  // By time, key group, key; the hash decides the key group, and a key's order within it.
  static bool later(const Timer<K>& a, const Timer<K>& b) {
    if (a.time_us != b.time_us) return a.time_us > b.time_us;
    if (a.hash != b.hash) return a.hash > b.hash;
    return key_after(a.key, b.key);
  }
  // Keys of one hash are the same, but for once in many years.
  static bool key_after(const K& a, const K& b) {
    Bytes bytes_a, bytes_b;
    Serde<K>::write(a, bytes_a);
    Serde<K>::write(b, bytes_b);
    return bytes_a > bytes_b;
  }

  bool erase(std::int64_t time_us, std::uint64_t hash, typename Table::KeyView key) {
    const auto* found = table_.find(space_, hash, key);
    if (found == nullptr || !found->value.contains(time_us)) return false;
    --timers_;
    if (found->value.size() == 1) return table_.remove(space_, hash, key);
    return table_.at(space_, hash, key).value.erase(time_us);
  }

  void push(Timer<K> timer) {
    count_key(timer);
    heap_.push_back(std::move(timer));
    std::push_heap(heap_.begin(), heap_.end(), later);
    charge();
  }

  void rebuild() {
    heap_.clear();
    timers_ = keys_heap_bytes_ = 0;
    for (auto& group : space_.groups) {
      table_.each_live(space_, group, [&](auto& entry) {
        const std::uint64_t hash = entry.key.hash();
        for (const std::int64_t time_us : entry.value) {
          Timer<K>& timer = heap_.emplace_back(Timer<K>{time_us, hash, K{}, 0});
          entry.key.copy_to(timer.key);
          count_key(timer);
        }
      });
    }
    timers_ = heap_.size();
    std::make_heap(heap_.begin(), heap_.end(), later);
    charge();
  }

  void count_key(Timer<K>& timer) {
    timer.key_heap_bytes = heap_bytes_of(timer.key);
    keys_heap_bytes_ += timer.key_heap_bytes;
  }
  void charge() { charge_.set(heap_.capacity() * sizeof(Timer<K>) + keys_heap_bytes_); }

  Table table_;
  typename Table::Space& space_;
  std::vector<Timer<K>> heap_;  // the first one is at its front
  std::size_t timers_ = 0;      // of the table
  std::size_t keys_heap_bytes_ = 0;
  MemoryCharge charge_;
  Bytes key_bytes_;
};

}  // namespace levada::detail
