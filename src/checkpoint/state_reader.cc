#include "checkpoint/state_reader.h"

#include <map>
#include <tuple>
#include <utility>

#include "levada/detail/function_scope.h"
#include "levada/detail/state_names.h"
#include "levada/error.h"

#include "base/machine_random.h"
#include "core/schema_json.h"

namespace levada {
namespace {

using Name = CanonicalTables::Name;

[[noreturn]] void throw_no_state(const std::map<Name, std::string>& tables, std::string_view uid,
                                 std::string_view state) {
  std::string there;
  for (const auto& [table, schema] : tables) {
    there += (there.empty() ? "'" : ", '") + table.second + "' of '" + table.first + "'";
  }
  throw StateError("there is no keyed state '" + std::string(state) + "' of '" + std::string(uid) +
                   "'; there is " + (there.empty() ? "none at all" : there));
}

// Hands the blocks of one subtask's state on.
class VisitedBlocks final : public CanonicalTables::Sink {
 public:
  explicit VisitedBlocks(const StateBlockVisitor& f) : f_(f) {}
  std::uint32_t begin_table(const std::string&, const std::string&, const std::string& schema) override {
    schemas_.push_back(schema);
    return static_cast<std::uint32_t>(schemas_.size() - 1);
  }
  void put_block(std::uint32_t table, StateBlock&& block) override {
    f_(schemas_[table], {block.name_space, block.key_group, block.entries, View(block.bytes)});
  }

 private:
  const StateBlockVisitor& f_;
  std::vector<std::string> schemas_;
};

}  // namespace

std::map<Name, std::string> StateReader::Contents::tables() const {
  std::map<Name, std::string> found;
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint->subtasks()) {
    for (const StateFileReader::Table& table : subtask.state->tables()) {
      const bool whole = subtask.cold == nullptr || detail::whole_state_name(table.name).empty();
      if (whole) found[{table.node, table.name}] = table.schema;
    }
  }
  return found;
}

std::set<std::string> StateReader::Contents::schemas(const Name& table) const {
  std::set<std::string> found;
  const auto add = [&](const StateFileReader& file) {
    for (const StateFileReader::Table& there : file.tables()) {
      if (there.node == table.first && there.name == table.second) found.insert(there.schema);
    }
  };
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint->subtasks()) {
    add(*subtask.state);
    for (const auto& older : subtask.older) add(*older);
  }
  return found;
}

bool StateReader::Contents::is_cold(const Name& table) const {
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint->subtasks()) {
    if (subtask.cold == nullptr) continue;
    for (const StateFileReader::Table& there : subtask.state->tables()) {
      if (there.node == table.first && there.name == table.second) return true;
    }
  }
  return false;
}

void StateReader::Contents::count(const Name& table, StateInfo& into) const {
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint->subtasks()) {
    subtask.each_block(table.first, table.second,
                       [&](const StateFileReader&, const StateFileReader::Table&, const StateFileReader::Block& block) {
                         into.entries += block.entries;
                         into.bytes += block.length;
                       });
  }
}

bool StateReader::Contents::count_cold(const Name& table, StateInfo& into) const {
  if (backend == nullptr) return false;
  StateInfo counted;
  try {
    each_block(table, {}, [&](const std::string&, const RestoredBlock& block) {
      counted.entries += block.entries;
      counted.bytes += block.bytes.size();
    });
  } catch (const StateError&) {
    return false;  // of types that only the program knows, or damaged, as verify() would say
  }
  into.entries = counted.entries;
  into.bytes = counted.bytes;
  return true;
}

void StateReader::Contents::each_block(const Name& table, const OpaqueTypes& opaque, const StateBlockVisitor& f) const {
  if (backend == nullptr && is_cold(table)) {
    throw StateError("state '" + table.second + "' of '" + table.first +
                     "' is in a cold tier: give the reader the backend that wrote it, or read the savepoint that "
                     "make_savepoint() makes of it");
  }
  // A tier that is opened deletes what is in its place: nobody has the same.
  ColdReading reading{.backend = backend,
                      .place = {.job = "%reader", .name = std::to_string(machine_random())},
                      .opaque = opaque};
  Bytes bytes;
  for (std::size_t i = 0; i < checkpoint->subtasks().size(); ++i) {
    const RestoredCheckpoint::Subtask& subtask = checkpoint->subtasks()[i];
    if (subtask.cold == nullptr) {
      subtask.each_block(table.first, table.second,
                         [&](const StateFileReader& file, const StateFileReader::Table& there,
                             const StateFileReader::Block& block) {
                           file.read_block(block, bytes);
                           f(there.schema, {block.name_space, block.key_group, block.entries, View(bytes)});
                         });
      continue;
    }
    VisitedBlocks sink(f);
    CanonicalTables tables(checkpoint, i, reading, sink, table);
    while (tables.advance()) {
    }
  }
}

std::string json_text(std::string_view text) {
  std::string quoted;
  append_json_text(text, quoted);
  return quoted;
}

StateReader::StateReader(std::string_view path) : StateReader(path, memory_state()) {}
StateReader::StateReader(std::string_view path, const StateBackendOptions& state)
    : contents_(std::make_unique<Contents>(
          Contents{CheckpointReader(local_file_system(), path), nullptr, state.cold})) {
  contents_->checkpoint = contents_->reader.open();
}
StateReader::StateReader(StateReader&&) noexcept = default;
StateReader& StateReader::operator=(StateReader&&) noexcept = default;
StateReader::~StateReader() = default;

// State members of functions are found by their own names as well.
std::string StateReader::table_of(std::string_view uid, std::string_view state) const {
  const std::map<Name, std::string> tables = contents_->tables();
  const std::string node(uid);
  for (const std::string& name : {std::string(state), detail::state_table_name(std::string(state))}) {
    if (tables.contains({node, name})) return name;
  }
  throw_no_state(tables, uid, state);
}

CheckpointInfo StateReader::checkpoint() const {
  const Manifest& manifest = contents_->checkpoint->manifest();
  return {.id = manifest.id,
          .job_name = manifest.job_name,
          .max_parallelism = manifest.max_parallelism,
          .created = manifest.created,
          .savepoint = manifest.savepoint,
          .final = manifest.final};
}

std::vector<NodeInfo> StateReader::nodes() const {
  std::vector<NodeInfo> nodes;
  for (const NodeState& node : contents_->checkpoint->manifest().nodes) {
    nodes.push_back({node.uid, node.name, node.parallelism});
  }
  return nodes;
}

std::vector<StateInfo> StateReader::states() const {
  std::map<Name, StateInfo> found;
  for (const auto& [table, schema] : contents_->tables()) {
    StateInfo& info = found[table];
    info.keyed = true;
    info.schema = schema;
    if (contents_->is_cold(table)) {
      info.cold = !contents_->count_cold(table, info);
    } else {
      contents_->count(table, info);
    }
  }
  for (const RestoredCheckpoint::Subtask& subtask : contents_->checkpoint->subtasks()) {
    for (const StateFileReader::OperatorState& state : subtask.state->operator_states()) {
      StateInfo& info = found[{state.node, state.name}];
      ++info.entries;
      info.bytes += state.bytes.size();
    }
  }
  std::vector<StateInfo> states;
  for (auto& [id, info] : found) {
    std::tie(info.uid, info.name) = id;
    states.push_back(std::move(info));
  }
  return states;
}

std::vector<SinkInfo> StateReader::sinks() const {
  std::vector<SinkInfo> sinks;
  for (const SinkState& sink : contents_->checkpoint->manifest().sinks) {
    sinks.push_back({sink.uid, sink.name, sink.published, sink.epochs.size()});
  }
  return sinks;
}

void StateReader::verify() const { contents_->reader.verify(); }

void StateReader::read_blocks(std::string_view uid, const StateSpec& wanted,
                              const std::function<void(const RestoredBlock&)>& f) const {
  const Name table(uid, table_of(uid, wanted.name));
  std::map<std::string, StateMigration> migrations;  // by the schema written, all before an entry is read
  for (const std::string& schema : contents_->schemas(table)) {
    migrations[schema] = require_migration(table, checkpoint().id, schema, wanted.schema, wanted.types);
  }
  OpaqueTypes opaque;
  for (const StateType* const type : wanted.types) add_opaque_types(*type, opaque);
  Bytes made;
  contents_->each_block(table, opaque, [&](const std::string& schema, const RestoredBlock& block) {
    const auto& transcoder = migrations.at(schema).transcoder;
    if (!transcoder) return f(block);
    made.clear();
    transcoder->transcode(block.bytes, block.entries, made);
    f({block.name_space, block.key_group, block.entries, View(made)});
  });
}

void StateReader::read_json(std::string_view uid, std::string_view state,
                            const std::function<void(const JsonEntry&)>& f) const {
  const Name table(uid, table_of(uid, state));
  std::string key;
  std::string value;
  std::map<std::string, std::vector<Schema>> schemas;
  contents_->each_block(table, {}, [&](const std::string& schema, const RestoredBlock& block) {
    std::vector<Schema>& parts = schemas[schema];
    if (parts.empty()) parts = parse_table_schema(schema);
    View in = block.bytes;
    for (std::uint32_t i = 0; i < block.entries; ++i) {
      const char* const begin = in.data();
      key.clear();
      value.clear();
      // Of several keys, as those of a map in a key's state, a list is made.
      if (parts.size() > 2) key += '[';
      for (std::size_t part = 0; part + 1 < parts.size(); ++part) {
        if (part > 0) key += ',';
        append_json(parts[part], in, key);
      }
      if (parts.size() > 2) key += ']';
      const std::string_view key_bytes(begin, static_cast<std::size_t>(in.data() - begin));
      append_json(parts.back(), in, value);
      f({block.name_space, key, value, key_bytes});
    }
    if (!in.empty()) {
      throw StateError("state '" + table.second + "' of '" + table.first +
                       "' has a block with more bytes than entries");
    }
  });
}

std::vector<Bytes> StateReader::operator_state(std::string_view uid, std::string_view name) const {
  std::vector<Bytes> states;
  for (const View& bytes : RestoredNodeState(*contents_->checkpoint, std::string(uid)).operator_states(name)) {
    states.emplace_back(bytes.rest());
  }
  return states;
}

}  // namespace levada
