// The format of INCARNATION: "levada incarnation 1 <number> <CRC32C of the text before,
// decimal>\n".
#include "checkpoint/job_directory.h"

#include <algorithm>
#include <charconv>
#include <exception>
#include <functional>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

#include "base/crc32c.h"
#include "base/fail_point.h"
#include "base/percent_encoding.h"
#include "base/planted_bug.h"
#include "checkpoint/manifest_file.h"

namespace levada {
namespace {

constexpr std::string_view kStatePrefix = "state-";
constexpr std::string_view kTemporaryPrefix = "tmp-";
constexpr std::string_view kOpenPrefix = "open-";
constexpr std::string_view kSegmentSuffix = ".log";
constexpr std::string_view kIncarnationHead = "levada incarnation 1 ";

std::optional<std::uint64_t> parse_number(std::string_view digits) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

std::string encode_incarnation(std::uint64_t incarnation) {
  std::string text(kIncarnationHead);
  text += std::to_string(incarnation);
  text += ' ';
  const std::uint32_t crc = crc32c(text);
  return text + std::to_string(crc) + "\n";
}

std::optional<std::uint64_t> decode_incarnation(std::string_view text) {
  const std::size_t space = text.rfind(' ');
  if (!text.starts_with(kIncarnationHead) || space == std::string_view::npos ||
      space < kIncarnationHead.size()) {
    return std::nullopt;
  }
  const std::optional<std::uint64_t> incarnation =
      parse_number(text.substr(kIncarnationHead.size(), space - kIncarnationHead.size()));
  if (!incarnation || encode_incarnation(*incarnation) != text) return std::nullopt;
  return incarnation;
}

}  // namespace

JobDirectory::JobDirectory(FileSystem& files, std::string_view directory, std::string job_name,
                           Log& log)
    : files_(files),
      log_(log),
      job_name_(std::move(job_name)),
      path_(join_path(directory, percent_encode(job_name_))),
      state_path_(state_directory(path_)),
      log_path_(join_path(path_, "log")) {}

std::string JobDirectory::log_directory(std::string_view sink, std::uint32_t subtask) const {
  return join_path(join_path(log_path_, percent_encode(sink)), std::to_string(subtask));
}

std::string JobDirectory::open_segment_name() const {
  return std::string(kOpenPrefix) + padded(incarnation_);
}

// ---- opening

void JobDirectory::open(std::uint64_t after_incarnation) {
  if (lock_ == nullptr) take_lock();
  files_.create_directories(state_path_);
  check_private(state_path_);
  raise_incarnation(after_incarnation);
}

void JobDirectory::take_lock() {
  if (job_name_.empty()) throw StateError("a job with checkpoints needs a name");
  files_.create_directories(path_);
  check_private(path_);
  const std::string lock_path = join_path(path_, "LOCK");
  lock_ = files_.try_lock(lock_path);
  if (!lock_ && !LEVADA_PLANTED("directory.lock_not_taken")) {
    throw JobError(
        JobErrorCode::kAlreadyRunning, {}, -1,
        "another instance of job '" + job_name_ + "' is running: it holds '" + lock_path + "'");
  }
  LEVADA_FAILPOINT("checkpoint.directory.locked", kRestore);
}

void JobDirectory::check_private(const std::string& directory) {
  const std::optional<FileStatus> found = files_.status(directory);
  const auto refuse = [&](const char* why) {
    throw StateError("checkpoints are not kept in '" + directory + "': " + why);
  };
  if (!found || !found->is_directory) refuse("it is not a directory");
  if (!found->owned_by_us) refuse("it belongs to another user");
  if (found->others_may_write) refuse("its group or everybody may write to it");
}

std::uint64_t JobDirectory::read_incarnation() {
  const std::string path = join_path(path_, "INCARNATION");
  if (!files_.exists(path)) return 0;
  const std::optional<std::uint64_t> incarnation = decode_incarnation(files_.read_file(path, 4096));
  // To go on with a guess could give an id that was used before to another checkpoint.
  if (!incarnation) throw StateError("'" + path + "' is damaged");
  return *incarnation;
}

void JobDirectory::raise_incarnation(std::uint64_t after) {
  const std::vector<CheckpointId> ids = manifest_ids(files_, path_);
  const std::uint64_t newest = ids.empty() ? 0 : ids.front() >> 32;
  incarnation_ = std::max({read_incarnation(), newest, after}) + 1;
  if (LEVADA_PLANTED("directory.incarnation_not_raised") && incarnation_ > 1) --incarnation_;
  if (incarnation_ > UINT32_MAX) throw StateError("'" + path_ + "': too many incarnations");
  const std::string path = join_path(path_, "INCARNATION");
  const std::string temporary = path + std::string(kTemporarySuffix);
  if (files_.exists(temporary)) files_.remove(temporary);
  write_synced(temporary, encode_incarnation(incarnation_));
  files_.rename(temporary, path);
  LEVADA_FAILPOINT("checkpoint.incarnation.renamed", kRestore);
  // Makes durable, too, what an earlier process renamed and could not sync any more.
  files_.sync_directory(path_);
  const std::vector<CheckpointId> found = manifest_ids(files_, path_);
  found_ = found.empty() ? 0 : found.front();
}

void JobDirectory::require_owned() {
  const std::uint64_t newest = read_incarnation();
  if (newest <= incarnation_ || LEVADA_PLANTED("directory.overtaken_goes_on")) return;
  throw JobError(JobErrorCode::kFenced, {}, -1,
                 "a later instance of job '" + job_name_ + "', incarnation " + std::to_string(newest) +
                     ", has taken '" + path_ + "' over; this one, " + std::to_string(incarnation_) +
                     ", changes nothing there any more");
}

void JobDirectory::write_synced(const std::string& path, std::string_view bytes) {
  const std::unique_ptr<WritableFile> file = files_.create(path);
  file->append(bytes);
  file->sync();
  file->close();
}

// ---- finding the newest checkpoint

std::string JobDirectory::manifest_path(CheckpointId id) const {
  return join_path(path_, manifest_file_name(id));
}

Manifest JobDirectory::read_manifest(CheckpointId id) {
  Manifest manifest = read_manifest_file(files_, path_, id);
  if (manifest.job_name != job_name_) {
    throw StateError("'" + manifest_path(id) + "' belongs to job '" + manifest.job_name + "'");
  }
  return manifest;
}

std::optional<Manifest> JobDirectory::newest_valid() {
  const std::vector<CheckpointId> ids = ids_in_time();
  std::string first_problem;
  std::optional<Manifest> manifest = first_valid(ids, first_problem);
  if (manifest || ids.empty()) return manifest;
  if (first_problem.empty()) first_problem = "its output is damaged";
  throw StateError("'" + path_ + "' has " + std::to_string(ids.size()) +
                   " checkpoints but none that can be used; the newest: " + first_problem);
}

std::optional<Manifest> JobDirectory::newest_valid_of_this_start() {
  std::vector<CheckpointId> ids = manifest_ids(files_, path_);
  std::erase_if(ids, [&](CheckpointId id) { return id >> 32 != incarnation_; });
  std::string first_problem;
  return first_valid(ids, first_problem);
}

std::optional<Manifest> JobDirectory::first_valid(const std::vector<CheckpointId>& ids,
                                                  std::string& first_problem) {
  for (const CheckpointId id : ids) {
    if (is_set_aside(id)) continue;
    try {
      Manifest manifest = read_manifest(id);
      verify_states(files_, state_path_, manifest);
      LEVADA_FAILPOINT("restore.manifest.read", kRestore);
      return manifest;
    } catch (const StateError& error) {
      log_.warning("checkpoint " + std::to_string(id) + " cannot be used: " + error.what());
      uncounted_.insert(id);
      if (first_problem.empty()) first_problem = error.what();
    }
  }
  return std::nullopt;
}

std::vector<CheckpointId> JobDirectory::ids_in_time() const {
  std::vector<CheckpointId> ids = manifest_ids(files_, path_);
  std::erase_if(ids, [this](CheckpointId id) { return is_too_late(id); });
  return ids;
}

CheckpointId JobDirectory::newest_named() const {
  const std::vector<CheckpointId> ids = ids_in_time();
  return ids.empty() ? 0 : ids.front();
}

bool JobDirectory::has(const Manifest& manifest) {
  try {
    return files_.exists(manifest_path(manifest.id)) && read_manifest(manifest.id) == manifest;
  } catch (const StateError&) {
    return false;
  }
}

std::vector<Manifest> JobDirectory::manifests_before(CheckpointId before) {
  std::vector<Manifest> manifests;
  for (const CheckpointId id : manifest_ids(files_, path_)) {
    if (id >= before) continue;
    try {
      manifests.push_back(read_manifest(id));
    } catch (const StateError& error) {
      log_.warning(error.what());
    }
  }
  std::reverse(manifests.begin(), manifests.end());
  return manifests;
}

std::vector<Manifest> JobDirectory::manifests() {
  std::vector<Manifest> manifests;
  for (const CheckpointId id : manifest_ids(files_, path_)) manifests.push_back(read_manifest(id));
  return manifests;
}

// ---- checkpoints

CheckpointId JobDirectory::begin_checkpoint() {
  LEVADA_ASSERT(lock_ != nullptr || LEVADA_PLANTED("directory.lock_not_taken"),
                "a job directory is opened before it is written to");
  MutexLock lock(mutex_);
  LEVADA_ASSERT(begun_ < UINT32_MAX, "an incarnation has fewer than 2^32 checkpoints");
  const CheckpointId id = incarnation_ << 32 | ++begun_;
  under_way_[id];
  return id;
}

std::unique_ptr<StateFileWriter> JobDirectory::make_writer(CheckpointId id, std::uint32_t chain,
                                                           std::uint32_t subtask, Compression compression,
                                                           BackgroundQueue* disk) {
  std::string name(kTemporaryPrefix);
  name += padded(id) + "-" + std::to_string(chain) + "-" + std::to_string(subtask);
  return std::make_unique<StateFileWriter>(
      files_, state_path_, std::move(name),
      [this, id](const std::string& file) { return reserve(id, file); }, compression, disk);
}

std::shared_ptr<ColdFilesWriter> JobDirectory::make_cold_writer(
    CheckpointId id, std::uint32_t chain, std::uint32_t subtask, std::shared_ptr<KnownColdFiles> known) {
  std::string name(kTemporaryPrefix);
  name += padded(id) + "-" + std::to_string(chain) + "-" + std::to_string(subtask) + "-cold";
  return std::make_shared<ColdFilesWriter>(
      files_, state_path_, std::move(name),
      [this, id](const std::string& file) { return reserve(id, file); }, std::move(known));
}

// Of its own file before the rename: from here on no sweep removes the name, and one that did so just now
// removed it before this file has it. Older files are those of the newest checkpoint, which stays as long as
// this one is under way, and from here on they stay with this one.
bool JobDirectory::reserve(CheckpointId id, const std::string& name) {
  MutexLock lock(mutex_);
  const auto found = under_way_.find(id);
  if (found == under_way_.end()) return false;
  found->second.insert(name);
  return true;
}

void JobDirectory::abandon(CheckpointId id) noexcept {
  MutexLock lock(mutex_);
  under_way_.erase(id);
  if (LEVADA_PLANTED("checkpoint.id_reused") && id > newest_committed_) --begun_;
}

void JobDirectory::commit(const Manifest& manifest) {
  LEVADA_ASSERT(manifest.job_name == job_name_, "a manifest is committed in its own directory");
  try {
    require_owned();
    write_and_name(manifest);
  } catch (...) {
    abandon(manifest.id);
    throw;
  }
  {
    MutexLock lock(mutex_);
    newest_committed_ = manifest.id;
    under_way_.erase(manifest.id);
  }
  remove_too_late();
}

// Nothing of theirs was published, and of their sinks' markers this start knows nothing: a later one that cannot read
// ours must not go back to them.
void JobDirectory::remove_too_late() noexcept {
  try {
    for (const CheckpointId id : manifest_ids(files_, path_)) {
      if (is_too_late(id)) files_.remove(manifest_path(id));
    }
  } catch (const std::exception& error) {
    log_.warning("what an overtaken start has named was not removed: " + std::string(error.what()));
  } catch (...) {
    // It goes with one of the next checkpoints.
  }
}

void JobDirectory::write_and_name(const Manifest& manifest) {
  const bool has_files =
      std::any_of(manifest.subtasks.begin(), manifest.subtasks.end(),
                  [](const SubtaskState& subtask) {
                    return !subtask.state.is_inline() || !subtask.older.empty();
                  });
  if (has_files) files_.sync_directory(state_path_);
  const std::string path = manifest_path(manifest.id);
  const std::string temporary = path + std::string(kTemporarySuffix);
  try {
    write_manifest_file(files_, manifest, temporary);
  } catch (...) {
    remove_quietly(temporary);
    throw;
  }
  // From here until the directory is synced, and is ours still, nobody knows whether the checkpoint exists.
  uncounted_.insert(manifest.id);
  files_.rename(temporary, path);
  LEVADA_FAILPOINT("checkpoint.manifest.renamed", kManifest);
  if (!LEVADA_PLANTED("manifest.directory_not_synced")) files_.sync_directory(path_);
  // A later start that begins from here on sees it. One that has begun may not have, and goes on from the checkpoint
  // before: then nothing of this one may be published.
  require_owned();
  uncounted_.erase(manifest.id);
  LEVADA_FAILPOINT("checkpoint.manifest.committed", kManifest);
}

void JobDirectory::remove_quietly(const std::string& path) noexcept {
  try {
    if (files_.exists(path)) files_.remove(path);
  } catch (...) {
    // The sweep finds it.
  }
}

// ---- sweeping

// What a sweep keeps and what it removes, as the directory says.
struct JobDirectory::Marked {
  std::vector<CheckpointId> left;      // manifests
  std::vector<CheckpointId> unwanted;  // manifests, too
  std::set<std::string> used;          // names of state files, paths of segments
  CheckpointId newest = 0;             // of those that stay
  std::size_t retained = 0;            // of those that stay, but for held and damaged ones
  bool complete = true;                // false: some manifest that stays could not be read
};

JobDirectory::Marked JobDirectory::mark(std::size_t retained) {
  Marked marked;
  std::size_t& counted = marked.retained;
  for (const CheckpointId id : manifest_ids(files_, path_)) {
    if (counted == retained && !held_.contains(id)) {
      marked.unwanted.push_back(id);
      continue;
    }
    marked.left.push_back(id);
    try {
      const Manifest manifest = read_manifest(id);
      for (const SubtaskState& subtask : manifest.subtasks) {
        if (!subtask.state.is_inline()) marked.used.insert(subtask.state.file);
        if (LEVADA_PLANTED("snapshot.older_file_swept")) continue;
        for (const StateHandle& older : subtask.older) marked.used.insert(older.file);
      }
      for (const SinkState& sink : manifest.sinks) {
        for (const SinkEpoch& epoch : sink.epochs) {
          for (const EpochSegment& segment : epoch.segments) {
            marked.used.insert(join_path(log_directory(sink.uid, segment.subtask),
                                         segment_file_name(segment.epoch)));
          }
        }
      }
      marked.newest = std::max(marked.newest, id);
      const bool counts = !uncounted_.contains(id) && !is_set_aside(id) && !is_too_late(id);
      if (counts && counted < retained) ++counted;
    } catch (const StateError& error) {
      // It may be the disk and not the manifest: as long as it stays, so do its files.
      marked.complete = false;
      if (uncounted_.insert(id).second) log_.warning(error.what());
    }
  }
  return marked;
}

JobDirectory::Swept JobDirectory::sweep(std::size_t retained) noexcept {
  Swept swept;
  try {
    LEVADA_ASSERT(retained >= 1, "the newest checkpoint is always retained");
    // What a later start writes is not among them, but for content that was here before, or that start is seen below.
    const std::vector<std::string> state_files = files_.list(state_path_);
    const Marked marked = mark(retained);
    require_owned();
    swept.left = marked.left;
    swept.retained = marked.retained;
    swept.manifests = remove_manifests(marked);
    LEVADA_FAILPOINT("checkpoint.sweep", kManifest);
    if (swept.manifests > 0) require_owned();  // that took a while
    remove_state_files(state_files, marked, swept);
    remove_segments(marked, swept);
    remove_temporary_manifests(swept);
  } catch (const std::exception& error) {
    log_.warning("old checkpoints were not removed: " + std::string(error.what()));
  } catch (...) {
    log_.warning("old checkpoints were not removed");
  }
  return swept;
}

std::size_t JobDirectory::remove_manifests(const Marked& marked) {
  for (const CheckpointId id : marked.unwanted) {
    files_.remove(manifest_path(id));
    uncounted_.erase(id);
  }
  // Else a power loss could bring a manifest back whose files are gone.
  if (!marked.unwanted.empty()) files_.sync_directory(path_);
  return marked.unwanted.size();
}

void JobDirectory::remove_state_files(const std::vector<std::string>& names, const Marked& marked, Swept& swept) {
  for (const std::string& name : names) {
    if (const auto id = id_in(name, kTemporaryPrefix, false)) {
      swept.temporary_files += remove_temporary(name, *id) ? 1 : 0;
    } else if (marked.complete && name.starts_with(kStatePrefix) && !marked.used.contains(name)) {
      swept.state_files += remove_unless_under_way(name) ? 1 : 0;
    }
  }
}

void JobDirectory::remove_segments(const Marked& marked, Swept& swept) {
  if (!files_.exists(log_path_)) return;  // no sink has logged anything yet
  for (const std::string& sink : files_.list(log_path_)) {
    const std::string sink_path = join_path(log_path_, sink);
    for (const std::string& subtask : files_.list(sink_path)) {
      const std::string folder = join_path(sink_path, subtask);
      for (const std::string& name : files_.list(folder)) {
        const std::string path = join_path(folder, name);
        if (!is_needless_segment(name, path, marked)) continue;
        files_.remove(path);
        ++swept.segments;
      }
    }
  }
}

bool JobDirectory::is_needless_segment(const std::string& name, const std::string& path,
                                       const Marked& marked) const {
  if (const auto incarnation = id_in(name, kOpenPrefix, false)) {
    return *incarnation < incarnation_;  // its writer removes one of ours
  }
  const auto epoch = id_in(name, {}, false);
  if (!epoch || !name.ends_with(kSegmentSuffix)) return false;
  const bool may_still_be_named = *epoch > marked.newest && *epoch >> 32 >= incarnation_;
  return marked.complete && !may_still_be_named && !marked.used.contains(path);
}

bool JobDirectory::remove_unless_under_way(const std::string& name) {
  MutexLock lock(mutex_);
  for (const auto& [id, names] : under_way_) {
    if (names.contains(name)) return false;
  }
  files_.remove(join_path(state_path_, name));
  return true;
}

bool JobDirectory::remove_temporary(const std::string& name, CheckpointId id) {
  {
    MutexLock lock(mutex_);
    if (under_way_.contains(id)) return false;
  }
  // Its writer, if it still runs, removes it too.
  const std::string path = join_path(state_path_, name);
  if (!files_.exists(path)) return false;
  remove_quietly(path);
  return true;
}

void JobDirectory::remove_temporary_manifests(Swept& swept) {
  for (const std::string& name : files_.list(path_)) {
    if (!name.ends_with(kTemporarySuffix)) continue;
    const auto id = manifest_id_in(std::string_view(name).substr(0, name.size() - kTemporarySuffix.size()));
    if (!id || *id >> 32 > incarnation_) continue;
    files_.remove(join_path(path_, name));
    ++swept.temporary_files;
  }
}

}  // namespace levada
