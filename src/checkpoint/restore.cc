#include "checkpoint/restore.h"

#include <algorithm>
#include <utility>

#include "levada/error.h"

#include "base/fail_point.h"

namespace levada {

RestoredCheckpoint::RestoredCheckpoint(FileSystem& files, const std::string& state_directory,
                                       Manifest manifest)
    : manifest_(std::move(manifest)) {
  for (SubtaskState& subtask : manifest_.subtasks) {
    readers_.push_back(std::make_unique<StateFileReader>(files, state_directory, subtask.state));
    LEVADA_FAILPOINT("restore.state.read", kRestore);
  }
}

const NodeState* RestoredCheckpoint::node(std::string_view uid) const noexcept {
  const auto found = std::find_if(manifest_.nodes.begin(), manifest_.nodes.end(),
                                  [&](const NodeState& node) { return node.uid == uid; });
  return found == manifest_.nodes.end() ? nullptr : &*found;
}

RestoredNodeState::RestoredNodeState(const RestoredCheckpoint& checkpoint, std::string uid)
    : checkpoint_(checkpoint), uid_(std::move(uid)) {}

CheckpointId RestoredNodeState::checkpoint() const {
  return checkpoint_.manifest().id;
}

std::vector<View> RestoredNodeState::operator_states(std::string_view name) const {
  std::vector<View> states;
  for (const auto& reader : checkpoint_.readers()) {
    for (const StateFileReader::OperatorState& state : reader->operator_states()) {
      if (state.node == uid_ && state.name == name) states.emplace_back(state.bytes);
    }
  }
  return states;
}

void RestoredNodeState::read_table(StateTable& table, std::uint32_t first_key_group,
                                   std::uint32_t last_key_group) const {
  for (const auto& reader : checkpoint_.readers()) {
    for (const StateFileReader::Table& written : reader->tables()) {
      if (written.node != uid_ || written.name != table.name()) continue;
      check_schema(written, table);
      read_blocks(*reader, written, table, first_key_group, last_key_group);
    }
  }
}

void RestoredNodeState::check_schema(const StateFileReader::Table& written,
                                     const StateTable& table) const {
  const std::string schema = table.schema();
  if (written.schema == schema) return;
  throw StateError("state '" + written.name + "' of node '" + uid_ + "' in checkpoint " +
                   std::to_string(checkpoint()) + " has schema " + written.schema +
                   ", but the program's is " + schema);
}

void RestoredNodeState::read_blocks(const StateFileReader& reader,
                                    const StateFileReader::Table& written, StateTable& table,
                                    std::uint32_t first_key_group, std::uint32_t last_key_group) {
  Bytes bytes;
  for (const StateFileReader::Block& block : written.blocks) {
    if (block.key_group < first_key_group || block.key_group >= last_key_group) continue;
    reader.read_block(block, bytes);
    table.restore({block.name_space, block.key_group, block.entries, View(bytes)});
  }
}

}  // namespace levada
