// The names of tables in checkpoints that keep the states of a function.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace levada::detail {

inline constexpr std::string_view kStatePrefix = "state/";
inline constexpr std::string_view kDirectoryPrefix = "directory/";
inline constexpr std::string_view kPagesPrefix = "pages/";

/// Of the state that a function calls `name`.
inline std::string state_table_name(const std::string& name) { return std::string(kStatePrefix) + name; }

/// Of what a MapState with a cold tier keeps apart of its large maps (paged_map.h). A savepoint has neither.
inline std::string map_directory_name(const std::string& name) { return std::string(kDirectoryPrefix) + name; }
inline std::string map_pages_name(const std::string& name) { return std::string(kPagesPrefix) + name; }

/// The table of the state that a table of directories or pages is a part of; empty when it is none of these.
inline std::string whole_state_name(std::string_view table) {
  for (const std::string_view prefix : {kDirectoryPrefix, kPagesPrefix}) {
    if (table.starts_with(prefix)) return state_table_name(std::string(table.substr(prefix.size())));
  }
  return {};
}

}  // namespace levada::detail
