// OpenEntries: the entries of maps that a function has references to. What their values come to hold is accounted
// when the function has returned, or before the entries move or go.
//
// Threads: of the subtask.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "levada/detail/stored_state.h"
#include "levada/serde.h"

namespace levada::detail {

/// Entries of maps of MK and MV, by the page that each is in. Of values that hold nothing there are never any.
template <class MK, class MV, bool kTimed>
class OpenEntries {
 public:
  using Entry = typename StoredMap<MK, MV, kTimed>::Entries::value_type;

  void add(std::uint64_t page, Entry& entry) {
    if constexpr (!kFlat<MapValue<MV, kTimed>>) {
      if (find(entry) == open_.end()) open_.push_back({page, &entry, heap_bytes_of(entry.second)});
    }
  }
  bool empty() const { return open_.empty(); }
  /// Calls f(page, bytes) for each value that holds so many bytes more than was accounted; less wrap around.
  template <class F>
  void account(F f) {
    for (Open& open : open_) {
      const std::size_t bytes = heap_bytes_of(open.entry->second);
      if (bytes == open.bytes) continue;
      f(open.page, bytes - open.bytes);
      open.bytes = bytes;
    }
  }
  /// The bytes of an entry's value that are accounted.
  std::size_t accounted(Entry& entry) {
    const auto open = find(entry);
    return open == open_.end() ? heap_bytes_of(entry.second) : open->bytes;
  }
  /// All that an entry's value holds is accounted now.
  void note_accounted(Entry& entry) {
    const auto open = find(entry);
    if (open != open_.end()) open->bytes = heap_bytes_of(entry.second);
  }
  /// The entry goes.
  void forget(Entry& entry) {
    const auto open = find(entry);
    if (open != open_.end()) open_.erase(open);
  }
  /// Entries from `first` on have moved from one page to another.
  void moved(std::uint64_t from, std::uint64_t to, const MK& first) {
    for (Open& open : open_) {
      if (open.page == from && !(open.entry->first < first)) open.page = to;
    }
  }
  std::vector<const MK*> keys() const {
    std::vector<const MK*> keys;
    for (const Open& open : open_) keys.push_back(&open.entry->first);
    return keys;
  }
  void clear() { open_.clear(); }

 private:
  struct Open {
    std::uint64_t page;
    Entry* entry;
    std::size_t bytes;
  };

  auto find(const Entry& entry) {
    return std::find_if(open_.begin(), open_.end(), [&](const Open& open) { return open.entry == &entry; });
  }

  std::vector<Open> open_;
};

}  // namespace levada::detail
