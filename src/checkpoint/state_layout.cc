#include "checkpoint/state_layout.h"

#include <algorithm>

namespace levada {
namespace {

// Of a file worth keeping, at least one byte in four is referred to. Not one in two: a slice of event time
// that is written while it fills is written once more when it is full, so half of a file that has one of
// each is out of date with the next snapshot.
constexpr std::uint64_t kReferredPart = 4;

}  // namespace

void StateLayout::judge() {
  std::vector<std::uint64_t> referred(files.size(), 0);
  for (const Table& table : tables) {
    for (const auto& [name_space, place] : table.spaces) referred[place.file] += place.bytes;
  }
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const StateHandle& handle = files[i].handle;
    files[i].worth_keeping = !handle.is_inline() && referred[i] >= handle.length / kReferredPart;
    if (files[i].worth_keeping) kept.push_back(i);
  }
  if (kept.size() <= kFilesMax) return;
  // Half of them at once: with one at a time every snapshot would write something again.
  std::stable_sort(kept.begin(), kept.end(),
                   [&](std::size_t a, std::size_t b) { return referred[a] < referred[b]; });
  for (std::size_t i = 0; i < kept.size() / 2; ++i) files[kept[i]].worth_keeping = false;
}

const StateHandle* StateLayout::find(const Table& table, std::int64_t name_space) const {
  const auto found = table.spaces.find(name_space);
  if (found == table.spaces.end()) return nullptr;
  const File& file = files[found->second.file];
  return file.worth_keeping ? &file.handle : nullptr;
}

const StateLayout::Table* StateLayout::find_table(std::string_view node, std::string_view name) const {
  const auto found = std::find_if(tables.begin(), tables.end(), [&](const Table& table) {
    return table.node == node && table.name == name;
  });
  return found == tables.end() ? nullptr : &*found;
}

std::vector<StateHandle> StateLayout::older() const {
  std::vector<StateHandle> handles;
  for (std::size_t i = 1; i < files.size(); ++i) handles.push_back(files[i].handle);
  return handles;
}

}  // namespace levada
