#include "checkpoint/checkpoint_reader.h"

#include <optional>
#include <utility>

#include "levada/error.h"

#include "checkpoint/manifest_file.h"

namespace levada {
namespace {

std::string_view without_slashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}

}  // namespace

CheckpointReader::CheckpointReader(FileSystem& files, std::string_view path) : files_(files) {
  if (path.empty()) throw StateError("the path of a checkpoint or savepoint is empty");
  path = without_slashes(path);
  const std::size_t slash = path.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  const std::optional<CheckpointId> id = manifest_id_in(name);
  if (id) {
    directory_ = slash == std::string_view::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    state_path_ = state_directory(directory_);
    manifest_ = read_manifest_file(files_, directory_, *id);
    return;
  }
  directory_ = path;
  state_path_ = state_directory(directory_);
  manifest_ = newest(path);
  verified_ = true;
}

Manifest CheckpointReader::newest(std::string_view path) const {
  const std::optional<FileStatus> found = files_.status(directory_);
  if (!found) throw StateError("there is no checkpoint or savepoint '" + std::string(path) + "'");
  std::string first_problem;
  if (found->is_directory) {
    for (const CheckpointId id : manifest_ids(files_, directory_)) {
      try {
        Manifest manifest = read_manifest_file(files_, directory_, id);
        verify_states(files_, state_path_, manifest);
        return manifest;
      } catch (const StateError& error) {
        if (first_problem.empty()) first_problem = error.what();
      }
    }
  }
  if (!first_problem.empty()) {
    throw StateError("'" + std::string(path) + "' cannot be used: " + first_problem);
  }
  throw StateError("'" + std::string(path) + "' is neither a savepoint, nor a job's directory with "
                   "checkpoints, nor one of its manifests");
}

void CheckpointReader::verify() const { verify_states(files_, state_path_, manifest_); }

std::shared_ptr<const RestoredCheckpoint> CheckpointReader::open() const {
  return std::make_shared<const RestoredCheckpoint>(files_, state_path_, manifest_);
}

}  // namespace levada
