#include "checkpoint/cold_restore.h"

#include <algorithm>

#include "levada/detail/cold_queue.h"
#include "levada/detail/key_groups.h"
#include "levada/error.h"

namespace levada {
namespace {

constexpr std::size_t kRunBytes = std::size_t{16} << 20;

KeyGroupRange overlap(const KeyGroupRange& a, const KeyGroupRange& b) {
  const std::uint32_t first = std::max(a.first, b.first);
  return {first, std::max(first, std::min(a.last, b.last))};
}

// Takes over what has the table's prefix, whatever the namespace.
void copy_group(ColdTier& from, ColdTier& to, std::uint32_t group, std::uint32_t table, ColdRun& run) {
  Bytes first;
  detail::put_cold_prefix(first, group, table, INT64_MIN);
  const Bytes last = detail::cold_prefix_end(std::string_view(first).substr(0, 2 + 4));
  const auto cursor = from.scan(first, last);
  for (; cursor->valid(); cursor->next()) {
    run.begin(0, false);
    run.bytes() += cursor->key();
    run.end_key();
    run.bytes() += cursor->value();
    run.end();
    if (run.bytes().size() < kRunBytes) continue;
    to.take_in(run);
    run = ColdRun();
  }
}

[[noreturn]] void throw_needs_backend(const StateFileReader::Table& table, CheckpointId checkpoint) {
  throw StateError("state '" + table.name + "' of node '" + table.node + "' in checkpoint " +
                   std::to_string(checkpoint) +
                   " is in a cold tier, and the program keeps state in memory: give its environment the state "
                   "backend that wrote it");
}

}  // namespace

std::unique_ptr<ColdTier> restore_cold_tier(const ColdBackend& backend, const ColdPlace& place,
                                            const std::vector<ColdPart>& parts, KeyGroupRange range,
                                            const std::vector<std::uint32_t>& tables) {
  std::vector<ColdPart> wanted;
  for (const ColdPart& part : parts) {
    const KeyGroupRange common = overlap(part.range, range);
    if (common.first < common.last) wanted.push_back(part);
  }
  if (wanted.size() == 1 && wanted.front().range == range) {
    return backend.open(place, wanted.front().image);
  }
  std::unique_ptr<ColdTier> tier = backend.open(place, nullptr);
  ColdRun run;
  for (const ColdPart& part : wanted) {
    ColdPlace other = place;
    other.name += "-restored";
    const std::unique_ptr<ColdTier> old = backend.open(other, part.image);
    const KeyGroupRange common = overlap(part.range, range);
    for (std::uint32_t group = common.first; group < common.last; ++group) {
      for (const std::uint32_t table : tables) copy_group(*old, *tier, group, table, run);
    }
  }
  if (!run.entries().empty()) tier->take_in(run);
  return tier;
}

std::unique_ptr<ColdTier> restore_cold_tier(const ColdBackend* backend, const ColdPlace& place,
                                            const RestoredCheckpoint* restored,
                                            const std::vector<std::string>& nodes, KeyGroupRange range) {
  std::vector<ColdPart> parts;
  std::vector<std::uint32_t> tables;
  for (std::size_t i = 0; restored != nullptr && i < restored->subtasks().size(); ++i) {
    const RestoredCheckpoint::Subtask& subtask = restored->subtasks()[i];
    if (subtask.cold == nullptr) continue;
    bool wanted = false;
    ColdPart part{subtask.cold.get(), {}};
    for (const StateFileReader::Table& table : subtask.state->tables()) {
      if (std::find(nodes.begin(), nodes.end(), table.node) == nodes.end()) continue;
      if (backend == nullptr) throw_needs_backend(table, restored->manifest().id);
      const NodeState* const node = restored->node(table.node);
      if (node == nullptr) throw StateError("'" + subtask.state->name() + "' is of a node that is not in its checkpoint");
      part.range = key_group_range(restored->manifest().subtasks[i].subtask,
                                   restored->manifest().max_parallelism, node->parallelism);
      tables.push_back(detail::ColdQueue::table_number(table.node, table.name));
      wanted = true;
    }
    if (wanted) parts.push_back(part);
  }
  if (backend == nullptr) return nullptr;
  std::sort(tables.begin(), tables.end());
  tables.erase(std::unique(tables.begin(), tables.end()), tables.end());
  return restore_cold_tier(*backend, place, parts, range, tables);
}

}  // namespace levada
