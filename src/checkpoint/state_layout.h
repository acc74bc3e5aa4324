// StateLayout: in which files the blocks of a subtask's tables are after a snapshot: in its own, or in older
// ones for the namespaces that it kept. The next snapshot refers to them for what has not changed since.
//
// A file stays on the disk while anything in it is referred to, and is one more to open at a restore. So a
// layout also says which files are worth it; what the others have is written anew by the next snapshot.
//
// Threads: plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/state_handle.h"

namespace levada {

struct StateLayout {
  struct File {
    StateHandle handle;
    bool worth_keeping = false;
  };
  struct Place {
    std::size_t file = 0;  ///< in `files`
    std::uint64_t bytes = 0;
  };
  using Spaces = std::map<std::int64_t, Place>;
  struct Table {
    std::string node;
    std::string name;
    Spaces spaces;  ///< those that have entries
  };

  /// Beyond these the files with the least in them are given up.
  static constexpr std::size_t kFilesMax = 32;

  std::vector<File> files{1};  ///< the first is its own; when that is inline, nothing can refer to it
  std::vector<Table> tables;

  /// Decides which files are worth keeping.
  void judge();
  /// The file that has a namespace and is worth keeping; null when there is none.
  const StateHandle* find(const Table& table, std::int64_t name_space) const;
  const Table* find_table(std::string_view node, std::string_view name) const;
  /// All files but its own.
  std::vector<StateHandle> older() const;
};

}  // namespace levada
