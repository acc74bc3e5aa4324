// TypedTable<K, V>: keyed state in open-addressing tables, one per namespace and key group.
//
// An entry is {meta, key, value} in one place, and two entries are a bucket: a look-up looks at both
// without a branch between them, and at the next bucket only when both are taken by others. meta is
//   generation:14 tag:14 gone:1 age:2 captured:1
// gone and age are 0 but in tables with a cold tier (cold_side.h). A slot is taken when its generation is its
// space's: so a space is emptied by counting on, and its memory is used again as it is. The tag comes from the
// middle bits of the hash, the bucket from the low ones, the key group from the high ones: never the same bits.
// Growing moves one group.
//
// Snapshots: state_backend.h. A space's `phase` is the value of the captured bit that means captured; a
// snapshot that captures the space flips it. On the way of a row one comparison of meta says that the slot is taken and
// has the key's tag, and another, nearly always the same way, that it is to be captured first, or is aged or gone. A
// space that the sink keeps is not looked at. What rows capture goes to one log, and whoever takes that sorts it by key
// group. The scan goes on in short spans of slots (scan_exclusion.h): the task captures while it visits, and nothing of
// the span; what moves entries is between move() and moved().
//
// Threads:    of its task, but for scan().
// Invariants: 1. The captured bits of all live entries of a space that is not being captured equal its phase.
//             2. A namespace dropped while it is being captured stays until the snapshot has ended.
//             3. All memory of slots, of keys in arenas, and what values hold outside themselves, is
//                charged to the share; a charge that does not fit is a StateError, or makes entries leave for
//                the cold tier.
//             4. No slot between the first of a key's home bucket and the key is dead: a removed entry
//                leaves no gap, those behind it move up. So the first dead entry ends a search.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "levada/assert.h"
#include "levada/detail/block_buffer.h"
#include "levada/detail/cold_side.h"
#include "levada/detail/key_groups.h"
#include "levada/detail/scan_exclusion.h"
#include "levada/detail/slot_memory.h"
#include "levada/detail/stored_key.h"
#include "levada/error.h"
#include "levada/memory.h"
#include "levada/serde.h"
#include "levada/state_backend.h"
#include "levada/state_type.h"

namespace levada::detail {

/// Throws StateError: the state does not fit into its budget.
[[noreturn]] void throw_state_full(std::string_view state, std::size_t wanted_bytes,
                                   const MemoryShare& share);

struct NoTally {};

/// A value parts of which may be too old to be worth keeping: bool write_unexpired(Bytes&, before_us) appends its
/// encoding without what was last updated at or before that time, or says that nothing is left.
template <class V>
concept Expires = requires { requires V::kExpires; };

/// An entry of a table. A tallied one counts what its user wants to know: for keys of eight bytes it costs
/// nothing, since it lies where alignment leaves a gap.
template <class K, class V, bool kTallied>
struct TableEntry {
  using Key = StoredKey<K>;
  SharedBits meta;
  [[no_unique_address]] std::conditional_t<kTallied, std::uint32_t, NoTally> tally{};
  Key key{};
  V value{};
};

/// The entries of one key group in one namespace: a power of two of buckets, or nothing yet.
template <class Entry>
class EntryGroup {
 public:
  static constexpr std::size_t kBucketEntries = 2;

  EntryGroup() = default;
  EntryGroup(EntryGroup&& other) noexcept { swap(other); }
  EntryGroup& operator=(EntryGroup&& other) noexcept {
    swap(other);
    return *this;
  }
  ~EntryGroup() {
    if (entries_ == nullptr) return;
    std::destroy_n(entries_, slots());
    free_slots(entries_, slots() * sizeof(Entry), kAlignment);
  }

  explicit EntryGroup(std::size_t slots) : bucket_mask_(static_cast<std::uint32_t>(slots / 2 - 1)) {
    entries_ = static_cast<Entry*>(allocate_slots(slots * sizeof(Entry), kAlignment));
    std::uninitialized_value_construct_n(entries_, slots);
  }

  void swap(EntryGroup& other) noexcept {
    std::swap(entries_, other.entries_);
    std::swap(bucket_mask_, other.bucket_mask_);
    std::swap(size, other.size);
    std::swap(arena, other.arena);
  }

  std::size_t slots() const {
    return entries_ == nullptr ? 0 : kBucketEntries * (std::size_t{bucket_mask_} + 1);
  }
  bool empty() const { return entries_ == nullptr; }
  Entry& slot(std::size_t i) { return entries_[i]; }
  const Entry& slot(std::size_t i) const { return entries_[i]; }
  /// The bucket where the search for a hash begins. REQUIRES: !empty().
  Entry* home(std::uint64_t hash) { return entries_ + kBucketEntries * (hash & bucket_mask_); }
  Entry* next_bucket(Entry* bucket) {
    bucket += kBucketEntries;
    return bucket == entries_ + slots() ? entries_ : bucket;
  }

  std::uint32_t size = 0;  ///< live entries
  [[no_unique_address]] typename Entry::Key::Arena arena;  ///< of the keys that are kept as bytes

 private:
  // A bucket of two entries of 32 bytes is one cache line.
  static constexpr std::align_val_t kAlignment{std::max<std::size_t>(64, alignof(Entry))};

  Entry* entries_ = nullptr;
  std::uint32_t bucket_mask_ = 0;
};

template <class K, class V, bool kTallied = false>
class TypedTable final : public StateTable {
 public:
  using Entry = TableEntry<K, V, kTallied>;
  using Group = EntryGroup<Entry>;
  using Key = StoredKey<K>;
  using KeyType = K;
  using Value = V;
  using KeyView = typename Key::View;
  static constexpr bool kTally = kTallied;

  /// All groups of one namespace.
  struct Space {
    std::int64_t name = 0;
    CheckpointId changed_after = 0;  ///< the newest snapshot that had begun at the last change
    bool capturing = false;          ///< the snapshot under way still has to pass it
    bool dying = false;
    std::uint32_t phase = 0;
    bool cold = false;           ///< the cold tier may have entries of it
    std::uint32_t in_flight = 0;  ///< runs with entries of it on their way into the cold tier
    std::uint64_t id = 0;         ///< of this life of it
    std::uint32_t generation = 1;  ///< of taken slots; below 2^14
    std::size_t slot_bytes = 0;    ///< of all groups
    std::size_t arena_bytes = 0;   ///< of the keys of all groups
    std::size_t heap_bytes = 0;    ///< what live values hold outside themselves
    std::vector<Group> groups;
    BlockBuffer log;  ///< CapturedRows, not handed out yet, while it is being captured

    /// The slot is taken: it ends no search.
    bool taken(std::uint32_t meta) const { return meta >> kGenerationShift == generation; }
    bool taken(const Entry& entry) const { return taken(entry.meta); }
    /// The slot is taken by an entry that there is.
    bool lives(const Entry& entry) const {
      return (entry.meta & (kGenerationMask | kGoneBit)) == generation << kGenerationShift;
    }
  };

  TypedTable(std::string name, std::string owner, KeyGroupRange range, int max_parallelism,
             MemoryShare& share)
      : name_(std::move(name)),
        owner_(std::move(owner)),
        range_(range),
        max_parallelism_(static_cast<std::uint32_t>(max_parallelism)),
        share_(share) {}
  /// An operator's keyed state: with a cold tier, when the job has such.
  TypedTable(std::string name, const OperatorContext& context)
      : TypedTable(std::move(name), context.node, context.key_groups, context.max_parallelism,
                   context.memory->state()) {
    static_assert(!kTallied, "what is tallied is derived, and stays in memory");
    overdraws_ = context.evicting || context.cold != nullptr;
    if (context.cold != nullptr) {
      cold_ = std::make_unique<Cold>(*this, *context.cold, context.state_id);
    }
  }
  ~TypedTable() override { share_.release(acquired_bytes_); }

  /// In a job with cold tiers, a table takes memory beyond the share's limit: such a tier's tables make room.
  void overdraw(const OperatorContext& context) { overdraws_ = context.evicting; }

  // ---- spaces

  /// The space, made when it is not there.
  Space& space(std::int64_t name) {
    if (Space* known = find_space(name)) return *known;
    LEVADA_ASSERT(!spaces_.contains(name), "a dropped space does not come back");
    std::unique_ptr<Space> made = take_spare();
    made->name = name;
    made->id = ++space_ids_;
    mark_changed(*made);
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
    if (at == spaces_.end() || at->second->dying) return;
    if (cold_) cold_->forget(*at->second);
    if (at->second->capturing) {
      at->second->dying = true;
      return;
    }
    retire(at);
  }
  /// Empties a space and keeps its memory. REQUIRES: no snapshot is under way.
  void clear(Space& space) {
    LEVADA_DEBUG_ASSERT(sink_ == nullptr, "a snapshot may still have to pass a space that is cleared");
    LEVADA_ASSERT(!cold_, "tables with a cold tier drop their spaces");
    mark_changed(space);
    empty_out(space);
  }
  /// Leaves out the entries of a group for which keep(entry) is false, and makes it as small as it can be.
  /// REQUIRES: no snapshot is under way.
  template <class Keep>
  void sift(Space& space, Group& group, Keep keep) {
    LEVADA_DEBUG_ASSERT(sink_ == nullptr, "a snapshot wants every entry");
    LEVADA_ASSERT(!cold_, "entries leave a table with a cold tier for that");
    mark_changed(space);
    std::size_t kept = 0;
    each_live(space, group, [&](Entry& entry) { kept += keep(entry); });
    std::size_t slots = kSlotsMin;
    while (kept * 2 > slots) slots *= 2;
    charge(slots * sizeof(Entry));
    space.slot_bytes += slots * sizeof(Entry);
    Group sifted(slots);
    for (std::size_t i = 0; i < group.slots(); ++i) {
      Entry& entry = group.slot(i);
      if (!space.lives(entry)) continue;
      if (keep(entry)) {
        store_key(space, sifted, entry, entry.key.view());
        move_into(space, sifted, entry);
      } else if constexpr (!kFlat<V>) {
        charge_change(space, heap_bytes_of(entry.value), 0);
      }
    }
    drop_memory(space, group);
    group.swap(sifted);
    ++layout_;
  }

  std::size_t group_count() const { return range_.last - range_.first; }
  std::size_t group_index(std::uint64_t hash) const {
    return key_group_of(hash, max_parallelism_) - range_.first;
  }
  Group& group_of(Space& space, std::uint64_t hash) { return space.groups[group_index(hash)]; }

  // ---- entries

  /// The entry of the key, made with a default value when it is not there, ready to be written.
  Entry& at(Space& space, std::uint64_t hash, KeyView key) {
    if (cold_) cold_->fetch_one(space, hash, key);
    mark_changed(space);
    return find_or_insert(space, hash, key);
  }

  /// The entry of the key, to be read; null when there is none.
  const Entry* find(Space& space, std::uint64_t hash, KeyView key) {
    if (cold_) cold_->fetch_one(space, hash, key);
    return peek(space, hash, key);
  }

  /// The value of the key, to be read, without bringing its entry into the table: `scratch` may hold it. Null when
  /// there is none.
  const V* read(Space& space, std::uint64_t hash, KeyView key, V& scratch) {
    const Entry* const entry = look_up(space, hash, key);
    if (entry != nullptr) return space.lives(*entry) ? &entry->value : nullptr;
    return cold_ && cold_->read(space, hash, key, scratch) ? &scratch : nullptr;
  }
  /// The entry of the key, to be read, when the table has it; the tier is not asked.
  const Entry* peek(Space& space, std::uint64_t hash, KeyView key) {
    const Entry* const entry = look_up(space, hash, key);
    return entry != nullptr && space.lives(*entry) ? entry : nullptr;
  }

  /// The entry of the key, ready to be written, when it is there and a look at one bucket is enough to find it; else
  /// null, and at() is to be asked. Inlined where rows pass.
  Entry* at_home(Space& space, std::uint64_t hash, KeyView key) {
    const std::size_t index = group_index(hash);
    Group& group = space.groups[index];
    Entry* entry = group.empty() ? nowhere_ : group.home(hash);
    const std::uint32_t meta = space.generation << kGenerationShift | space.phase | tag_of(hash);
    entry += !same_tag(entry->meta, meta);
    const std::uint32_t found = entry->meta;
    if (!same_tag(found, meta) || (found & kGoneBit) != 0 || !(entry->key == key)) return nullptr;
    mark_changed(space);
    if (found != meta) make_writable(space, index, *entry, found);
    return entry;
  }

  /// Asks for the memory in which the search for hashes [first, last) begins.
  void prefetch(Space& space, const std::uint64_t* hashes, std::size_t first, std::size_t last) {
    if (space.slot_bytes <= kNearBytes) return;
    for (std::size_t i = first; i < last; ++i) {
      Group& group = group_of(space, hashes[i]);
      if (!group.empty()) prefetch_bucket(group.home(hashes[i]));
    }
    asm volatile("");  // g++ takes a function that only prefetches for one without effect, and drops calls of it
  }

  /// Removes the entry of the key; false when there is none. Entries of the group may move: what at() or
  /// find() returned of it, and what keys of it were views of, must not be used any more.
  bool remove(Space& space, std::uint64_t hash, KeyView key) {
    if (cold_) cold_->fetch_one(space, hash, key);
    Entry* const entry = look_up(space, hash, key);
    if (entry == nullptr || !space.lives(*entry)) return false;
    mark_changed(space);
    const std::size_t index = group_index(hash);
    keep_for_snapshot(space, index, *entry);
    if (cold_ && cold_->may_have(space)) {
      bury(space, *entry);
    } else {
      erase(space, space.groups[index], *entry);
    }
    return true;
  }

  /// The next snapshot leaves out what was last updated at or before this time; a cold tier may drop it.
  void leave_out(std::int64_t before_us)
    requires Expires<V>
  {
    left_out_us_ = before_us;
    if (cold_) cold_->expire(before_us);
  }

  /// Calls f(i, at(space, hashes[i], key_at(i))) for i in [first, last), in order. The way of rows: buckets
  /// are found and fetched some rows ahead, and an entry that is where it should be costs no call. `f` waits for none.
  template <class KeyAt, class F>
  void visit(Space& space, const std::uint64_t* hashes, KeyAt key_at, std::size_t first,
             std::size_t last, F f) {
    if (cold_) [[unlikely]] cold_->make_ready(space, hashes, key_at, first, last);
    mark_changed(space);
    const Visiting visiting(*this, space.capturing);
    if (space.slot_bytes > kNearBytes) {
      visit_rows<true>(space, hashes, key_at, first, last, f);
    } else {
      visit_rows<false>(space, hashes, key_at, first, last, f);
    }
  }

  /// Writes the numbers of live slots of a group, from `slot` on, into `found`, at most `max`; `slot` moves
  /// to the first one not looked at. Returns how many were written: fewer than `max` does not mean the end.
  std::size_t live_slots(const Space& space, const Group& group, std::size_t& slot,
                         std::uint32_t* found, std::size_t max) const {
    return list_slots(group, slot, found, max, [&](const Entry& entry) { return space.lives(entry); });
  }

  /// Calls f(entry) for each live entry of a group. `f` must not add any to it.
  template <class F>
  void each_live(Space& space, Group& group, F f) {
    std::uint32_t found[kBlock];
    for (std::size_t slot = 0; slot < group.slots();) {
      const std::size_t count = live_slots(space, group, slot, found, kBlock);
      for (std::size_t i = 0; i < count; ++i) f(group.slot(found[i]));
    }
  }

  /// For tables that at(), find() and remove() are called of, which let no entry leave for the cold tier: lets
  /// entries leave when memory is wanted, and brings those of the keys of rows [first, last) into the table.
  template <class KeyAt>
  void make_ready(Space& space, const std::uint64_t* hashes, KeyAt key_at, std::size_t first, std::size_t last) {
    if (cold_) cold_->make_ready(space, hashes, key_at, first, last);
  }
  /// The same without rows.
  void make_room(Space& space) {
    if (cold_) cold_->make_room(space);
  }
  bool has_cold_tier() const { return cold_ != nullptr; }

  /// Brings all entries of a group that are in the cold tier into the table, for a walk over them; unload()
  /// lets go of them again. Nothing is done without a cold tier. Between the two, rows may not be visited.
  void load(Space& space, Group& group) {
    if (cold_) cold_->load(space, group);
  }
  void unload(Space& space, Group& group) {
    if (cold_) cold_->unload(space, group);
  }

  /// Charges what a value has come to hold outside itself.
  void charge_change(Space& space, std::size_t before, std::size_t after) {
    if (after > before) charge(after - before);
    if (after < before) uncharge(before - after);
    space.heap_bytes += after - before;
  }

  // ---- StateTable

  std::string_view name() const override { return name_; }
  std::string schema() const override { return Serde<K>::schema() + " -> " + Serde<V>::schema(); }
  std::vector<const StateType*> types() const override { return {&state_type<K>(), &state_type<V>()}; }
  std::size_t entries() const override {
    std::size_t count = 0;
    for (const auto& [name, space] : spaces_) {
      for (const Group& group : space->groups) count += group.size;
    }
    return count;
  }
  std::size_t memory_bytes() const override { return charged_bytes_; }

  bool find_value(std::int64_t name_space, std::uint64_t hash, View key, Bytes& value) override {
    Space* const space = find_space(name_space);
    if (space == nullptr) return false;
    K typed{};
    Serde<K>::read(key, typed);
    Bytes scratch;
    const Entry* const entry = find(*space, hash, Key::view(typed, scratch));
    if (entry == nullptr) return false;
    Serde<V>::write(entry->value, value);
    return true;
  }

  void begin_snapshot(CheckpointId checkpoint, BlockSink& sink) override {
    LEVADA_ASSERT(sink_ == nullptr, "one snapshot at a time");
    if (cold_) cold_->before_snapshot();
    begun_ = checkpoint;
    for (auto& [name, space] : spaces_) {
      if (sink.keep(name, space->changed_after)) continue;
      sink_ = &sink;
      space->capturing = true;
      space->phase ^= kCapturedBit;
      scan_.spaces.push_back(space.get());
    }
    if (cold_) scan_.noted = cold_->begin_noting();
  }

  bool scan(std::size_t max_entries) override {
    if (scan_.over()) return true;
    const Claim claim(exclusion_);
    scan_.handed_out = 0;
    for (std::size_t done = 0; done < max_entries && scan_.handed_out < kScanBytes && !scan_.over();) {
      done += scan_span(max_entries - done);
    }
    return scan_.over();
  }

  void end_snapshot() override {
    if (sink_ == nullptr) return;
    LEVADA_ASSERT(scan_.over(), "a snapshot ends when all is captured");
    if (cold_) {
      cold_->end_noting(scan_.noted);
      cold_->snapshot_ended();
    }
    forget_snapshot();
  }

  void abort_snapshot() override {
    if (sink_ == nullptr) return;
    for (Space* const space : scan_.spaces) {
      for (Group& group : space->groups) {
        for (std::size_t i = 0; i < group.slots(); ++i) mark_captured(group.slot(i), space->phase);
      }
    }
    forget_snapshot();
  }

  StateTable::Settled settle() override { return cold_ ? cold_->settle() : StateTable::Settled::kDone; }

  void restore(const RestoredBlock& block) override {
    Space& into = space(block.name_space);
    if (cold_) cold_->make_room();
    mark_changed(into);
    View bytes = block.bytes;
    K key{};
    for (std::uint32_t i = 0; i < block.entries; ++i) {
      Serde<K>::read(bytes, key);
      if (block.removed && !into.cold) {
        Entry* const gone = look_up(into, hash_of(key), Key::view(key, key_bytes_));
        if (gone != nullptr) erase(into, group_of(into, gone->key.hash()), *gone);
        continue;
      }
      Entry& entry = find_or_insert(into, hash_of(key), Key::view(key, key_bytes_));
      if (block.removed) {
        bury(into, entry);
        continue;
      }
      const std::size_t before = heap_bytes_of(entry.value);
      Serde<V>::read(bytes, entry.value);
      charge_change(into, before, heap_bytes_of(entry.value));
    }
    if (!bytes.empty()) throw StateError("a block of '" + name_ + "' has more bytes than entries");
  }

 private:
  friend class ColdSide<TypedTable>;
  using Cold = ColdSide<TypedTable>;

  static constexpr std::uint32_t kCapturedBit = 1;
  static constexpr std::uint32_t kAgeMask = 3 << 1;
  static constexpr std::uint32_t kGoneBit = 1 << 3;
  static constexpr std::uint32_t kTagMask = 0x3fff << 4;
  static constexpr std::uint32_t kGenerationShift = 18;
  static constexpr std::uint32_t kGenerationMask = ~std::uint32_t{0} << kGenerationShift;
  static constexpr std::uint32_t kGenerationEnd = 1 << (32 - kGenerationShift);
  static constexpr std::size_t kSlotsMin = 8;
  static constexpr std::size_t kSmallBytes = std::size_t{256} << 10;
  static constexpr std::size_t kSparesMax = 16;
  static constexpr std::size_t kAdvanceBytes = 16 * 1024;
  static constexpr std::size_t kOverdrawBytes = 1024 * 1024;
  // A space beyond this does not lie in a core's own cache: what its look-ups need is asked for in two steps.
  static constexpr std::size_t kNearBytes = std::size_t{512} << 10;
  // Rows between asking for a bucket and looking at it; in a far space, and between its second look and that.
  static constexpr std::size_t kAhead = 16;
  static constexpr std::size_t kFarAhead = 32;
  static constexpr std::size_t kLookAhead = 8;
  static constexpr std::size_t kRing = 64;
  // Rows that the scan may have to wait for.
  static constexpr std::size_t kUnwatched = 16;
  // Slots looked at together.
  static constexpr std::size_t kBlock = 32;
  // Slots between asking for them and capturing them.
  static constexpr std::size_t kScanAhead = 4 * kBlock;
  // The encodings of entries are bounded, so a snapshot writes them without asking for room each time.
  static constexpr bool kBounded = !Key::kInArena && !Expires<V> && BoundedEncoding<K> && BoundedEncoding<V>;
  // Slots that the scan claims together, and bytes that it makes of them: some ten microseconds.
  static constexpr std::size_t kSpanSlots = kBounded ? 2048 : 512;
  static constexpr std::size_t kSpanBytes = 2 * BlockBuffer::kBlockBytes;
  // A scan hands out not many more than these.
  static constexpr std::size_t kScanBytes = 16 * BlockBuffer::kBlockBytes;
  static constexpr std::size_t encoded_max() { return max_bytes_parts<K, V>(); }
  static constexpr std::size_t logged_max() { return CapturedRows::kHeaderBytes + encoded_max(); }
  // So many of them are captured together.
  static constexpr std::size_t captured_max() {
    if constexpr (kBounded) {
      return std::clamp<std::size_t>(BlockBuffer::kBlockBytes / std::max<std::size_t>(encoded_max(), 1), 1, kBlock);
    } else {
      return kBlock;
    }
  }

  // Keys that the cold tier has and the table says are gone.
  struct RemovedKeys {
    Bytes keys;
    std::uint32_t count = 0;
  };
  // What the scan of the snapshot under way has come to.
  struct Scan {
    std::vector<Space*> spaces;  // those to capture, which stay until the snapshot has ended
    std::size_t space = 0, group = 0, slot = 0;
    Bytes block;  // of the group: the first `used` bytes
    std::size_t used = 0;
    std::uint32_t count = 0;
    RemovedKeys removed;
    ColdNoted noted;
    std::size_t handed_out = 0;  // bytes of blocks, since scan() was called

    bool over() const { return space == spaces.size(); }
  };
  // Nothing moves while there is one.
  class Claim {
   public:
    explicit Claim(ScanExclusion& exclusion) : exclusion_(exclusion) { exclusion.claim(); }
    ~Claim() { exclusion_.release_claim(); }
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;

   private:
    ScanExclusion& exclusion_;
  };
  // The task may capture entries, where it is wanted. Also within another, or within a Moving.
  class Visiting {
   public:
    Visiting(TypedTable& table, bool wanted)
        : table_(!wanted || table.moves_ || table.exclusion_.visits() ? nullptr : &table) {
      if (table_ != nullptr) table_->exclusion_.visit();
    }
    ~Visiting() {
      if (table_ != nullptr) table_->exclusion_.leave();
    }
    Visiting(const Visiting&) = delete;
    Visiting& operator=(const Visiting&) = delete;

   private:
    TypedTable* const table_;
  };
  // The task moves entries, or changes what it does not capture. Also within another.
  class Moving {
   public:
    explicit Moving(TypedTable& table) : table_(table.sink_ == nullptr || table.moves_ ? nullptr : &table) {
      if (table_ == nullptr) return;
      table_->exclusion_.move();
      table_->moves_ = true;
    }
    ~Moving() {
      if (table_ == nullptr) return;
      table_->moves_ = false;
      table_->exclusion_.moved();
    }
    Moving(const Moving&) = delete;
    Moving& operator=(const Moving&) = delete;

   private:
    TypedTable* const table_;
  };

  template <class Wanted>
  static std::size_t list_slots(const Group& group, std::size_t& slot, std::uint32_t* found,
                                std::size_t max, Wanted wanted) {
    const std::size_t end = std::min(group.slots(), slot + max);
    std::size_t count = 0;
    for (; slot < end; ++slot) {
      found[count] = static_cast<std::uint32_t>(slot);
      count += wanted(group.slot(slot));  // no branch: which slots live is random
    }
    return count;
  }
  // Those of taken slots that the snapshot under way has not captured.
  std::size_t slots_left(const Space& space, const Group& group, std::size_t& slot,
                         std::uint32_t* found, std::size_t max) const {
    const std::uint32_t captured = space.generation << kGenerationShift | space.phase;
    return list_slots(group, slot, found, max, [captured](const Entry& entry) {
      return ((entry.meta ^ captured) & (kGenerationMask | kCapturedBit)) == kCapturedBit;
    });
  }

  static std::uint32_t tag_of(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash >> 28) & kTagMask;
  }
  // Of the same generation, too.
  static bool same_tag(std::uint32_t meta, std::uint32_t other) {
    return ((meta ^ other) & (kGenerationMask | kTagMask)) == 0;
  }

  template <bool kFar, class KeyAt, class F>
  void visit_rows(Space& space, const std::uint64_t* hashes, KeyAt& key_at, std::size_t first,
                  std::size_t last, F& f) {
    constexpr std::size_t kDistance = kFar ? kFarAhead : kAhead;
    Entry* homes[kRing];
    const std::uint32_t live = space.generation << kGenerationShift | space.phase;
    std::uint64_t layout = layout_;
    // By value: what f writes may lie anywhere, and would have members read again for each row.
    const auto fetch = [&homes, hashes, groups = space.groups.data(), nowhere = &nowhere_[0],
                        first_group = range_.first,
                        max_parallelism = max_parallelism_](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        Group& group = groups[key_group_of(hashes[i], max_parallelism) - first_group];
        Entry* home = group.empty() ? nowhere : group.home(hashes[i]);
        prefetch_bucket(home);
        homes[i % kRing] = home;
      }
    };
    fetch(first, std::min(first + kDistance, last));
    for (std::size_t i = first; i < last;) {
      if (exclusion_.visits()) exclusion_.look();
      const std::size_t unwatched = std::min(i + kUnwatched, last);
      for (; i < unwatched; ++i) {
        if (i + kDistance < last) fetch(i + kDistance, i + kDistance + 1);
        if constexpr (kFar) {
          const std::size_t next = i + kLookAhead;
          if (next < last) look_again(space, hashes[next], live, homes[next % kRing]);
        }
        const std::uint32_t meta = live | tag_of(hashes[i]);
        Entry* entry = homes[i % kRing];
        entry += !same_tag(entry->meta, meta);
        KeyView key = key_at(i);
        const std::uint32_t found = entry->meta;
        if (same_tag(found, meta) && entry->key == key) [[likely]] {
          if (found != meta) [[unlikely]] make_writable(space, group_index(hashes[i]), *entry, found);
          f(i, *entry);
          continue;
        }
        f(i, find_or_insert(space, hashes[i], key));
        if (layout == layout_) continue;
        layout = layout_;  // buckets have moved
        fetch(i + 1, std::min(i + 1 + kDistance, last));
      }
    }
  }

  static void prefetch_slots(const Group& group, std::size_t first) {
    if (first + kBlock <= group.slots()) prefetch_entries<kBlock>(&group.slot(first));
  }
  static void prefetch_bucket(const Entry* bucket) { prefetch_entries<Group::kBucketEntries>(bucket); }
  template <std::size_t kCount>
  static void prefetch_entries(const Entry* first) {
    constexpr std::size_t kBytes = kCount * sizeof(Entry);
    const char* bytes = reinterpret_cast<const char*>(first);
    for (std::size_t at = 0; at < kBytes; at += 64) __builtin_prefetch(bytes + at, 1);
    if constexpr (kBytes % 64 != 0) __builtin_prefetch(bytes + kBytes - 1, 1);
  }

  // The bucket has come: asks for what its key holds outside, or for the next bucket when both entries are
  // those of others.
  void look_again(Space& space, std::uint64_t hash, std::uint32_t live, Entry*& bucket) {
    const std::uint32_t meta = live | tag_of(hash);
    Entry* entry = bucket + !same_tag(bucket->meta, meta);
    if (same_tag(entry->meta, meta)) [[likely]] {
      entry->key.prefetch();
    } else if (space.taken(*entry)) {
      bucket = group_of(space, hash).next_bucket(bucket);
      prefetch_bucket(bucket);
    }
  }

  void mark_changed(Space& space) { space.changed_after = begun_; }

  Entry& find_or_insert(Space& space, std::uint64_t hash, KeyView key) {
    const std::size_t index = group_index(hash);
    Group& group = space.groups[index];
    if (!group.empty()) {
      Entry& entry = probe(space, group, hash, key);
      if (const std::uint32_t meta = entry.meta; space.taken(meta)) {
        make_writable(space, index, entry, meta);
        return entry;
      }
      if (!full(space, group)) return insert(space, group, entry, hash, key);
    }
    grow(space, group);
    return insert(space, group, probe(space, group, hash, key), hash, key);
  }

  // The key's entry, also one that is gone; null when there is none.
  Entry* look_up(Space& space, std::uint64_t hash, KeyView key) {
    Group& group = group_of(space, hash);
    if (group.empty()) return nullptr;
    Entry& entry = probe(space, group, hash, key);
    return space.taken(entry) ? &entry : nullptr;
  }

  // The key's entry, or the dead one where it belongs. REQUIRES: !group.empty().
  Entry& probe(const Space& space, Group& group, std::uint64_t hash, KeyView key) {
    const std::uint32_t wanted = space.generation << kGenerationShift | tag_of(hash);
    for (Entry* bucket = group.home(hash);; bucket = group.next_bucket(bucket)) {
      for (std::size_t i = 0; i < Group::kBucketEntries; ++i) {
        Entry& entry = bucket[i];
        if (!space.taken(entry)) return entry;
        if ((entry.meta & (kGenerationMask | kTagMask)) == wanted && entry.key == key) return entry;
      }
    }
  }

  // While a space is small its slots are cheap and a second bucket is dear.
  static bool full(const Space& space, const Group& group) {
    const std::size_t wanted = std::size_t{group.size} + 1;
    return space.slot_bytes < kSmallBytes ? wanted * 3 > group.slots()
                                          : wanted * 8 > group.slots() * 5;
  }

  // Brings a dead entry to life.
  Entry& insert(Space& space, Group& group, Entry& entry, std::uint64_t hash, KeyView key) {
    store_key(space, group, entry, key);
    entry.value = V{};
    if constexpr (kTallied) entry.tally = 0;
    entry.meta = space.generation << kGenerationShift | tag_of(hash) | space.phase;
    ++group.size;
    return entry;
  }

  void store_key(Space& space, Group& group, Entry& entry, KeyView key) {
    if constexpr (Key::kInArena) {
      if (Key::is_short(key.size())) return entry.key.keep(key);
      if (!group.arena) group.arena = std::make_unique<KeyArena>();
      KeyArena& arena = *group.arena;
      if (!arena.reuse_chunk(key.size())) {
        const std::size_t bytes = arena.next_chunk(key.size());
        charge(bytes);
        space.arena_bytes += bytes;
        arena.add_chunk(bytes);
      }
      entry.key.point_to(arena.append(key), key.size());
    } else {
      entry.key.key = key;
    }
  }

  // The group goes: what it was charged for is given back, but for what its values hold.
  void drop_memory(Space& space, const Group& group) {
    const std::size_t slots = group.slots() * sizeof(Entry);
    uncharge(slots);
    space.slot_bytes -= slots;
    if constexpr (Key::kInArena) {
      const std::size_t keys = group.arena ? group.arena->capacity() : 0;
      uncharge(keys);
      space.arena_bytes -= keys;
    }
  }

  void grow(Space& space, Group& group) {
    resize(space, group, group.empty() ? kSlotsMin : 2 * group.slots());
  }
  // REQUIRES: the entries fit, and leave some slot free.
  void resize(Space& space, Group& group, std::size_t slots) {
    const std::size_t before = group.slots() * sizeof(Entry), after = slots * sizeof(Entry);
    if (after > before) charge(after - before);
    Group resized(slots);
    const Moving moving(*this);
    for (std::size_t i = 0; i < group.slots(); ++i) {
      if (space.taken(group.slot(i))) move_into(space, resized, group.slot(i));
    }
    resized.arena = std::move(group.arena);
    group.swap(resized);
    space.slot_bytes += after - before;
    if (after < before) uncharge(before - after);
    ++layout_;
    scan_again(space, group);
  }

  // The slots have moved: what was captured says so itself, so the group is scanned again.
  void scan_again(const Space& space, const Group& group) {
    if (!scan_.over() && scan_.spaces[scan_.space] == &space && index_of(space, group) == scan_.group) scan_.slot = 0;
  }

  static void move_into(const Space& space, Group& group, Entry& entry) {
    Entry* bucket = group.home(entry.key.hash());
    for (std::size_t i = 0;; ++i) {
      if (i == Group::kBucketEntries) {
        bucket = group.next_bucket(bucket);
        i = 0;
      }
      if (space.taken(bucket[i])) continue;
      bucket[i] = std::move(entry);
      ++group.size;
      return;
    }
  }

  // The entry goes, and nothing of it stays. REQUIRES: no snapshot wants it any more.
  void erase(Space& space, Group& group, Entry& entry) {
    const Moving moving(*this);
    if constexpr (!kFlat<V>) charge_change(space, heap_bytes_of(entry.value), 0);
    if constexpr (Key::kInArena) {
      const std::size_t bytes = entry.key.view().size();
      if (!Key::is_short(bytes)) group.arena->forget(bytes);
    }
    close_gap(space, group, &entry);
    --group.size;
    sweep_keys(space, group);
  }
  // The entry is gone, and says so until the cold tier knows.
  void bury(Space& space, Entry& entry) {
    if constexpr (!kFlat<V>) charge_change(space, heap_bytes_of(entry.value), 0);
    entry.value = V{};
    entry.meta = (entry.meta & ~kAgeMask) | kGoneBit;
  }

  // Fills the gap that a removed entry leaves with the entries behind it, up to the first dead one, as far as
  // that brings none before its home.
  void close_gap(Space& space, Group& group, Entry* gap) {
    const std::size_t mask = group.slots() - 1;
    std::size_t hole = static_cast<std::size_t>(gap - &group.slot(0));
    for (std::size_t at = (hole + 1) & mask; space.taken(group.slot(at)); at = (at + 1) & mask) {
      Entry& entry = group.slot(at);
      const std::size_t home = static_cast<std::size_t>(group.home(entry.key.hash()) - &group.slot(0));
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      // It may move to where the scan has been already.
      keep_for_snapshot(space, index_of(space, group), entry);
      group.slot(hole) = std::move(entry);
      hole = at;
    }
    Entry& last = group.slot(hole);
    last.meta = 0;
    if constexpr (!kFlat<V>) last.value = V{};
  }

  // Writes an arena anew, of exactly the keys that live, when the dead ones outgrow what looking at all slots
  // is worth.
  void sweep_keys(Space& space, Group& group) {
    if constexpr (Key::kInArena) {
      if (!group.arena) return;
      KeyArena& old = *group.arena;
      if (group.size == 0) return old.clear();
      if (old.dead_bytes() <= old.live_bytes() + 4 * group.slots()) return;
      auto swept = std::make_unique<KeyArena>();
      if (old.live_bytes() > 0) swept->add_chunk(old.live_bytes());
      for (std::size_t i = 0; i < group.slots(); ++i) {
        Entry& entry = group.slot(i);
        if (!space.taken(entry)) continue;
        const std::string_view key = entry.key.view();
        if (!Key::is_short(key.size())) entry.key.point_to(swept->append(key), key.size());
      }
      const std::size_t less = old.capacity() - swept->capacity();
      space.arena_bytes -= less;
      group.arena = std::move(swept);
      uncharge(less);
    }
  }

  // Takes from what was acquired in advance, so that the share's counter is not touched for every key.
  void charge(std::size_t bytes) {
    if (bytes > acquired_bytes_ - charged_bytes_) acquire(bytes);
    charged_bytes_ += bytes;
  }
  void acquire(std::size_t bytes) {
    const std::size_t missing = bytes - (acquired_bytes_ - charged_bytes_);
    // Entries of tables with a cold tier leave before their next rows are visited; those of one batch must fit.
    const std::size_t most =
        share_.limit_bytes() + (cold_ ? share_.limit_bytes() + kOverdrawBytes : std::size_t{0});
    if (overdraws_ && charged_bytes_ + bytes <= most) {
      share_.acquire(missing + kAdvanceBytes);
      acquired_bytes_ += missing + kAdvanceBytes;
      return;
    }
    for (const std::size_t wanted : {missing + kAdvanceBytes, missing}) {
      if (!share_.try_acquire(wanted)) continue;
      acquired_bytes_ += wanted;
      return;
    }
    throw_state_full(owner_ + "." + name_, bytes, share_);
  }
  void uncharge(std::size_t bytes) {
    charged_bytes_ -= bytes;
    const std::size_t advance = acquired_bytes_ - charged_bytes_;
    if (advance <= 2 * kAdvanceBytes) return;
    share_.release(advance - kAdvanceBytes);
    acquired_bytes_ -= advance - kAdvanceBytes;
  }

  static std::uint32_t captured_bits(std::uint32_t meta, std::uint32_t phase) { return (meta & ~kCapturedBit) | phase; }
  static void mark_captured(Entry& entry, std::uint32_t phase) { entry.meta = captured_bits(entry.meta, phase); }

  // Before a taken entry is written, of which `meta` was read: it is there again, and newer than what the tier has.
  void make_writable(Space& space, std::size_t index, Entry& entry, std::uint32_t meta) {
    if ((meta & kCapturedBit) != space.phase) meta = capture(space, index, entry);
    if ((meta & (kAgeMask | kGoneBit)) != 0) entry.meta = meta & ~(kAgeMask | kGoneBit);
  }

  // Before an entry of the group is changed, moved or removed.
  void keep_for_snapshot(Space& space, std::size_t index, Entry& entry) {
    if ((entry.meta & kCapturedBit) != space.phase) capture(space, index, entry);
  }

  // For a row: the scan has not come to the entry. Returns the entry's bits.
  std::uint32_t capture(Space& space, std::size_t index, Entry& entry) {
    if constexpr (kBounded) {
      // All but always, and without a call.
      if (exclusion_.free(&entry) && space.log.has_room(logged_max())) {
        const std::uint32_t meta = entry.meta;
        if ((meta & (kCapturedBit | kAgeMask | kGoneBit)) == (space.phase ^ kCapturedBit)) {
          log_bounded(space, index, entry, Wanted::kValue);
          return note_captured(space, entry, meta);
        }
      }
    }
    return capture_carefully(space, index, entry);
  }
  [[gnu::noinline]] std::uint32_t capture_carefully(Space& space, std::size_t index, Entry& entry) {
    const Visiting visiting(*this, true);
    if (!moves_) exclusion_.keep_out(&entry);
    const std::uint32_t meta = entry.meta;
    if ((meta & kCapturedBit) == space.phase) return meta;  // the scan has come
    const Wanted wanted = wanted_of(entry, meta);
    if (wanted != Wanted::kNothing) log(space, index, entry, wanted);
    if (wanted == Wanted::kValue) return note_captured(space, entry, meta);
    mark_captured(entry, space.phase);
    return entry.meta;
  }
  std::uint32_t note_captured(const Space& space, Entry& entry, std::uint32_t meta) {
    if (cold_) {
      ColdNoted noted = cold_->begin_noting();
      meta = Cold::note_captured(meta, noted);
      cold_->end_noting(noted);
    }
    meta = captured_bits(meta, space.phase);
    entry.meta = meta;
    return meta;
  }

  // What a snapshot takes of an entry.
  enum class Wanted { kNothing, kKey, kValue };
  Wanted wanted_of(const Entry& entry, std::uint32_t meta) const {
    if ((meta & (kAgeMask | kGoneBit)) == 0) return Wanted::kValue;
    // What has left for the cold tier before the snapshot began is in the snapshot of that.
    if (!Cold::dirty(entry)) return Wanted::kNothing;
    return (meta & kGoneBit) == 0 ? Wanted::kValue : Wanted::kKey;
  }
  // What the tier has of an expired key is older, and would be what the snapshot says.
  Wanted wanted_of_expired(const Space& space) const {
    return cold_ && Cold::may_have(space) ? Wanted::kKey : Wanted::kNothing;
  }
  // False, and nothing written: it has expired.
  bool write_value(const Entry& entry, Bytes& out) const {
    if constexpr (Expires<V>) {
      return entry.value.write_unexpired(out, left_out_us_);
    } else {
      Serde<V>::write(entry.value, out);
      return true;
    }
  }

  void log(Space& space, std::size_t index, const Entry& entry, Wanted wanted) {
    if constexpr (kBounded) {
      if (!space.log.has_room(logged_max())) {
        if (space.log.full()) hand_out_log(space, false);
        space.log.make_room(logged_max(), *sink_);
      }
      log_bounded(space, index, entry, wanted);
    } else {
      Bytes& tail = space.log.tail();
      const std::size_t before = tail.size();
      tail.append(CapturedRows::kHeaderBytes, '\0');
      entry.key.write(tail);
      if (wanted == Wanted::kValue && !write_value(entry, tail)) {
        wanted = wanted_of_expired(space);
        if (wanted == Wanted::kNothing) return tail.resize(before);
      }
      CapturedRows::put_header(tail.data() + before, tail.size() - before, index, wanted == Wanted::kKey);
      space.log.appended(*sink_);
      if (space.log.full()) hand_out_log(space, false);
    }
  }
  // REQUIRES: there is room for it.
  void log_bounded(Space& space, std::size_t index, const Entry& entry, Wanted wanted) {
    char* const begin = space.log.end();
    char* end = begin + CapturedRows::kHeaderBytes;
    end = wanted == Wanted::kKey ? put_parts(end, entry.key.key) : put_parts(end, entry.key.key, entry.value);
    CapturedRows::put_header(begin, static_cast<std::size_t>(end - begin), index, wanted == Wanted::kKey);
    space.log.extend(static_cast<std::size_t>(end - begin));
  }
  void hand_out_log(Space& space, bool last) {
    sink_->captured({space.name, range_.first, space.log.take(), last});
  }

  static std::size_t index_of(const Space& space, const Group& group) {
    return static_cast<std::size_t>(&group - space.groups.data());
  }

  void hand_out(const Space& space, const Group& group, RemovedKeys& removed) {
    if (removed.count > 0) hand_out(space, group, std::exchange(removed.keys, {}), removed.count, true);
  }
  void hand_out(const Space& space, const Group& group, Bytes&& bytes, std::uint32_t& count, bool removed) {
    StateBlock block;
    block.name_space = space.name;
    block.key_group = range_.first + static_cast<std::uint32_t>(index_of(space, group));
    block.entries = std::exchange(count, 0);
    block.removed = removed;
    block.bytes = std::move(bytes);
    sink_->block(std::move(block));
  }

  // ---- the scan

  // Goes on by a span of at most `max_slots`, or to the next group or space. Returns how many slots it looked at, or
  // 1; 0 when something has moved first. REQUIRES: there is a Claim.
  std::size_t scan_span(std::size_t max_slots) {
    Space& space = *scan_.spaces[scan_.space];
    if (scan_.group == space.groups.size()) {
      hand_out_log(space, true);
      ++scan_.space;
      scan_.group = 0;
      return 1;
    }
    Group& group = space.groups[scan_.group];
    if (scan_.slot == group.slots()) {
      hand_out_scanned(space, group);
      ++scan_.group;
      scan_.slot = 0;
      return 1;
    }
    if (!exclusion_.claim_span(&group.slot(scan_.slot))) {
      exclusion_.claim();
      return 0;
    }
    const std::size_t first = scan_.slot, last = std::min(first + std::min(kSpanSlots, max_slots), group.slots());
    for (std::size_t bytes = 0; scan_.slot < last && bytes < kSpanBytes;) bytes += scan_some(space, group, last);
    return scan_.slot - first;
  }
  // Returns how many bytes were captured.
  std::size_t scan_some(Space& space, Group& group, std::size_t last) {
    std::uint32_t found[kBlock];
    prefetch_slots(group, scan_.slot + kScanAhead);
    const std::size_t count =
        slots_left(space, group, scan_.slot, found, std::min(captured_max(), last - scan_.slot));
    if (count == 0) return 0;
    make_scan_room(space, group, count);
    const std::uint32_t phase = space.phase;  // by value: what is written may lie anywhere
    ColdNoted noted = scan_.noted;
    Entry* const slots = &group.slot(0);
    const auto capture_slot = [&](std::size_t slot, auto put) {
      Entry& entry = slots[slot];
      std::uint32_t meta = entry.meta;
      Wanted wanted = wanted_of(entry, meta);
      if (wanted == Wanted::kValue) {
        if (cold_) meta = Cold::note_captured(meta, noted);
        if (!put(entry)) wanted = wanted_of_expired(space);
      }
      if (wanted == Wanted::kKey) capture_removed(space, group, entry);
      entry.meta = captured_bits(meta, phase);  // from now on the task may change the value
    };
    const std::size_t before = scan_.used;
    if constexpr (kBounded) {
      char* at = scan_.block.data() + before;
      std::uint32_t captured = 0;
      for (std::size_t i = 0; i < count; ++i) {
        capture_slot(found[i], [&](const Entry& entry) {
          at = put_parts(at, entry.key.key, entry.value);
          ++captured;
          return true;
        });
      }
      scan_.used = static_cast<std::size_t>(at - scan_.block.data());
      scan_.count += captured;
    } else {
      for (std::size_t i = 0; i < count; ++i) {
        capture_slot(found[i], [&](const Entry& entry) {
          const std::size_t begin = scan_.block.size();
          entry.key.write(scan_.block);
          const bool there = write_value(entry, scan_.block);
          if (!there) scan_.block.resize(begin);
          scan_.count += there;
          return there;
        });
        if (scan_.block.size() - before < kSpanBytes) continue;
        scan_.slot = found[i] + std::size_t{1};  // values are long: the rest later
        break;
      }
      scan_.used = scan_.block.size();
    }
    scan_.noted = noted;
    return scan_.used - before;
  }
  void make_scan_room(const Space& space, const Group& group, std::size_t count) {
    std::size_t most = 0, expected = group.slots();
    if constexpr (kBounded) {
      most = count * encoded_max();
      expected *= encoded_max();
    } else {
      expected *= sizeof(Entry);
    }
    if (scan_.used + most >= BlockBuffer::kBlockBytes) hand_out_scanned(space, group);
    if (scan_.used == 0) {
      const std::size_t wanted = std::max(most, std::min(expected, BlockBuffer::kBlockBytes));
      if (scan_.block.capacity() < wanted && wanted >= BlockBuffer::kBlockBytes / 2) scan_.block = sink_->spare();
      if constexpr (kBounded) {
        most = wanted;
      } else {
        scan_.block.clear();
        scan_.block.reserve(wanted);
      }
    }
    if (kBounded && scan_.block.size() < scan_.used + most) scan_.block.resize(scan_.used + most);
  }
  void capture_removed(const Space& space, const Group& group, const Entry& entry) {
    entry.key.write(scan_.removed.keys);
    ++scan_.removed.count;
    if (scan_.removed.keys.size() >= BlockBuffer::kBlockBytes) hand_out(space, group, scan_.removed);
  }
  void hand_out_scanned(const Space& space, const Group& group) {
    scan_.handed_out += scan_.used + scan_.removed.keys.size();
    if (scan_.count > 0) {
      scan_.block.resize(std::exchange(scan_.used, 0));
      hand_out(space, group, std::exchange(scan_.block, {}), scan_.count, false);
    }
    scan_.used = 0;
    hand_out(space, group, scan_.removed);
  }

  // The snapshot under way is over, or given up.
  void forget_snapshot() {
    sink_ = nullptr;
    scan_ = {};
    for (auto at = spaces_.begin(); at != spaces_.end();) {
      const auto next = std::next(at);
      at->second->capturing = false;
      at->second->log = {};
      if (at->second->dying) retire(at);
      at = next;
    }
  }

  using Spaces = std::map<std::int64_t, std::unique_ptr<Space>>;

  // Takes a space away and keeps its memory for the next one.
  void retire(typename Spaces::iterator at) {
    std::unique_ptr<Space> space = std::move(at->second);
    spaces_.erase(at);
    space->dying = space->cold = false;
    space->in_flight = 0;
    if (spares_.size() < kSparesMax) {
      empty_out(*space);
      spares_.push_back(std::move(space));
    } else {
      uncharge(space->slot_bytes + space->arena_bytes + space->heap_bytes);
    }
  }

  // Ends the lives of all entries and keeps slots and arenas.
  void empty_out(Space& space) {
    if constexpr (!kFlat<V>) {
      for (Group& group : space.groups) {
        each_live(space, group, [](Entry& entry) { entry.value = V{}; });
      }
      uncharge(std::exchange(space.heap_bytes, 0));
    }
    for (Group& group : space.groups) {
      group.size = 0;
      if constexpr (Key::kInArena) {
        if (group.arena) group.arena->clear();
      }
    }
    if (++space.generation < kGenerationEnd) return;
    for (Group& group : space.groups) {
      for (std::size_t i = 0; i < group.slots(); ++i) group.slot(i).meta = 0;
    }
    space.generation = 1;
  }

  void drop_spares() {
    for (const auto& spare : spares_) uncharge(spare->slot_bytes + spare->arena_bytes);
    spares_.clear();
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
  std::size_t acquired_bytes_ = 0;  // what the share was asked for: a little more, in advance
  Spaces spaces_;
  std::vector<std::unique_ptr<Space>> spares_;
  bool overdraws_ = false;
  std::uint64_t space_ids_ = 0;
  std::uint64_t layout_ = 0;  // counts what moves entries
  Bytes key_bytes_;  // of the key at hand, where it is kept as bytes
  Entry nowhere_[Group::kBucketEntries];  // the bucket of a group that has none: nothing lives there

  CheckpointId begun_ = 0;  // of the newest snapshot
  std::int64_t left_out_us_ = INT64_MIN;  // what was last updated by then is in no snapshot
  BlockSink* sink_ = nullptr;  // of the snapshot under way
  bool moves_ = false;         // there is a Moving

  std::unique_ptr<Cold> cold_;  // null: all entries are in the table

  // What the scan writes shares no line with what the task reads for each row.
  alignas(64) ScanExclusion exclusion_{kSpanSlots * sizeof(Entry)};
  alignas(64) Scan scan_;  // of the scan's claims, and of the task's moves
};

}  // namespace levada::detail
