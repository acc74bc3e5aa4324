#include "checkpoint/savepoint.h"

#include <algorithm>
#include <set>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

#include "checkpoint/content_hash.h"
#include "checkpoint/manifest_file.h"

namespace levada {
namespace {

constexpr std::uint64_t kCopyBytes = 1024 * 1024;

std::vector<StateHandle> state_files_of(const std::vector<SubtaskState>& subtasks) {
  std::vector<StateHandle> found;
  std::set<std::string> names;
  const auto add = [&](const StateHandle& state) {
    if (!state.is_inline() && names.insert(state.file).second) found.push_back(state);
  };
  for (const SubtaskState& subtask : subtasks) {
    add(subtask.state);
    for (const StateHandle& older : subtask.older) add(older);
  }
  return found;
}

void remove_if_there(FileSystem& files, const std::string& path) {
  if (files.exists(path)) files.remove(path);
}

void remove_if_empty(FileSystem& files, const std::string& directory) {
  if (files.exists(directory) && files.list(directory).empty()) files.remove_directory(directory);
}

}  // namespace

void prepare_savepoint(FileSystem& files, const std::string& path) {
  if (path.empty()) throw StateError("the path of a savepoint is empty");
  files.create_directories(path);
  if (!files.list(path).empty()) throw StateError("'" + path + "' is not empty: no savepoint is taken there");
}

void commit_savepoint(FileSystem& files, const std::string& path, const Manifest& manifest) {
  files.sync_directory(state_directory(path));
  const std::string name = join_path(path, manifest_file_name(manifest.id));
  const std::string temporary = name + std::string(kTemporarySuffix);
  write_manifest_file(files, manifest, temporary);
  files.rename(temporary, name);
  files.sync_directory(path);
}

void remove_savepoint(FileSystem& files, const std::string& path, const Manifest& manifest) {
  remove_if_there(files, join_path(path, manifest_file_name(manifest.id)));
  files.sync_directory(path);  // else a power loss could bring it back without its state
  for (const StateHandle& state : state_files_of(manifest.subtasks)) {
    remove_if_there(files, join_path(state_directory(path), state.file));
  }
  remove_if_empty(files, state_directory(path));
  remove_if_empty(files, path);
}

struct SavepointExport::Copy {
  StateHandle state;
  std::unique_ptr<ReadableFile> from;
  std::unique_ptr<WritableFile> to;
  std::uint64_t done = 0;
  ContentHasher hasher;
};

SavepointExport::SavepointExport(FileSystem& files, std::string state_path, Manifest manifest,
                                 std::string path, ColdReading cold)
    : files_(files),
      from_(std::move(state_path)),
      path_(std::move(path)),
      state_path_(state_directory(path_)),
      manifest_(std::move(manifest)),
      cold_(std::move(cold)) {
  for (const SinkState& sink : manifest_.sinks) {
    LEVADA_ASSERT(sink.epochs.empty(), "the output before a savepoint is published");
  }
  manifest_.savepoint = true;
}

SavepointExport::~SavepointExport() {
  if (begun_ && !complete_) remove_all();
}

std::size_t SavepointExport::step() {
  LEVADA_ASSERT(!complete_, "a savepoint is made once");
  if (!begun_) {
    begin();
    return 0;
  }
  if (copy_) return copy_part();
  if (canonical_) return write_part();
  if (take_next_file() || take_next_subtask()) return 0;
  commit();
  return 0;
}

void SavepointExport::begin() {
  prepare_savepoint(files_, path_);
  begun_ = true;
  files_.create_directories(state_path_);
  checkpoint_ = std::make_shared<const RestoredCheckpoint>(files_, from_, manifest_);
  std::vector<SubtaskState> as_they_are;
  for (std::size_t i = 0; i < manifest_.subtasks.size(); ++i) {
    if (checkpoint_->subtasks()[i].cold == nullptr) as_they_are.push_back(manifest_.subtasks[i]);
  }
  wanted_ = state_files_of(as_they_are);
  std::reverse(wanted_.begin(), wanted_.end());
}

// Begins to write the state of the next subtask with a cold tier. False: there was none.
bool SavepointExport::take_next_subtask() {
  for (; next_subtask_ < manifest_.subtasks.size(); ++next_subtask_) {
    if (checkpoint_->subtasks()[next_subtask_].cold == nullptr) continue;
    canonical_ = std::make_unique<CanonicalState>(files_, checkpoint_, next_subtask_, cold_, state_path_);
    return true;
  }
  return false;
}

std::size_t SavepointExport::write_part() {
  const std::size_t bytes = canonical_->step();
  if (canonical_->complete()) {
    SubtaskState& subtask = manifest_.subtasks[next_subtask_++];
    subtask.state = canonical_->handle();
    subtask.older.clear();
    if (!subtask.state.is_inline()) made_.push_back(join_path(state_path_, subtask.state.file));
    canonical_.reset();
  }
  return bytes;
}

// Links the next file or begins to copy it. False: there was none.
bool SavepointExport::take_next_file() {
  if (wanted_.empty()) return false;
  const StateHandle state = std::move(wanted_.back());
  wanted_.pop_back();
  const std::string from = join_path(from_, state.file);
  const std::string to = join_path(state_path_, state.file);
  made_.push_back(to);
  if (files_.link(from, to)) return true;
  copy_ = std::make_unique<Copy>();
  copy_->state = state;
  copy_->from = files_.open(from);
  copy_->to = files_.create(to);
  return true;
}

std::size_t SavepointExport::copy_part() {
  const std::uint64_t length = copy_->from->size();
  if (copy_->done == length) {
    finish_copy();
    return 0;
  }
  Bytes part;
  copy_->from->read(copy_->done, std::min(kCopyBytes, length - copy_->done), part);
  copy_->hasher.add(part);
  copy_->to->append(part);
  copy_->done += part.size();
  return part.size();
}

void SavepointExport::finish_copy() {
  if (copy_->done != copy_->state.length || copy_->hasher.hash() != copy_->state.hash) {
    throw StateError("'" + join_path(from_, copy_->state.file) + "' is damaged: it is not as it was written");
  }
  copy_->to->sync();
  copy_->to->close();
  copy_.reset();
}

void SavepointExport::commit() {
  const std::string manifest = join_path(path_, manifest_file_name(manifest_.id));
  made_.push_back(manifest + std::string(kTemporarySuffix));
  made_.push_back(manifest);
  commit_savepoint(files_, path_, manifest_);
  complete_ = true;
}

// In the opposite order, so that the manifest goes first.
void SavepointExport::remove_all() noexcept {
  try {
    copy_.reset();
    canonical_.reset();
    for (auto path = made_.rbegin(); path != made_.rend(); ++path) remove_if_there(files_, *path);
    remove_if_empty(files_, state_path_);
    remove_if_empty(files_, path_);
  } catch (...) {
    // Without a manifest it is no savepoint, whatever is left.
  }
}

}  // namespace levada
