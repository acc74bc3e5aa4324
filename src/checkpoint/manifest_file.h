// The names and the layout that a job's directory and a savepoint's have in common:
//
//   <directory>/manifest-<20-digit id>    one per checkpoint; of a savepoint the only one
//   <directory>/state/state-<hash>-<length>
//
// Threads:  from any thread.
// Failures: StateError naming file and damage.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "checkpoint/manifest.h"

namespace levada {

inline constexpr std::string_view kTemporarySuffix = ".tmp";  ///< of a manifest that is being written

/// Twenty decimal digits.
std::string padded(CheckpointId id);
std::string manifest_file_name(CheckpointId id);
/// The id in "<prefix><20 digits>…"; `exact`: nothing may follow.
std::optional<CheckpointId> id_in(std::string_view name, std::string_view prefix, bool exact);
/// The id in a manifest's name; empty for any other name, a manifest being written included.
std::optional<CheckpointId> manifest_id_in(std::string_view name);
/// Where the state files are.
std::string state_directory(std::string_view directory);

/// The ids of the manifests there, newest first; read or not.
std::vector<CheckpointId> manifest_ids(FileSystem& files, const std::string& directory);
/// Reads the manifest `id` of a directory.
Manifest read_manifest_file(FileSystem& files, const std::string& directory, CheckpointId id);
/// Writes and syncs the manifest under a temporary name.
void write_manifest_file(FileSystem& files, const Manifest& manifest, const std::string& temporary);
/// Reads every state file that the manifest names to its end; throws at the first that is not as it was.
void verify_states(FileSystem& files, const std::string& state_directory, const Manifest& manifest);

}  // namespace levada
