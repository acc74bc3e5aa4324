#include "checkpoint/manifest_file.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>

#include "levada/error.h"

#include "base/fail_point.h"
#include "base/planted_bug.h"

namespace levada {
namespace {

constexpr std::string_view kManifestPrefix = "manifest-";
constexpr std::size_t kIdDigits = 20;
constexpr std::uint64_t kManifestBytesMax = std::uint64_t{1} << 30;

}  // namespace

std::string padded(CheckpointId id) {
  std::string digits = std::to_string(id);
  return std::string(kIdDigits - digits.size(), '0') + digits;
}

std::string manifest_file_name(CheckpointId id) {
  return std::string(kManifestPrefix) + padded(id);
}

std::optional<CheckpointId> id_in(std::string_view name, std::string_view prefix, bool exact) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  if (name.size() < kIdDigits || (exact && name.size() != kIdDigits)) return std::nullopt;
  CheckpointId id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + kIdDigits, id);
  if (error != std::errc{} || end != name.data() + kIdDigits) return std::nullopt;
  return id;
}

std::optional<CheckpointId> manifest_id_in(std::string_view name) {
  return id_in(name, kManifestPrefix, true);
}

std::string state_directory(std::string_view directory) { return join_path(directory, "state"); }

std::vector<CheckpointId> manifest_ids(FileSystem& files, const std::string& directory) {
  std::vector<CheckpointId> ids;
  for (const std::string& name : files.list(directory)) {
    if (const auto id = manifest_id_in(name)) ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end(), std::greater<>());
  return ids;
}

Manifest read_manifest_file(FileSystem& files, const std::string& directory, CheckpointId id) {
  const std::string path = join_path(directory, manifest_file_name(id));
  Manifest manifest = decode_manifest(files.read_file(path, kManifestBytesMax), path);
  if (manifest.id != id) {
    throw StateError("'" + path + "' is that of checkpoint " + std::to_string(manifest.id));
  }
  return manifest;
}

void write_manifest_file(FileSystem& files, const Manifest& manifest, const std::string& temporary) {
  const std::unique_ptr<WritableFile> file = files.create(temporary);
  file->append(encode(manifest));
  LEVADA_FAILPOINT("checkpoint.manifest.written", kManifest);
  if (!LEVADA_PLANTED("manifest.not_synced")) file->sync();
  LEVADA_FAILPOINT("checkpoint.manifest.synced", kManifest);
  file->close();
}

void verify_states(FileSystem& files, const std::string& state_directory, const Manifest& manifest) {
  std::set<std::string> verified;
  const auto verify = [&](const StateHandle& handle) {
    if (!handle.is_inline() && !verified.insert(handle.file).second) return;
    verify_state(files, state_directory, handle);
  };
  for (const SubtaskState& subtask : manifest.subtasks) {
    verify(subtask.state);
    for (const StateHandle& older : subtask.older) verify(older);
  }
}

}  // namespace levada
