#include "checkpoint/state_reader.h"

#include <map>
#include <tuple>
#include <utility>

#include "levada/detail/function_scope.h"
#include "levada/error.h"

#include "core/schema_json.h"

namespace levada {
namespace {

// Hands the blocks of a table on; the rest of the face is not called by a restore.
class BlockTable final : public StateTable {
 public:
  BlockTable(const StateSpec& spec, const std::function<void(const RestoredBlock&)>& f) : spec_(spec), f_(f) {}
  std::string_view name() const override { return spec_.name; }
  std::string schema() const override { return spec_.schema; }
  std::vector<const StateType*> types() const override { return spec_.types; }
  std::size_t entries() const override { return 0; }
  std::size_t memory_bytes() const override { return 0; }
  void begin_snapshot(CheckpointId, BlockSink&) override {}
  bool scan(std::size_t) override { return true; }
  void abort_snapshot() override {}
  void restore(const RestoredBlock& block) override { f_(block); }

 private:
  const StateSpec& spec_;
  const std::function<void(const RestoredBlock&)>& f_;
};

[[noreturn]] void throw_no_state(const StateReader& reader, std::string_view uid, std::string_view state) {
  std::string there;
  for (const StateInfo& info : reader.states()) {
    there += (there.empty() ? "'" : ", '") + info.name + "' of '" + info.uid + "'";
  }
  throw StateError("there is no keyed state '" + std::string(state) + "' of '" + std::string(uid) +
                   "'; there is " + (there.empty() ? "none at all" : there));
}

// A tier's files are its backend's to read.
void check_not_cold(const RestoredCheckpoint& checkpoint, std::string_view uid, std::string_view state) {
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint.subtasks()) {
    if (subtask.cold == nullptr) continue;
    for (const StateFileReader::Table& table : subtask.state->tables()) {
      if (table.node == uid && table.name == state) throw_in_cold_tier(uid, state);
    }
  }
}

}  // namespace

void throw_in_cold_tier(std::string_view uid, std::string_view state) {
  throw StateError("state '" + std::string(state) + "' of '" + std::string(uid) +
                   "' is in a cold tier; make_savepoint() makes a savepoint of it that can be read");
}

std::string json_text(std::string_view text) {
  std::string quoted;
  append_json_text(text, quoted);
  return quoted;
}

namespace {

// State members of functions are found by their own names as well.
std::string table_of(const RestoredNodeState& node, std::string_view state) {
  const std::string member = detail::state_table_name(std::string(state));
  return !node.has_table(state) && node.has_table(member) ? member : std::string(state);
}

}  // namespace

StateReader::StateReader(std::string_view path)
    : contents_(std::make_unique<Contents>(Contents{CheckpointReader(local_file_system(), path), nullptr})) {
  contents_->checkpoint = contents_->reader.open();
}
StateReader::StateReader(StateReader&&) noexcept = default;
StateReader& StateReader::operator=(StateReader&&) noexcept = default;
StateReader::~StateReader() = default;

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
  std::map<std::pair<std::string, std::string>, StateInfo> found;
  for (const RestoredCheckpoint::Subtask& subtask : contents_->checkpoint->subtasks()) {
    for (const StateFileReader::Table& table : subtask.state->tables()) {
      StateInfo& info = found[{table.node, table.name}];
      info.keyed = true;
      info.schema = table.schema;
    }
    for (const StateFileReader::OperatorState& state : subtask.state->operator_states()) {
      StateInfo& info = found[{state.node, state.name}];
      ++info.entries;
      info.bytes += state.bytes.size();
    }
  }
  std::vector<StateInfo> states;
  for (auto& [id, info] : found) {
    std::tie(info.uid, info.name) = id;
    if (info.keyed) {
      RestoredNodeState(*contents_->checkpoint, info.uid)
          .each_block(info.name, [&](const StateFileReader&, const StateFileReader::Table&,
                                     const StateFileReader::Block& block) {
            info.entries += block.entries;
            info.bytes += block.length;
          });
    }
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
  const RestoredNodeState state(*contents_->checkpoint, std::string(uid));
  StateSpec named = wanted;
  named.name = table_of(state, wanted.name);
  if (!state.has_table(named.name)) throw_no_state(*this, uid, wanted.name);
  check_not_cold(*contents_->checkpoint, uid, named.name);
  BlockTable table(named, f);
  state.read_table(table, 0, contents_->checkpoint->manifest().max_parallelism);
}

void StateReader::read_json(std::string_view uid, std::string_view state,
                            const std::function<void(const JsonEntry&)>& f) const {
  const RestoredNodeState node(*contents_->checkpoint, std::string(uid));
  const std::string name = table_of(node, state);
  if (!node.has_table(name)) throw_no_state(*this, uid, state);
  check_not_cold(*contents_->checkpoint, uid, name);
  std::string key;
  std::string value;
  Bytes bytes;
  std::map<std::string, std::vector<Schema>> schemas;
  node.each_block(name, [&](const StateFileReader& file, const StateFileReader::Table& table,
                             const StateFileReader::Block& block) {
    std::vector<Schema>& parts = schemas[table.schema];
    if (parts.empty()) parts = parse_table_schema(table.schema);
    file.read_block(block, bytes);
    View in(bytes);
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
    if (!in.empty()) throw StateError("'" + file.name() + "' has a block with more bytes than entries");
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
