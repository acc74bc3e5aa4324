#include "checkpoint/restore.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "levada/error.h"

#include "base/fail_point.h"

namespace levada {

RestoredCheckpoint::RestoredCheckpoint(FileSystem& files, const std::string& state_directory,
                                       Manifest manifest)
    : manifest_(std::move(manifest)) {
  std::map<std::string, std::shared_ptr<const StateFileReader>> opened;
  const auto open = [&](const StateHandle& handle) {
    std::shared_ptr<const StateFileReader> inlined;
    auto& reader = handle.is_inline() ? inlined : opened[handle.file];
    if (!reader) reader = std::make_shared<StateFileReader>(files, state_directory, handle);
    return reader;
  };
  for (const SubtaskState& subtask : manifest_.subtasks) {
    Subtask& into = subtasks_.emplace_back();
    into.state = open(subtask.state);
    // What the manifest does not name may have been removed.
    const std::vector<ColdFile>& cold = into.state->cold_files();
    std::vector<StateHandle> named = into.state->older_files();
    for (const ColdFile& file : cold) named.push_back(file.content);
    if (named != subtask.older) {
      throw StateError("'" + into.state->name() + "' refers to other files than the manifest says");
    }
    for (const StateHandle& older : into.state->older_files()) into.older.push_back(open(older));
    if (!cold.empty()) into.cold = std::make_shared<RestoredColdImage>(files, state_directory, cold);
    LEVADA_FAILPOINT("restore.state.read", kRestore);
  }
}

namespace {

bool is_of(const StateFileReader::Table& written, std::string_view node, std::string_view table) {
  return written.node == node && written.name == table;
}

}  // namespace

void RestoredCheckpoint::Subtask::each_block(std::string_view node, std::string_view table,
                                             const BlockVisitor& f) const {
  for (const StateFileReader::Table& written : state->tables()) {
    if (!is_of(written, node, table)) continue;
    for (const StateFileReader::Block& block : written.blocks) f(*state, written, block);
    each_kept_block(written, f);
  }
}

void RestoredCheckpoint::Subtask::each_kept_block(const StateFileReader::Table& written,
                                                  const BlockVisitor& f) const {
  for (std::size_t i = 0; i < older.size(); ++i) {
    std::set<std::int64_t> wanted;
    for (const StateFileReader::Kept& kept : written.kept) {
      if (kept.file == i) wanted.insert(kept.name_space);
    }
    std::set<std::int64_t> missing = wanted;
    for (const StateFileReader::Table& there : older[i]->tables()) {
      if (!is_of(there, written.node, written.name)) continue;
      for (const StateFileReader::Block& block : there.blocks) {
        if (!wanted.contains(block.name_space)) continue;
        missing.erase(block.name_space);
        f(*older[i], there, block);
      }
    }
    if (missing.empty()) continue;
    throw StateError("'" + older[i]->name() + "' does not have namespace " + std::to_string(*missing.begin()) +
                     " of state '" + written.name + "' of node '" + written.node + "', to which '" +
                     state->name() + "' refers");
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
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint_.subtasks()) {
    for (const StateFileReader::OperatorState& state : subtask.state->operator_states()) {
      if (state.node == uid_ && state.name == name) states.emplace_back(state.bytes);
    }
  }
  return states;
}

void RestoredNodeState::read_table(StateTable& table, std::uint32_t first_key_group,
                                   std::uint32_t last_key_group) const {
  const Migrations migrations = plan(table);
  Bytes bytes;
  Bytes made;
  const auto restore = [&](const StateFileReader& file, const StateFileReader::Table& written,
                           const StateFileReader::Block& block) {
    if (block.key_group < first_key_group || block.key_group >= last_key_group) return;
    file.read_block(block, bytes);
    const auto& transcoder = migrations.find(written.schema)->second.transcoder;
    if (transcoder && !block.removed) {
      made.clear();
      transcoder->transcode(View(bytes), block.entries, made);
      made.swap(bytes);
    }
    table.restore({block.name_space, block.key_group, block.entries, View(bytes), block.removed});
  };
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint_.subtasks()) {
    subtask.each_block(uid_, table.name(), restore);
  }
}

// For every schema under which any of the table was written, before a row is read.
RestoredNodeState::Migrations RestoredNodeState::plan(const StateTable& table) const {
  Migrations migrations;
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint_.subtasks()) {
    plan(*subtask.state, table, migrations);
  }
  if (migrations.empty()) return migrations;  // older files have more than is wanted of them
  for (const RestoredCheckpoint::Subtask& subtask : checkpoint_.subtasks()) {
    for (const auto& older : subtask.older) plan(*older, table, migrations);
  }
  return migrations;
}

void RestoredNodeState::plan(const StateFileReader& file, const StateTable& table, Migrations& into) const {
  for (const StateFileReader::Table& written : file.tables()) {
    if (!reads(written, table.name()) || into.contains(written.schema)) continue;
    const std::string wanted = table.schema();
    if (written.schema != wanted && !file.cold_files().empty()) {
      // Only blocks are made into the new schema: what is in the tier would be read wrong.
      throw StateError("state '" + written.name + "' of node '" + uid_ + "' in checkpoint " +
                       std::to_string(checkpoint()) + " is in a cold tier, whose entries keep their schema " +
                       written.schema + "; the program's is " + wanted);
    }
    into.emplace(written.schema,
                 require_migration({uid_, written.name}, checkpoint(), written.schema, wanted, table.types()));
  }
}

StateMigration require_migration(const std::pair<std::string, std::string>& node_and_table, CheckpointId checkpoint,
                                 const std::string& written, const std::string& wanted,
                                 const std::vector<const StateType*>& types) {
  StateMigration migration = plan_migration(written, wanted, types);
  if (!migration.refused()) return migration;
  const auto& [node, table] = node_and_table;
  throw StateError("state '" + table + "' of node '" + node + "' in checkpoint " + std::to_string(checkpoint) + ": " +
                   refusal_of(written, wanted, migration.problems));
}

}  // namespace levada
