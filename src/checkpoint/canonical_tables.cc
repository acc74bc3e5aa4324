#include "checkpoint/canonical_tables.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "levada/assert.h"
#include "levada/detail/cold_queue.h"
#include "levada/detail/key_groups.h"
#include "levada/detail/state_names.h"
#include "levada/error.h"

#include "checkpoint/state_file.h"
#include "core/encoding_walk.h"
#include "core/schema.h"

namespace levada {
namespace {

constexpr std::size_t kBlockBytes = 32 * 1024;
// For the caches of a tier that is read once, in order.
constexpr std::size_t kReadingBytes = std::size_t{1} << 20;

// A block of the state files.
struct Written {
  const StateFileReader* file = nullptr;
  const StateFileReader::Table* table = nullptr;
  const StateFileReader::Block* block = nullptr;
  Bytes bytes = {};  // once read
};

// How entries of one schema are taken apart.
struct EntryWalk {
  std::vector<EncodingWalk> key;
  EncodingWalk value;
};

EncodingWalk walk_of(const std::string& node, const std::string& table, const Schema& schema,
                     const OpaqueTypes& known) {
  std::string missing;
  auto walk = EncodingWalk::of(schema, known, &missing);
  if (walk) return *std::move(walk);
  throw StateError("state '" + table + "' of '" + node + "' is made of " + missing +
                   ", which this program does not have: its entries cannot be told apart");
}

EntryWalk entry_walk_of(const StateFileReader::Table& table, const OpaqueTypes& known) {
  const std::vector<Schema> parts = parse_table_schema(table.schema);
  EntryWalk walk;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    walk.key.push_back(walk_of(table.node, table.name, parts[i], known));
  }
  walk.value = walk_of(table.node, table.name, parts.back(), known);
  return walk;
}

}  // namespace

struct CanonicalTables::Work {
  using Place = std::pair<std::uint32_t, std::int64_t>;  // key group and namespace
  // What the state files have of a table.
  struct Table {
    std::string schema;
    std::map<Place, std::vector<Written>> blocks;
  };

  // Large maps, of which a cold tier has the entries in pages (detail/paged_map.h): what the state files have of the
  // pages of one key group is in memory at once.
  class Maps {
   public:
    // `first` is the schema of a page's first key, `number` that of the pages' table in the tier.
    Maps(Work& work, const Table& pages, Schema first, std::uint32_t number)
        : work_(work), pages_(pages), first_schema_(std::move(first)), number_(number) {}

    // A key and its directory: goes out as the key and its map.
    void put(std::string_view key, std::string_view directory) {
      begin_group();
      if (!first_) first_ = walk_of(work_.at->first.first, work_.at->first.second, first_schema_, work_.reading.opaque);
      Bytes page_key(key), body;
      std::uint64_t entries = 0;
      View in(directory);
      for (std::uint64_t count = in.take_varint(); count > 0; --count) {
        first_->skip(in);
        page_key.resize(key.size());
        put_number(page_key, in.take_number<std::uint64_t>());
        const bool lives_for_ever = in.take_number<std::int64_t>() == INT64_MAX;
        const std::optional<Bytes> found = find(page_key);
        if (!found && lives_for_ever) {
          throw StateError("'" + work_.state.state->name() + "' lacks a page of a map of '" + work_.out_name.second +
                           "'");
        }
        if (!found) continue;  // it was too old
        View page(*found);
        entries += page.take_varint();
        body.append(page.data(), page.size());
      }
      if (entries == 0) return;
      work_.filling.bytes += key;
      put_varint(work_.filling.bytes, entries);
      work_.put({}, body);
    }

   private:
    void begin_group() {
      if (group_ == work_.group) return;
      group_ = work_.group;
      newer_.clear();
      const auto blocks = pages_.blocks.find({work_.group, 0});
      if (blocks == pages_.blocks.end()) return;
      for (Written block : blocks->second) {
        block.file->read_block(*block.block, block.bytes);
        work_.each_entry(block, [&](std::string_view key, std::string_view page) {
          newer_[Bytes(key)] = block.block->removed ? std::nullopt : std::optional<Bytes>(page);
        });
      }
    }

    std::optional<Bytes> find(const Bytes& key) {
      const auto known = newer_.find(key);
      if (known != newer_.end()) return known->second;
      Bytes full;
      detail::put_cold_prefix(full, work_.group, number_, 0);
      full += key;
      ColdValues values;
      const std::string_view wanted = full;
      work_.tier->get({&wanted, 1}, values);
      return values.found[0] ? std::optional(std::move(values.values[0])) : std::nullopt;
    }

    Work& work_;
    const Table& pages_;
    const Schema first_schema_;
    std::optional<EncodingWalk> first_;
    const std::uint32_t number_;
    std::optional<std::uint32_t> group_;
    std::unordered_map<Bytes, std::optional<Bytes>> newer_;  // than what the tier has; no value: it is gone
  };

  Work(std::shared_ptr<const RestoredCheckpoint> from, std::size_t subtask, const ColdReading& reading_in, Sink& into,
       std::optional<Name> only_in)
      : checkpoint(std::move(from)),
        state(checkpoint->subtasks()[subtask]),
        number(checkpoint->manifest().subtasks[subtask].subtask),
        reading(reading_in),
        sink(into),
        only(std::move(only_in)) {
    find_tables();
    at = tables.begin();
  }

  void find_tables() {
    for (const StateFileReader::Table& table : state.state->tables()) {
      tables[{table.node, table.name}].schema = table.schema;
    }
    for (auto& [name, table] : tables) {
      const auto note = [&table = table](const StateFileReader& file, const StateFileReader::Table& there,
                                         const StateFileReader::Block& block) {
        table.blocks[{block.key_group, block.name_space}].push_back({&file, &there, &block});
      };
      state.each_block(name.first, name.second, note);
    }
  }

  KeyGroupRange range_of(const std::string& uid) const {
    const NodeState* const node = checkpoint->node(uid);
    if (node == nullptr) throw StateError("'" + state.state->name() + "' is of a node that is not in its checkpoint");
    return key_group_range(number, checkpoint->manifest().max_parallelism, node->parallelism);
  }

  // One table at a time; false: there is no more. Pages are read with their directories.
  bool begin_table() {
    while (at != tables.end() && (is_of_pages(at->first) || (only && *only != canonical_name(at->first)))) ++at;
    if (at == tables.end()) return false;
    if (!tier) tier = open_tier();
    range = range_of(at->first.first);
    group = range.first;
    group_begun = false;
    out_name = canonical_name(at->first);
    out_schema = at->second.schema;
    maps.reset();
    if (at->first.second.starts_with(detail::kDirectoryPrefix)) begin_maps();
    out_of(out_schema);  // also when it is empty
    in_table = true;
    return true;
  }

  std::unique_ptr<ColdTier> open_tier() const {
    ColdPlace place = reading.place;
    place.memory_bytes = kReadingBytes;
    return reading.backend->open(place, state.cold.get());
  }

  // A table of directories is one of maps to whoever reads it.
  static Name canonical_name(const Name& name) {
    if (!name.second.starts_with(detail::kDirectoryPrefix)) return name;
    return {name.first, detail::whole_state_name(name.second)};
  }

  bool is_of_pages(const Name& name) const {
    if (!name.second.starts_with(detail::kPagesPrefix)) return false;
    const std::string member = name.second.substr(detail::kPagesPrefix.size());
    return tables.contains({name.first, detail::map_directory_name(member)});
  }

  // Of a table's entries those of each schema are a table of the file.
  std::uint32_t out_of(const std::string& schema) {
    const auto [place, fresh] = outs.try_emplace({out_name, schema});
    if (fresh) place->second = sink.begin_table(out_name.first, out_name.second, schema);
    return place->second;
  }

  // The table at hand is of directories: what goes out is the maps.
  void begin_maps() {
    const std::string name = at->first.second.substr(detail::kDirectoryPrefix.size());
    const auto whole = tables.find(out_name);
    const auto pages = tables.find({at->first.first, detail::map_pages_name(name)});
    if (whole == tables.end() || pages == tables.end()) {
      throw StateError("'" + state.state->name() + "' has directories of maps of '" + at->first.first +
                       "' without their pages");
    }
    out_schema = whole->second.schema;
    Schema directory = parse_table_schema(at->second.schema).back();
    const bool known = directory.shape == Schema::Shape::kList && directory.parts[0].shape == Schema::Shape::kTuple &&
                       directory.parts[0].parts.size() == 3;
    if (!known) {
      throw StateError("state '" + at->first.second + "' of '" + at->first.first + "' has a schema of another kind");
    }
    maps.emplace(*this, pages->second, std::move(directory.parts[0].parts[0]),
                 detail::ColdQueue::table_number(pages->first.first, pages->first.second));
  }

  const EntryWalk& walk(const StateFileReader::Table& table) {
    const auto known = walks.find(table.schema);
    if (known != walks.end()) return known->second;
    return walks.emplace(table.schema, entry_walk_of(table, reading.opaque)).first->second;
  }

  // The state files' entries of a place go out as they are.
  void begin_place(std::int64_t name_space) {
    finish_place();
    place_name = name_space;
    in_place = true;
    const auto blocks = at->second.blocks.find({group, name_space});
    if (blocks == at->second.blocks.end()) return;
    written = std::move(blocks->second);
    at->second.blocks.erase(blocks);
    for (Written& block : written) {
      block.file->read_block(*block.block, block.bytes);
      if (block.block->removed) continue;
      if (maps) {
        each_entry(block, [&](std::string_view key, std::string_view value) { maps->put(key, value); });
        continue;
      }
      bytes_out += block.bytes.size();
      sink.put_block(out_of(block.table->schema), {name_space, group, block.block->entries, Bytes(block.bytes)});
    }
  }

  // Calls f(key, value) for the entries of a block, which has been read.
  template <class F>
  void each_entry(const Written& block, F f) {
    const EntryWalk& parts = walk(*block.table);
    View in(block.bytes);
    const auto taken_since = [&in](const char* begin) {
      return std::string_view(begin, static_cast<std::size_t>(in.data() - begin));
    };
    for (std::uint32_t i = 0; i < block.block->entries; ++i) {
      const char* const begin = in.data();
      for (const EncodingWalk& part : parts.key) part.skip(in);
      const std::string_view key = taken_since(begin);
      const char* const value = in.data();
      if (!block.block->removed) parts.value.skip(in);
      f(key, taken_since(value));
    }
    if (!in.empty()) throw StateError("'" + block.file->name() + "' has a block with more bytes than entries");
  }

  // What the tier has of their keys is old.
  void note_keys() {
    for (const Written& block : written) {
      each_entry(block, [&](std::string_view key, std::string_view) { newer.insert(key); });
    }
  }

  void put_out() {
    if (filling.entries == 0) return;
    filling.name_space = place_name;
    filling.key_group = group;
    bytes_out += filling.bytes.size();
    sink.put_block(out_of(out_schema), std::exchange(filling, {}));
  }
  void finish_place() {
    if (!in_place) return;
    put_out();
    newer.clear();
    written.clear();
    in_place = false;
  }

  void begin_group() {
    Bytes first;
    detail::put_cold_prefix(first, group, detail::ColdQueue::table_number(at->first.first, at->first.second),
                            INT64_MIN);
    cursor = tier->scan(first, detail::cold_prefix_end(std::string_view(first).substr(0, 2 + 4)));
    group_begun = true;
  }
  // What the tier has nothing of.
  void finish_group() {
    finish_place();
    cursor.reset();
    for (auto rest = at->second.blocks.lower_bound({group, INT64_MIN});
         rest != at->second.blocks.end() && rest->first.first == group;
         rest = at->second.blocks.lower_bound({group, INT64_MIN})) {
      begin_place(rest->first.second);
      finish_place();
    }
    ++group;
    group_begun = false;
  }

  void take_entry() {
    const std::string_view full = cursor->key();
    const std::int64_t name_space = detail::cold_name_space(full);
    if (!in_place || name_space != place_name) {
      begin_place(name_space);
      note_keys();
    }
    const std::string_view key = full.substr(detail::kColdPrefixBytes);
    if (!newer.contains(key)) {
      if (maps) {
        maps->put(key, cursor->value());
      } else {
        put(key, cursor->value());
      }
    }
    cursor->next();
  }
  void put(std::string_view key, std::string_view value) {
    filling.bytes += key;
    filling.bytes += value;
    ++filling.entries;
    if (filling.bytes.size() >= kBlockBytes) put_out();
  }

  void finish_table() {
    if (!at->second.blocks.empty()) {
      throw StateError("'" + state.state->name() + "' has entries of key groups that are not its subtask's");
    }
    ++at;
    in_table = false;
  }

  // One table, group or entry further; false: all is written.
  bool advance() {
    if (!in_table) return begin_table();
    if (group == range.last) {
      finish_table();
    } else if (!group_begun) {
      begin_group();
    } else if (cursor->valid()) {
      take_entry();
    } else {
      finish_group();
    }
    return true;
  }

  const std::shared_ptr<const RestoredCheckpoint> checkpoint;
  const RestoredCheckpoint::Subtask& state;
  const std::uint32_t number;
  const ColdReading& reading;
  Sink& sink;
  const std::optional<Name> only;
  std::unique_ptr<ColdTier> tier;
  std::map<Name, Table> tables;
  std::map<std::string, EntryWalk> walks;  // by schema
  std::size_t bytes_out = 0;

  // Where it is: the table, ...
  std::map<Name, Table>::iterator at;
  bool in_table = false;
  KeyGroupRange range;
  std::optional<Maps> maps;  // when the table is of directories
  Name out_name;             // the table that its entries are of in a savepoint
  std::string out_schema;
  std::map<std::pair<Name, std::string>, std::uint32_t> outs;  // tables of the file, by their schemas
  // ... its key group, ...
  std::uint32_t group = 0;
  bool group_begun = false;
  std::unique_ptr<ColdCursor> cursor;
  // ... and the namespace in that.
  bool in_place = false;
  std::int64_t place_name = 0;
  std::vector<Written> written;                // of the state files
  std::unordered_set<std::string_view> newer;  // keys in these
  StateBlock filling;
};

CanonicalTables::CanonicalTables(std::shared_ptr<const RestoredCheckpoint> checkpoint, std::size_t subtask,
                                 const ColdReading& reading, Sink& into, std::optional<Name> only)
    : work_(std::make_unique<Work>(std::move(checkpoint), subtask, reading, into, std::move(only))) {
  LEVADA_ASSERT(work_->state.cold != nullptr, "state without a cold tier is canonical as it is");
  if (reading.backend == nullptr) {
    throw StateError("'" + work_->state.state->name() + "' is in a cold tier, whose backend is not given");
  }
}

CanonicalTables::~CanonicalTables() = default;

bool CanonicalTables::advance() {
  const bool more = work_->advance();
  if (!more) work_->tier.reset();
  return more;
}

std::size_t CanonicalTables::bytes() const noexcept { return work_->bytes_out; }

}  // namespace levada
