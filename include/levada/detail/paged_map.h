// PagedMap: the place of a MapState in a job with a cold tier. A small map is one value of its key, as without a
// tier. A larger one lies in pages, in the order of its keys, each an entry of a table of its own, with a directory
// that says where each page begins: so what a row touches of it, a checkpoint writes and the tier brings back is a
// page, not the map.
//
//   state/NAME      key -> map                 small maps
//   directory/NAME  key -> pages of its map    large ones; a key is in one of the two
//   pages/NAME      (key, page) -> map         the entries of a page
//
// Savepoints have whole maps, as jobs without a tier write them.
//
// Threads:    of the subtask.
// Invariants: 1. A page has the entries from its `first` up to that of the next one; the first page has also what
//                is less.
//             2. With a time to live, a page or directory that is missing had nothing that lives: no entry of a page
//                was updated after its `updated_us`. What a new page finds of an earlier life, it replaces.
//             3. Entries stay where they are in memory when they move to another page, and no page leaves memory
//                before the function returns.
//             4. A change that an error has cut short is in no snapshot: `torn_`.
// Cost:       a look-up that of the directory and of one page; a directory grows by an entry for some 4 KiB.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "levada/detail/keyed_state.h"

namespace levada::detail {

/// The key of a page: in the key group of the key whose map it is of.
template <class K>
struct PageKey {
  K key{};
  std::uint64_t page = 0;
  bool operator==(const PageKey&) const = default;
};

/// The hash of a page of a key that has this hash.
inline std::uint64_t page_hash(std::uint64_t hash, std::uint64_t page) {
  constexpr std::uint64_t kGroupBits = ~std::uint64_t{0} << 32;
  return (hash & kGroupBits) | (mix(hash ^ mix(page)) & ~kGroupBits);
}

/// Where the entries of a large map are.
template <class MK, bool kTimed>
struct MapDirectory {
  static constexpr bool kExpires = kTimed;
  struct Page {
    MK first{};
    std::uint64_t number = 0;
    std::int64_t updated_us = INT64_MAX;  ///< no entry was updated after that
    std::size_t key_bytes = 0;            ///< what `first` holds outside itself
  };
  std::vector<Page> pages;     ///< ascending
  std::uint64_t greatest = 0;  ///< number that was given
  std::size_t keys_heap_bytes = 0;

  /// The page where an entry of that key belongs.
  std::size_t page_of(const MK& key) const {
    // The first page has also what is less than its `first`, and after a split of that the second may begin there.
    const auto after = std::upper_bound(pages.begin() + 1, pages.end(), key,
                                        [](const MK& k, const Page& page) { return k < page.first; });
    return static_cast<std::size_t>(after - pages.begin()) - 1;
  }
  void insert(std::size_t at, MK first, std::uint64_t number, std::int64_t updated_us) {
    const std::size_t bytes = heap_bytes_of(first);
    keys_heap_bytes += bytes;
    greatest = std::max(greatest, number);
    pages.insert(pages.begin() + static_cast<std::ptrdiff_t>(at), Page{std::move(first), number, updated_us, bytes});
  }
  void erase(std::size_t at) {
    keys_heap_bytes -= pages[at].key_bytes;
    pages.erase(pages.begin() + static_cast<std::ptrdiff_t>(at));
  }

  bool has_expired(std::int64_t before) const {
    return std::all_of(pages.rbegin(), pages.rend(), [&](const Page& page) { return page.updated_us <= before; });
  }
  bool forget(std::int64_t before) const { return has_expired(before); }
  bool write_unexpired(Bytes& out, std::int64_t before) const;
};

[[noreturn]] void throw_page_missing(std::string_view state);
[[noreturn]] void throw_map_torn(std::string_view state);

/// The pages of a state's large maps. What is asked for stays where it is until the function returns.
template <class K, class MK, class MV, bool kTimed>
class MapPages final : public StateStore<PageKey<K>, StoredMap<MK, MV, kTimed>>, private ColdState<K> {
 public:
  using Map = StoredMap<MK, MV, kTimed>;
  using Entry = typename Map::Entries::value_type;
  using Base = StateStore<PageKey<K>, Map>;

  MapPages(const KeyedMember& member, KeyedScope<K>& scope)
      : Base(map_pages_name(member.name()), member, scope), scope_(scope) {
    scope.cold.push_back(this);
  }

  /// The page of the key at hand; null when there is none.
  const Map* find(std::uint64_t page) {
    touch();
    const std::uint64_t hash = look_for(page);
    const auto* entry = table_.find(space_, hash, view());
    return entry == nullptr ? nullptr : &entry->value;
  }
  /// The same, but what is in the tier stays there: `scratch` may hold it.
  const Map* read(std::uint64_t page, Map& scratch) {
    const std::uint64_t hash = look_for(page);
    return table_.read(space_, hash, view(), scratch);
  }
  /// The page, to be changed in what it holds no memory for; made when there is none.
  Map& at(std::uint64_t page) {
    touch();
    const std::uint64_t hash = look_for(page);
    return table_.at(space_, hash, view()).value;
  }
  /// Calls f(map) for a page that is changed by it; made when there is none.
  template <class F>
  void change(std::uint64_t page, F f) {
    Map& map = at(page);
    const std::size_t bytes = heap_bytes_of(map);
    f(map);
    table_.charge_change(space_, bytes, heap_bytes_of(map));
  }
  void remove(std::uint64_t page) {
    const std::uint64_t hash = look_for(page);
    table_.remove(space_, hash, view());
  }

  /// An entry and its page, both made when they are not there.
  struct Reached {
    Map* page;
    Entry* entry;
    bool page_was_there;
  };
  Reached reach(std::uint64_t page, const MK& key) {
    Reached reached{};
    change(page, [&](Map& map) {
      const bool was_there = !map.entries.empty();
      const auto [found, fresh] = map.entries.try_emplace(key);
      if (fresh) map.parts_heap_bytes += Map::heap_bytes_of_entry(*found);
      reached = {&map, &*found, was_there};
    });
    return reached;
  }
  void assign(std::uint64_t page, Entry& entry, MV&& value) {
    const std::size_t known = open_.accounted(entry);
    change(page, [&](Map& map) {
      value_of(entry.second) = std::move(value);
      map.parts_heap_bytes += heap_bytes_of(entry.second) - known;
    });
    open_.note_accounted(entry);
  }
  /// REQUIRES: there is such an entry.
  void erase(std::uint64_t page, const MK& key) {
    account();
    change(page, [&](Map& map) {
      const auto found = map.entries.find(key);
      open_.forget(*found);
      map.erase(found);
    });
  }

  /// The entries whose values the function may change.
  OpenEntries<MK, MV, kTimed>& open() { return open_; }
  /// What open entries have come to hold is charged.
  void account() {
    open_.account([&](std::uint64_t page, std::size_t bytes) {
      change(page, [&](Map& map) { map.parts_heap_bytes += bytes; });
    });
  }

  void settle() override {
    account();
    open_.clear();
    touched_ = false;
    // The rows that were made ready before may want many pages.
    if (table_.memory_bytes() > roomy_bytes_ + kRoomBytes) make_room();
  }

 private:
  using Base::key_bytes_;
  using Base::space_;
  using Base::table_;
  using Key = typename Base::Table::Key;
  static constexpr std::size_t kRoomBytes = std::size_t{1} << 20;

  void make_ready(const KeyColumn<K>&, const std::uint64_t*, std::size_t, std::size_t) override { make_room(); }
  void make_room() override {
    table_.make_room(space_);
    roomy_bytes_ = table_.memory_bytes();
  }

  void touch() {
    if (std::exchange(touched_, true)) return;
    scope_.changed.push_back(this);
  }
  // view() is the page's key then.
  std::uint64_t look_for(std::uint64_t page) {
    page_key_.key = scope_.current.key();
    page_key_.page = page;
    return page_hash(scope_.current.hash(), page);
  }
  typename Base::Table::KeyView view() { return Key::view(page_key_, key_bytes_); }

  KeyedScope<K>& scope_;
  PageKey<K> page_key_;
  OpenEntries<MK, MV, kTimed> open_;
  bool touched_ = false;  // since the function was called
  std::size_t roomy_bytes_ = 0;  // in memory when room was made
};

/// The directories of a state's large maps.
template <class K, class MK, bool kTimed>
class MapDirectories final : public KeyedTable<K, MapDirectory<MK, kTimed>> {
 public:
  using Directory = MapDirectory<MK, kTimed>;

  MapDirectories(const KeyedMember& member, KeyedScope<K>& scope)
      : KeyedTable<K, Directory>(map_directory_name(member.name()), member, scope) {}

  /// The directory, made when there is none, to be changed.
  Directory& at() {
    bool created;
    return this->entry_at(created).value;
  }
  void remove() { this->remove_entry(); }
};

template <class K, class MK, class MV, bool kTimed>
class PagedMap final : public BoundState, public MapAccess<MK, MV>, private StateLookUp {
 public:
  using Map = StoredMap<MK, MV, kTimed>;
  using Directory = MapDirectory<MK, kTimed>;
  using typename MapAccess<MK, MV>::Visit;

  PagedMap(const KeyedMember& member, KeyedScope<K>& scope)
      : name_(state_table_name(member.name())),
        scope_(scope),
        small_(member, scope),
        directories_(member, scope),
        pages_(member, scope) {}

  // ---- MapAccess

  const MV* find(const MK& key) override {
    const Directory* const directory = find_directory();
    if (directory == nullptr) return small_.find(key);
    const std::size_t place = directory->page_of(key);
    const Map* const page = page_at(directory->pages[place].number);
    if (page == nullptr) return nullptr;
    const auto found = page->entries.find(key);
    if (found == page->entries.end() || has_expired(found->second)) return nullptr;
    if (!refreshes()) return &value_of(found->second);
    torn_ = true;
    const MV* const value = &value_of(reach(place, key).entry->second);
    torn_ = false;
    return value;
  }

  MV& at(const MK& key) override {
    const Directory* const directory = find_directory();
    if (directory == nullptr) {
      MV& value = small_.at(key);
      if (is_large(*small_.find_kept())) move_out();
      return value;
    }
    const std::size_t place = directory->page_of(key);
    const std::uint64_t number = directory->pages[place].number;
    torn_ = true;
    const auto [page, entry, was_there] = reach(place, key);
    pages_.open().add(number, *entry);
    if (is_large(*page)) split(place, key);
    torn_ = false;
    return value_of(entry->second);
  }

  void put(const MK& key, MV&& value) override {
    const Directory* const directory = find_directory();
    if (directory == nullptr) {
      small_.put(key, std::move(value));
      if (is_large(*small_.find_kept())) move_out();
      return;
    }
    const std::size_t place = directory->page_of(key);
    const std::uint64_t number = directory->pages[place].number;
    torn_ = true;
    const auto [page, entry, was_there] = reach(place, key);
    pages_.assign(number, *entry, std::move(value));
    if (is_large(*page)) split(place, key);
    torn_ = false;
  }

  bool erase(const MK& key) override {
    const Directory* const directory = find_directory();
    if (directory == nullptr) return small_.erase(key);
    const std::size_t place = directory->page_of(key);
    const std::uint64_t number = directory->pages[place].number;
    const Map* const page = page_at(number);
    if (page == nullptr) return false;
    const auto found = page->entries.find(key);
    if (found == page->entries.end()) return false;
    const bool lived = !has_expired(found->second);
    torn_ = true;
    pages_.erase(number, key);
    tidy(place);
    torn_ = false;
    return lived;
  }

  void scan(const MK* from, const MK* to, const Visit& visit) override {
    const Directory* const directory = find_directory();
    if (directory == nullptr) return small_.scan(from, to, visit);
    if (from != nullptr && to != nullptr && !(*from < *to)) return;
    const std::size_t first = from == nullptr ? 0 : directory->page_of(*from);
    const std::size_t last = to == nullptr ? directory->pages.size() : directory->page_of(*to) + 1;
    const bool stays = !refreshes() && last - first > kKeptOfScan;
    Map scratch;
    for (std::size_t place = first; place < last; ++place) {
      const std::uint64_t number = directory->pages[place].number;
      const Map* page = stays ? pages_.read(number, scratch) : pages_.find(number);
      if (page == nullptr) {
        check_missing();
        continue;
      }
      if (refreshes()) {
        note_update(place);
        page = &pages_.at(number);
      }
      if (!visit_entries(*page, from, to, visit)) return;
    }
  }

  void clear() override {
    const Directory* const directory = find_directory();
    if (directory == nullptr) return small_.clear();
    torn_ = true;
    pages_.open().clear();
    for (const auto& page : directory->pages) pages_.remove(page.number);
    directories_.remove();
    torn_ = false;
  }

  // ---- BoundState

  void restore(const RestoredState& state, const OperatorContext& context) override {
    small_.restore(state, context);
    directories_.restore(state, context);
    pages_.restore(state, context);
  }
  void snapshot(SnapshotContext& context) override {
    check_whole();
    small_.snapshot(context);
    directories_.snapshot(context);
    pages_.snapshot(context);
  }
  StateLookUp* look_up() override { return this; }
  void prefetch(const std::uint64_t* hashes, std::size_t first, std::size_t last) override {
    small_.prefetch(hashes, first, last);
  }
  void clean(std::size_t slots) override {
    small_.clean(slots);
    directories_.clean(slots);
    pages_.clean(slots);
  }

 private:
  // What a page holds in memory at most, once it has more than kEntriesMin entries.
  static constexpr std::size_t kPageBytes = 4096;
  static constexpr std::size_t kEntriesMin = 4;
  // A page with less than this part of it is put together with one beside it.
  static constexpr std::size_t kSmallPart = 4;
  // A scan of more pages leaves them in the tier.
  static constexpr std::size_t kKeptOfScan = 8;

  static bool is_large(const Map& map) {
    return map.entries.size() > kEntriesMin && heap_bytes_of(map) > kPageBytes;
  }

  std::int64_t now() const { return small_.now(); }
  bool refreshes() const { return kTimed && small_.refreshes(); }
  template <class Stored>
  bool has_expired(const Stored& stored) const {
    if constexpr (kTimed) {
      return stored.has_expired(small_.before());
    } else {
      static_cast<void>(stored);
      return false;
    }
  }
  // What is updated by now, or soon: it is not noted each time.
  std::int64_t update_bound() const { return kTimed ? now() + small_.ttl_us() / 8 : INT64_MAX; }

  // Of the key at hand; null when its map is small, or there is none. A key is in one of the two tables, so the tier
  // is asked only when neither has it.
  const Directory* find_directory() {
    check_whole();
    if (!scope_.current.there()) [[unlikely]] throw_no_key(name_);
    if (small_.peek_kept() != nullptr) return nullptr;
    if (const Directory* const known = directories_.peek_kept()) return known;
    return small_.find_kept() != nullptr ? nullptr : directories_.find_kept();
  }
  // Null when the page was too old.
  const Map* page_at(std::uint64_t number) {
    const Map* const page = pages_.find(number);
    if (page == nullptr) check_missing();
    return page;
  }
  void check_missing() const {
    if constexpr (!kTimed) throw_page_missing(name_);
  }
  // What an error has cut short, the function may go on after.
  void check_whole() const {
    if (torn_) [[unlikely]] throw_map_torn(name_);
  }

  // An entry of a large map, made when it is not there or is too old, and its page.
  auto reach(std::size_t place, const MK& key) {
    if constexpr (kTimed) note_update(place);
    const std::uint64_t number = directories_.find_kept()->pages[place].number;
    const auto reached = pages_.reach(number, key);
    if (!reached.page_was_there) check_missing();
    if constexpr (kTimed) {
      auto& stored = reached.entry->second;
      const bool fresh = stored.updated_us == INT64_MIN;
      if (!fresh && has_expired(stored)) {
        pages_.open().add(number, *reached.entry);
        stored.value = MV{};
      }
      stored.updated_us = now();
    }
    return reached;
  }
  void note_update(std::size_t place) {
    if (directories_.find_kept()->pages[place].updated_us >= now()) return;
    directories_.at().pages[place].updated_us = update_bound();
  }

  static Map last_entries(Map& map, std::size_t count) {
    Map taken;
    for (; count > 0; --count) {
      const auto last = std::prev(map.entries.end());
      const std::size_t bytes = Map::heap_bytes_of_entry(*last);
      map.parts_heap_bytes -= bytes;
      taken.parts_heap_bytes += bytes;
      taken.entries.insert(taken.entries.begin(), map.entries.extract(last));
    }
    return taken;
  }

  // A small map has become large.
  void move_out() {
    torn_ = true;
    std::vector<const MK*> opened;
    taken_ = small_.take(opened);
    Directory& directory = directories_.at();
    directory = Directory{};
    const std::size_t in_page = std::max(
        kEntriesMin, taken_.entries.size() * (kPageBytes / 2) / std::max(heap_bytes_of(taken_), kPageBytes));
    for (std::uint64_t number = 1; !taken_.entries.empty(); ++number) {
      moving_ = last_entries(taken_, std::min(in_page, taken_.entries.size()));
      directory.insert(directory.pages.size(), moving_.entries.begin()->first, number, update_bound());
      put_moving(number);
    }
    std::reverse(directory.pages.begin(), directory.pages.end());
    for (const MK* const key : opened) {
      const std::uint64_t number = directory.pages[directory.page_of(*key)].number;
      pages_.open().add(number, *pages_.reach(number, *key).entry);
    }
    torn_ = false;
  }

  // A page has become large: its upper half goes to a new one, or only the last entry when that is the newest:
  // keys that ascend leave full pages.
  void split(std::size_t place, const MK& newest) {
    torn_ = true;
    pages_.account();
    Directory& directory = directories_.at();
    if constexpr (kTimed) forget_pages(directory, place);
    const std::uint64_t from = directory.pages[place].number, to = directory.greatest + 1;
    pages_.change(from, [&](Map& map) {
      const bool ascending = !(newest < std::prev(map.entries.end())->first);
      moving_ = last_entries(map, ascending ? 1 : map.entries.size() / 2);
    });
    const MK first = moving_.entries.begin()->first;
    directory.insert(place + 1, first, to, directory.pages[place].updated_us);
    put_moving(to);
    pages_.open().moved(from, to, first);
    torn_ = false;
  }

  // The pages but `kept` that have expired; that moves to where it is then.
  void forget_pages(Directory& directory, std::size_t& kept) {
    const std::uint64_t number = directory.pages[kept].number;
    std::erase_if(directory.pages, [&](const auto& page) {
      if (page.number == number || page.updated_us > small_.before()) return false;
      pages_.remove(page.number);
      directory.keys_heap_bytes -= page.key_bytes;
      return true;
    });
    const auto same = [&](const auto& page) { return page.number == number; };
    kept = static_cast<std::size_t>(std::find_if(directory.pages.begin(), directory.pages.end(), same) -
                                    directory.pages.begin());
  }

  // After an entry has gone from a page.
  void tidy(std::size_t place) {
    const Directory& directory = *directories_.find_kept();
    const std::uint64_t number = directory.pages[place].number;
    const Map& page = *pages_.find(number);
    if (page.entries.empty()) {
      pages_.remove(number);
      directories_.at().erase(place);
    } else if (heap_bytes_of(page) * kSmallPart < kPageBytes && directory.pages.size() > 1) {
      join(place > 0 ? place - 1 : 0);
    }
    if (directory.pages.empty()) return directories_.remove();
    if (directory.pages.size() == 1) become_small();
  }

  // Puts the page and the next one together when they are small.
  void join(std::size_t place) {
    Directory& directory = directories_.at();
    auto& lower = directory.pages[place];
    const auto& upper = directory.pages[place + 1];
    const auto bytes_of = [&](std::uint64_t number) {
      const Map* const page = page_at(number);
      return page == nullptr ? 0 : heap_bytes_of(*page);
    };
    const std::size_t moving = bytes_of(upper.number);
    if ((moving + bytes_of(lower.number)) * 2 > kPageBytes) return;
    if (moving > 0) {
      take(upper.number);
      pages_.change(lower.number, [&](Map& map) {
        map.parts_heap_bytes += moving_.parts_heap_bytes;
        map.entries.merge(moving_.entries);
      });
      moving_ = Map{};
      pages_.open().moved(upper.number, lower.number, upper.first);
    }
    lower.updated_us = std::max(lower.updated_us, upper.updated_us);
    directory.erase(place + 1);
  }

  // The only page becomes a small map when it has room to grow as such.
  void become_small() {
    const std::uint64_t only = directories_.find_kept()->pages.front().number;
    const Map* const rest = page_at(only);
    if (rest != nullptr && heap_bytes_of(*rest) * 2 > kPageBytes) return;
    if (rest != nullptr) take(only);
    const std::vector<const MK*> opened = pages_.open().keys();
    pages_.open().clear();
    directories_.remove();
    if (moving_.entries.empty()) return;
    small_.give(std::exchange(moving_, Map{}));
    for (const MK* const key : opened) small_.at(*key);
  }

  // Makes the page the entries that move, and the other way round.
  void put_moving(std::uint64_t number) {
    pages_.change(number, [&](Map& map) { map = std::exchange(moving_, Map{}); });
  }
  void take(std::uint64_t number) {
    pages_.account();
    pages_.change(number, [&](Map& map) { moving_ = std::exchange(map, Map{}); });
    pages_.remove(number);
  }

  // `visit` may read the map, which may move the page, but not its entries.
  bool visit_entries(const Map& page, const MK* from, const MK* to, const Visit& visit) const {
    auto at = from == nullptr ? page.entries.begin() : page.entries.lower_bound(*from);
    const auto end = to == nullptr ? page.entries.end() : page.entries.lower_bound(*to);
    for (auto left = std::distance(at, end); left > 0; --left) {
      const auto& [key, stored] = *at;
      if (!has_expired(stored)) {
        if constexpr (kTimed) {
          if (refreshes()) const_cast<Expiring<MV>&>(stored).updated_us = now();
        }
        if (!visit(key, value_of(stored))) return false;
      }
      if (left > 1) ++at;
    }
    return true;
  }

  // ---- StateLookUp

  std::string_view name() const override { return name_; }
  bool find_value(std::int64_t name_space, std::uint64_t hash, View key, Bytes& value) override {
    check_whole();
    if (small_.look_up()->find_value(name_space, hash, key, value)) return true;
    if (name_space != 0) return false;
    K typed{};
    Serde<K>::read(key, typed);
    scope_.current.set(typed, hash);
    const struct End {
      CurrentKey<K>& current;
      ~End() { current.clear(); }
    } end{scope_.current};
    return write_whole(value);
  }
  bool write_whole(Bytes& out) {
    const Directory* const directory = directories_.find_kept();
    if (directory == nullptr) return false;
    Bytes entries;
    std::uint64_t count = 0;
    Map scratch;
    for (const auto& place : directory->pages) {
      const Map* const page = pages_.read(place.number, scratch);
      if (page == nullptr) {
        check_missing();
        continue;
      }
      for (const auto& [key, stored] : page->entries) write_parts(entries, key, stored);
      count += page->entries.size();
    }
    put_varint(out, count);
    out += entries;
    return count > 0;
  }

  const std::string name_;
  KeyedScope<K>& scope_;
  bool torn_ = false;  // an error has come in the midst of a change
  // Entries on their way from one place to another: here, for the function may have references to them when an error
  // comes.
  Map taken_, moving_;
  KeyedMap<K, MK, MV, kTimed> small_;
  MapDirectories<K, MK, kTimed> directories_;
  MapPages<K, MK, MV, kTimed> pages_;
};

template <class K, class MK, class MV>
std::unique_ptr<BoundState> bind_state(MapState<MK, MV>& member, KeyedScope<K>& scope) {
  if (scope.context->cold != nullptr) {
    return bind_keyed<PagedMap<K, MK, MV, true>, PagedMap<K, MK, MV, false>>(member, scope);
  }
  return bind_keyed<KeyedMap<K, MK, MV, true>, KeyedMap<K, MK, MV, false>>(member, scope);
}

}  // namespace levada::detail

namespace levada {

template <class K>
struct Serde<detail::PageKey<K>> {
  using Key = detail::PageKey<K>;
  static void write(const Key& key, Bytes& out) { detail::write_parts(out, key.key, key.page); }
  static void read(View& in, Key& into) { detail::read_parts(in, into.key, into.page); }
  static std::string schema() { return Serde<std::pair<K, std::uint64_t>>::schema(); }
  static std::uint64_t hash(const Key& key) { return detail::page_hash(hash_of(key.key), key.page); }
  static std::size_t heap_bytes(const Key& key)
    requires(!kFlat<K>)
  {
    return heap_bytes_of(key.key);
  }
};

template <class MK, bool kTimed>
struct Serde<detail::MapDirectory<MK, kTimed>> {
  using Directory = detail::MapDirectory<MK, kTimed>;
  using Parts = std::vector<std::tuple<MK, std::uint64_t, Timestamp>>;  // as which it is encoded
  static void write(const Directory& directory, Bytes& out) {
    put_varint(out, directory.pages.size());
    for (const auto& page : directory.pages) {
      detail::write_parts(out, page.first, page.number, page.updated_us);
    }
  }
  static void read(View& in, Directory& into) {
    into = {};
    for (std::uint64_t count = in.take_varint(); count > 0; --count) {
      MK first{};
      std::uint64_t number = 0;
      std::int64_t updated_us = 0;
      detail::read_parts(in, first, number, updated_us);
      into.insert(into.pages.size(), std::move(first), number, updated_us);
    }
  }
  static std::string schema() { return Serde<Parts>::schema(); }
  static std::size_t heap_bytes(const Directory& directory) {
    return directory.pages.capacity() * sizeof(typename Directory::Page) + directory.keys_heap_bytes;
  }
};

namespace detail {

template <class K>
struct StateParts<PageKey<K>> : KnownParts<K, std::uint64_t> {};
template <class MK, bool kTimed>
struct StateParts<MapDirectory<MK, kTimed>> : KnownParts<std::tuple<MK, std::uint64_t, Timestamp>> {};

template <class MK, bool kTimed>
bool MapDirectory<MK, kTimed>::write_unexpired(Bytes& out, std::int64_t before) const {
  if (has_expired(before)) return false;
  Serde<MapDirectory>::write(*this, out);
  return true;
}

}  // namespace detail
}  // namespace levada
