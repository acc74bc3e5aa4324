#include "sim/process_files.h"

#include <algorithm>
#include <cerrno>
#include <type_traits>
#include <utility>

#include "base/percent_encoding.h"
#include "checkpoint/epoch_log.h"
#include "checkpoint/manifest_file.h"
#include "levada/error.h"

namespace levada::testing {

// ---- RetainedManifests

namespace {
constexpr std::string_view kManifestPrefix = "manifest-";
constexpr std::string_view kTemporarySuffix = ".tmp";
}  // namespace

std::optional<Manifest> RetainedManifests::read(const std::string& path) const {
  const std::string prefix = join_path(directory_, kManifestPrefix);
  if (!path.starts_with(prefix) || path.ends_with(kTemporarySuffix)) return std::nullopt;
  try {
    return decode_manifest(disk_.read_file(path), path);
  } catch (const StateError&) {
    return std::nullopt;
  }
}

void RetainedManifests::renamed(int process, const std::string& to) {
  if (!to.starts_with(directory_ + "/")) return;  // that of a savepoint
  if (to.ends_with("/INCARNATION")) owner_ = process;
  auto manifest = read(to);
  if (!manifest) return;
  std::size_t& shards = shards_[manifest->id] = 0;
  for (const SinkState& sink : manifest->sinks) {
    shards += sink.published.size();
    for (const SinkEpoch& epoch : sink.epochs) {
      Named& named = named_[{sink.uid, epoch.id}];
      named.shards = sink.published.size();
      for (const EpochSegment& segment : epoch.segments) {
        named.segments[{segment.subtask, segment.epoch}] = segment.records;
      }
    }
  }
  known_[manifest->id] = {.manifest = std::move(*manifest), .process = process,
                           .overtaken_by = process < owner_ ? owner_ : 0, .in_doubt = true};
}

const Manifest* RetainedManifests::find(CheckpointId id) const {
  const auto known = known_.find(id);
  return known == known_.end() ? nullptr : &known->second.manifest;
}

std::optional<std::uint64_t> RetainedManifests::rows_of(const std::string& sink, CheckpointId epoch,
                                                        int shard) const {
  const auto named = named_.find({sink, epoch});
  if (named == named_.end()) return std::nullopt;
  std::uint64_t rows = 0;
  for (const auto& [segment, records] : named->second.segments) {
    if (segment.first % named->second.shards == static_cast<std::size_t>(shard)) rows += records;
  }
  return rows;
}

std::size_t RetainedManifests::shards_at(CheckpointId epoch) const {
  const auto shards = shards_.find(epoch);
  return shards == shards_.end() ? 0 : shards->second;
}

std::uint64_t RetainedManifests::commits_of(int process) const {
  const auto commits = commits_of_.find(process);
  return commits == commits_of_.end() ? 0 : commits->second;
}

void RetainedManifests::synced(const std::string& directory) {
  if (directory != directory_) return;
  for (auto& [id, known] : known_) {
    if (std::exchange(known.committed, true)) continue;
    ++commits_;
    newest_committed_ = std::max(newest_committed_, id);
  }
}

bool RetainedManifests::names(const std::string& path) const {
  return std::any_of(known_.begin(), known_.end(),
                     [&](const auto& known) { return names(known.second.manifest, path); });
}

bool RetainedManifests::names(const Manifest& manifest, const std::string& path) const {
  for (const SubtaskState& subtask : manifest.subtasks) {
    const auto is_it = [&](const StateHandle& state) {
      return !state.is_inline() && path == directory_ + "/state/" + state.file;
    };
    if (is_it(subtask.state) || std::any_of(subtask.older.begin(), subtask.older.end(), is_it)) return true;
  }
  for (const SinkState& sink : manifest.sinks) {
    const std::string folder = directory_ + "/log/" + percent_encode(sink.uid) + "/";
    for (const SinkEpoch& epoch : sink.epochs) {
      for (const EpochSegment& segment : epoch.segments) {
        if (path == folder + std::to_string(segment.subtask) + "/" + segment_file_name(segment.epoch)) {
          return true;
        }
      }
    }
  }
  return false;
}

void RetainedManifests::owner_read(int process, bool could) {
  if (known_.empty()) return;
  Known& newest = known_.rbegin()->second;
  if (newest.process != process || std::exchange(newest.owner_read, true)) return;
  newest.in_doubt = !could || !newest.committed;
  if (!newest.in_doubt) ++commits_of_[process];
}

void RetainedManifests::removed(int process, const std::string& path) {
  for (const Manifest* manifest : retained(process)) {
    const std::string own = join_path(directory_, manifest_file_name(manifest->id));
    if (!violation_.empty() || (path != own && !names(*manifest, path))) continue;
    violation_ = "'" + path + "' was removed, which " +
                 (path == own ? "is to be retained" : "manifest " + std::to_string(manifest->id) + " names");
  }
  std::erase_if(known_, [&](const auto& known) {
    return path == join_path(directory_, manifest_file_name(known.first));
  });
}

void RetainedManifests::read_again() {
  known_.clear();
  for (const std::string& path : disk_.all_files()) {
    if (auto manifest = read(path)) known_[manifest->id] = {.manifest = std::move(*manifest), .committed = true};
  }
  if (!known_.empty()) newest_committed_ = std::max(newest_committed_, known_.rbegin()->first);
}

std::vector<const Manifest*> RetainedManifests::retained(int process) const {
  std::vector<const Manifest*> newest;
  for (auto known = known_.rbegin(); known != known_.rend() && newest.size() < retained_; ++known) {
    const Known& one = known->second;
    const bool in_doubt = (one.in_doubt && one.process == process) || (process != 0 && one.overtaken_by == process);
    if (one.committed && !in_doubt) newest.push_back(&known->second.manifest);
  }
  return newest;
}

// ---- ProcessFiles

void ProcessFiles::require_alive() const {
  if (dead_) throw StateError("the process is dead");
}

template <class Do>
auto ProcessFiles::run(FileOperation operation, const std::string& path, Do&& f) const {
  require_alive();
  const FileFate fate = fates_.fate(process_, operation, path);
  require_alive();
  if (fate == FileFate::kDiesBefore) {
    dead_ = true;
    throw SimulatedCrash{};
  }
  if (fate == FileFate::kFails) disk_.fail(operation, 1, fates_.draw(2) == 0 ? EIO : ENOSPC);
  struct AtEnd {
    SimulatedFileSystem& disk;
    bool failing;
    ~AtEnd() {
      if (failing) disk.clear_faults();
    }
  } at_end{disk_, fate == FileFate::kFails};
  if constexpr (std::is_void_v<std::invoke_result_t<Do>>) {
    f();
    if (fate == FileFate::kDiesAfter) {
      dead_ = true;
      throw SimulatedCrash{};
    }
  } else {
    auto result = f();
    if (fate == FileFate::kDiesAfter) {
      dead_ = true;
      throw SimulatedCrash{};
    }
    return result;
  }
}

class ProcessFiles::File final : public WritableFile {
 public:
  File(const ProcessFiles& process, std::string path, std::unique_ptr<WritableFile> file)
      : process_(process), path_(std::move(path)), file_(std::move(file)) {}

  void append(std::string_view bytes) override {
    process_.run(FileOperation::kAppend, path_, [&] { file_->append(bytes); });
  }
  void sync() override {
    process_.run(FileOperation::kSync, path_, [&] { file_->sync(); });
  }
  void close() override {
    process_.require_alive();
    file_->close();
  }

 private:
  const ProcessFiles& process_;
  const std::string path_;
  const std::unique_ptr<WritableFile> file_;
};

// A file that is read with one bit flipped, or without its end.
class ProcessFiles::Damaged final : public ReadableFile {
 public:
  Damaged(std::unique_ptr<ReadableFile> file, std::uint64_t size, std::uint64_t flipped_bit)
      : file_(std::move(file)), size_(size), flipped_bit_(flipped_bit) {}

  std::uint64_t size() const override { return size_; }
  void read(std::uint64_t offset, std::size_t count, Bytes& into) const override {
    if (offset > size_ || count > size_ - offset) throw StateError("the file ends too early");
    file_->read(offset, count, into);
    const std::uint64_t byte = flipped_bit_ / 8;
    if (byte >= offset && byte < offset + count) {
      into[byte - offset] = static_cast<char>(into[byte - offset] ^ (1 << (flipped_bit_ % 8)));
    }
  }

 private:
  const std::unique_ptr<ReadableFile> file_;
  const std::uint64_t size_;
  const std::uint64_t flipped_bit_;
};

class ProcessFiles::Lock final : public FileLock {
 public:
  Lock(int process, HeldLocks& locks, std::string path)
      : process_(process), locks_(locks), path_(std::move(path)) {}
  ~Lock() override {
    const auto held = locks_.find(path_);
    if (held != locks_.end() && held->second == process_) locks_.erase(held);
  }

 private:
  const int process_;
  HeldLocks& locks_;
  const std::string path_;
};

std::unique_ptr<WritableFile> ProcessFiles::create(const std::string& path) {
  auto file = run(FileOperation::kCreate, path, [&] { return disk_.create(path); });
  return std::make_unique<File>(*this, path, std::move(file));
}

std::unique_ptr<ReadableFile> ProcessFiles::open(const std::string& path) {
  require_alive();
  const FileFate fate = fates_.fate(process_, FileOperation::kOpen, path);
  require_alive();
  if (fate == FileFate::kFails) throw StateError("cannot open '" + path + "': Input/output error");
  auto file = disk_.open(path);
  const std::uint64_t size = file->size();
  if (size == 0 || (fate != FileFate::kDamaged && fate != FileFate::kShort)) return file;
  if (fate == FileFate::kShort) {
    return std::make_unique<Damaged>(std::move(file), fates_.draw(size), ~std::uint64_t{0});
  }
  return std::make_unique<Damaged>(std::move(file), size, fates_.draw(size * 8));
}

std::optional<FileStatus> ProcessFiles::status(const std::string& path) {
  require_alive();
  return disk_.status(path);
}

std::vector<std::string> ProcessFiles::list(const std::string& directory) {
  return run(FileOperation::kList, directory, [&] { return disk_.list(directory); });
}

void ProcessFiles::rename(const std::string& from, const std::string& to) {
  run(FileOperation::kRename, to, [&] {
    disk_.rename(from, to);
    manifests_.renamed(process_, to);
  });
}

bool ProcessFiles::link(const std::string& from, const std::string& to) {
  return run(FileOperation::kLink, to, [&] { return disk_.link(from, to); });
}

void ProcessFiles::remove_directory(const std::string& directory) {
  run(FileOperation::kRemove, directory, [&] { disk_.remove_directory(directory); });
}

void ProcessFiles::remove(const std::string& path) {
  run(FileOperation::kRemove, path, [&] {
    disk_.remove(path);
    manifests_.removed(process_, path);
  });
}

void ProcessFiles::sync_directory(const std::string& directory) {
  run(FileOperation::kSyncDirectory, directory, [&] {
    disk_.sync_directory(directory);
    manifests_.synced(directory);
  });
}

void ProcessFiles::create_directories(const std::string& directory) {
  run(FileOperation::kCreateDirectories, directory, [&] { disk_.create_directories(directory); });
}

std::uint64_t ProcessFiles::free_bytes(const std::string& directory) {
  require_alive();
  return disk_.free_bytes(directory);
}

std::unique_ptr<FileLock> ProcessFiles::try_lock(const std::string& path) {
  require_alive();
  if (!locks_.emplace(path, process_).second) return nullptr;
  return std::make_unique<Lock>(process_, locks_, path);
}

}  // namespace levada::testing
