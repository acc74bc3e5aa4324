#include "checkpoint/canonical_state.h"

#include <map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "levada/assert.h"
#include "levada/detail/cold_queue.h"
#include "levada/detail/key_groups.h"
#include "levada/error.h"

#include "checkpoint/state_file.h"

namespace levada {
namespace {

constexpr std::size_t kBlockBytes = 32 * 1024;
constexpr std::size_t kStepBytes = 1024 * 1024;
constexpr std::size_t kStepEntries = 64 * 1024;

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

EncodingWalk walk_of(const StateFileReader::Table& table, const Schema& schema, const OpaqueTypes& known) {
  std::string missing;
  auto walk = EncodingWalk::of(schema, known, &missing);
  if (walk) return *std::move(walk);
  throw StateError("state '" + table.name + "' of '" + table.node + "' is made of " + missing +
                   ", which this program does not have: its entries cannot be told apart");
}

EntryWalk entry_walk_of(const StateFileReader::Table& table, const OpaqueTypes& known) {
  const std::vector<Schema> parts = parse_table_schema(table.schema);
  EntryWalk walk;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) walk.key.push_back(walk_of(table, parts[i], known));
  walk.value = walk_of(table, parts.back(), known);
  return walk;
}

}  // namespace

struct CanonicalState::Work {
  using Name = std::pair<std::string, std::string>;     // of a table: node and name
  using Place = std::pair<std::uint32_t, std::int64_t>;  // key group and namespace
  // What the state files have of a table.
  struct Table {
    std::string schema;
    std::map<Place, std::vector<Written>> blocks;
  };

  Work(FileSystem& files, std::shared_ptr<const RestoredCheckpoint> from, std::size_t subtask,
       const ColdReading& reading_in, std::string into)
      : checkpoint(std::move(from)),
        state(checkpoint->subtasks()[subtask]),
        number(checkpoint->manifest().subtasks[subtask].subtask),
        reading(reading_in),
        writer(files, std::move(into), "tmp-savepoint", [](const std::string&) { return true; },
               reading_in.compression) {
    for (const StateFileReader::OperatorState& value : state.state->operator_states()) {
      writer.put_operator_state(value.node, value.name, value.bytes);
    }
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

  // One table at a time; false: there is no more.
  bool begin_table() {
    if (at == tables.end()) return false;
    if (!tier) tier = reading.backend->open(reading.place, state.cold.get());
    range = range_of(at->first.first);
    group = range.first;
    group_begun = false;
    outs.clear();
    out_of(at->second.schema);  // also when it is empty
    in_table = true;
    return true;
  }

  // Of a table's entries those of each schema are a table of the file.
  std::uint32_t out_of(const std::string& schema) {
    const auto [place, fresh] = outs.try_emplace(schema);
    if (fresh) place->second = writer.begin_table(at->first.first, at->first.second, schema);
    return place->second;
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
      written_bytes += block.bytes.size();
      writer.put_block(out_of(block.table->schema),
                       {name_space, group, block.block->entries, Bytes(block.bytes)});
    }
  }

  // What the tier has of their keys is old.
  void note_keys() {
    for (const Written& block : written) {
      const EntryWalk& parts = walk(*block.table);
      View in(block.bytes);
      for (std::uint32_t i = 0; i < block.block->entries; ++i) {
        const char* const begin = in.data();
        for (const EncodingWalk& part : parts.key) part.skip(in);
        newer.emplace(begin, static_cast<std::size_t>(in.data() - begin));
        if (!block.block->removed) parts.value.skip(in);
      }
      if (!in.empty()) throw StateError("'" + block.file->name() + "' has a block with more bytes than entries");
    }
  }

  void put_out() {
    if (filling.entries == 0) return;
    filling.name_space = place_name;
    filling.key_group = group;
    written_bytes += filling.bytes.size();
    writer.put_block(out_of(at->second.schema), std::exchange(filling, {}));
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
      filling.bytes += key;
      filling.bytes += cursor->value();
      ++filling.entries;
      if (filling.bytes.size() >= kBlockBytes) put_out();
    }
    cursor->next();
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
  StateFileWriter writer;
  std::unique_ptr<ColdTier> tier;
  std::map<Name, Table> tables;
  std::map<std::string, EntryWalk> walks;  // by schema
  std::size_t written_bytes = 0;
  bool complete = false;
  StateHandle handle;

  // Where it is: the table, ...
  std::map<Name, Table>::iterator at;
  bool in_table = false;
  KeyGroupRange range;
  std::map<std::string, std::uint32_t> outs;  // tables of the file, by schema
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

CanonicalState::CanonicalState(FileSystem& files, std::shared_ptr<const RestoredCheckpoint> checkpoint,
                               std::size_t subtask, const ColdReading& reading, std::string into)
    : work_(std::make_unique<Work>(files, std::move(checkpoint), subtask, reading, std::move(into))) {
  LEVADA_ASSERT(work_->state.cold != nullptr, "state without a cold tier is canonical as it is");
  if (reading.backend == nullptr) {
    throw StateError("'" + work_->state.state->name() + "' is in a cold tier, whose backend this job does not have");
  }
}

CanonicalState::~CanonicalState() = default;

std::size_t CanonicalState::step() {
  LEVADA_ASSERT(!work_->complete, "it is written once");
  const std::size_t before = work_->written_bytes;
  for (std::size_t i = 0; i < kStepEntries && work_->written_bytes - before < kStepBytes; ++i) {
    if (work_->advance()) continue;
    work_->tier.reset();
    work_->handle = work_->writer.finish();
    work_->complete = true;
    break;
  }
  return work_->written_bytes - before;
}

bool CanonicalState::complete() const noexcept { return work_->complete; }

const StateHandle& CanonicalState::handle() const noexcept { return work_->handle; }

}  // namespace levada
