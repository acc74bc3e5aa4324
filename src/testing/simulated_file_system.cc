#include "testing/simulated_file_system.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

#include "base/file_error.h"

namespace levada::testing {
namespace {

constexpr std::size_t kSectorBytes = 512;

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace

// ---- what is on the disk, and what only seems to be

struct SimulatedFileSystem::Inode {
  Bytes content;
  std::size_t synced = 0;  // how much of it a power loss leaves alone
  bool sync_failed =
      false;  // the system dropped what it could not write: no later sync brings it back
};

struct SimulatedFileSystem::Directory {
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  Names names;
  Names synced;
  bool owned_by_us = true;
  bool others_may_write = false;
};

struct SimulatedFileSystem::State {
  struct Fault {
    FileOperation operation;
    std::uint64_t countdown;
    int error_number;
  };

  mutable Mutex mutex;
  std::map<std::string, Directory> directories LEVADA_GUARDED_BY(mutex);
  std::set<std::string> locked LEVADA_GUARDED_BY(mutex);
  std::uint64_t boots LEVADA_GUARDED_BY(mutex) = 0;
  std::uint64_t operations LEVADA_GUARDED_BY(mutex) = 0;
  std::uint64_t crash_countdown LEVADA_GUARDED_BY(mutex) = 0;
  bool crashed LEVADA_GUARDED_BY(mutex) = false;
  Random random LEVADA_GUARDED_BY(mutex){0};
  std::vector<Fault> faults LEVADA_GUARDED_BY(mutex);
  std::uint64_t capacity_bytes LEVADA_GUARDED_BY(mutex) = std::numeric_limits<std::uint64_t>::max();
  bool links LEVADA_GUARDED_BY(mutex) = true;

  void require_running() const LEVADA_REQUIRES(mutex) {
    if (crashed) throw SimulatedCrash{};
  }

  // What becomes of the next operation of this kind: an error number, or 0.
  int fault_of(FileOperation operation) LEVADA_REQUIRES(mutex) {
    int error_number = 0;
    for (Fault& fault : faults) {
      if (fault.operation == operation && fault.countdown > 0 && --fault.countdown == 0) {
        error_number = fault.error_number;
      }
    }
    return error_number;
  }

  // Runs `change` as one operation on the disk: it may be the one at which the machine stops (then
  // it is done or not), and it may fail. `partly` is what remains of it when it is not done.
  template <class Change, class Partly>
  void change(FileOperation operation, std::string_view words, const std::string& path,
              Change&& done, Partly&& partly) LEVADA_REQUIRES(mutex) {
    require_running();
    ++operations;
    if (crash_countdown > 0 && --crash_countdown == 0) {
      crashed = true;
      if (random.chance(0.5)) {
        done();
      } else {
        partly();
      }
      throw SimulatedCrash{};
    }
    if (const int error_number = fault_of(operation)) {
      partly();
      throw_file_error(words, path, error_number);
    }
    done();
  }
  template <class Change>
  void change(FileOperation operation, std::string_view words, const std::string& path,
              Change&& done) LEVADA_REQUIRES(mutex) {
    change(operation, words, path, std::forward<Change>(done), [] {});
  }

  void look(FileOperation operation, std::string_view words, const std::string& path)
      LEVADA_REQUIRES(mutex) {
    require_running();
    if (const int error_number = fault_of(operation)) throw_file_error(words, path, error_number);
  }

  Directory& directory(std::string_view words, const std::string& path) LEVADA_REQUIRES(mutex) {
    const auto found = directories.find(path);
    if (found == directories.end()) throw_file_error(words, path, ENOENT);
    return found->second;
  }

  std::shared_ptr<Inode> inode(std::string_view words, const std::string& path)
      LEVADA_REQUIRES(mutex) {
    Directory& in = directory(words, parent_of(path));
    const auto found = in.names.find(name_of(path));
    if (found == in.names.end()) throw_file_error(words, path, ENOENT);
    return found->second;
  }

  std::uint64_t used_bytes() const LEVADA_REQUIRES(mutex) {
    std::uint64_t used = 0;
    for (const auto& [path, in] : directories) {
      for (const auto& [name, file] : in.names) used += file->content.size();
    }
    return used;
  }

  void append(Inode& file, const std::string& path, std::string_view bytes) LEVADA_REQUIRES(mutex) {
    const std::uint64_t used = used_bytes();
    const std::uint64_t room = capacity_bytes > used ? capacity_bytes - used : 0;
    const std::uint64_t part = std::min(room, random.below(bytes.size() + 1));
    change(
        FileOperation::kAppend, "write", path,
        [&] {
          file.content.append(bytes.substr(0, room));
          if (bytes.size() > room) throw_file_error("write", path, ENOSPC);
        },
        [&] { file.content.append(bytes.substr(0, part)); });
  }

  void sync(Inode& file, const std::string& path) LEVADA_REQUIRES(mutex) {
    change(
        FileOperation::kSync, "sync", path,
        [&] {
          if (!file.sync_failed) file.synced = file.content.size();
        },
        [&] { file.sync_failed = true; });
  }

  // What the disk has of a file when the power comes back: the synced part; of the rest nothing, or a
  // random length, in which any sector may be nothing but zeros.
  void lose(Inode& file, PowerLoss loss, Random& fate) LEVADA_REQUIRES(mutex) {
    const std::size_t tail = loss == PowerLoss::kAnyPart ? file.content.size() - file.synced : 0;
    file.content.resize(file.synced + fate.below(tail + 1));
    for (std::size_t at = file.synced; at < file.content.size(); at += kSectorBytes) {
      const std::size_t size = std::min(kSectorBytes, file.content.size() - at);
      if (fate.chance(0.3)) file.content.replace(at, size, size, '\0');
    }
    file.synced = file.content.size();
    file.sync_failed = false;
  }

  // Each name that changed since the last sync is the old or the new one, as the loss says or on its own. But no
  // rename takes a file away: no file system that keeps a journal lets one be lost between its two names.
  void lose(Directory& in, PowerLoss loss, Random& fate) LEVADA_REQUIRES(mutex) {
    std::set<std::string> names;
    for (const auto& [name, file] : in.names) names.insert(name);
    for (const auto& [name, file] : in.synced) names.insert(name);
    Directory::Names kept;
    for (const std::string& name : names) {
      const bool is_new = loss == PowerLoss::kAnyPart ? fate.chance(0.5) : loss == PowerLoss::kNames;
      const Directory::Names& from = is_new ? in.names : in.synced;
      const auto found = from.find(name);
      if (found != from.end()) kept.insert(*found);
    }
    for (const auto& [name, file] : in.names) {
      const auto is_it = [&file = file](const auto& other) { return other.second == file; };
      if (std::none_of(in.synced.begin(), in.synced.end(), is_it)) continue;
      if (std::none_of(kept.begin(), kept.end(), is_it)) kept[name] = file;
    }
    in.names = kept;
    in.synced = std::move(kept);
  }

  void reboot() LEVADA_REQUIRES(mutex) {
    ++boots;
    locked.clear();
    crashed = false;
    crash_countdown = 0;
  }
};

// ---- open files

class SimulatedFileSystem::File final : public WritableFile {
 public:
  File(State& state, std::uint64_t boot, std::shared_ptr<Inode> inode, std::string path)
      : state_(state), boot_(boot), inode_(std::move(inode)), path_(std::move(path)) {}

  void append(std::string_view bytes) override {
    MutexLock lock(state_.mutex);
    require_open();
    state_.append(*inode_, path_, bytes);
  }
  void sync() override {
    MutexLock lock(state_.mutex);
    require_open();
    state_.sync(*inode_, path_);
  }
  void close() override {
    MutexLock lock(state_.mutex);
    require_open();
    closed_ = true;
  }

 private:
  void require_open() const LEVADA_REQUIRES(state_.mutex) {
    state_.require_running();
    if (closed_ || boot_ != state_.boots) throw_file_error("use", path_, EBADF);
  }

  State& state_;
  std::uint64_t boot_;
  std::shared_ptr<Inode> inode_;
  std::string path_;
  bool closed_ = false;
};

class SimulatedFileSystem::OpenFile final : public ReadableFile {
 public:
  OpenFile(State& state, std::shared_ptr<Inode> inode, std::uint64_t size, std::string path)
      : state_(state), inode_(std::move(inode)), size_(size), path_(std::move(path)) {}

  std::uint64_t size() const override { return size_; }
  void read(std::uint64_t offset, std::size_t count, Bytes& into) const override {
    MutexLock lock(state_.mutex);
    state_.look(FileOperation::kRead, "read", path_);
    const Bytes& content = inode_->content;
    if (offset > content.size() || count > content.size() - offset) {
      throw StateError("cannot read '" + path_ + "': it ends before byte " +
                       std::to_string(offset) + " + " + std::to_string(count));
    }
    into.assign(content, offset, count);
  }

 private:
  State& state_;
  std::shared_ptr<Inode> inode_;
  std::uint64_t size_;
  std::string path_;
};

class SimulatedFileSystem::Lock final : public FileLock {
 public:
  Lock(State& state, std::uint64_t boot, std::string path)
      : state_(state), boot_(boot), path_(std::move(path)) {}
  ~Lock() override {
    MutexLock lock(state_.mutex);
    if (boot_ == state_.boots) state_.locked.erase(path_);
  }

 private:
  State& state_;
  std::uint64_t boot_;
  std::string path_;
};

// ---- faults

SimulatedFileSystem::SimulatedFileSystem() : state_(std::make_unique<State>()) {
  MutexLock lock(state_->mutex);
  state_->directories["/"];
  state_->directories["."];
}

SimulatedFileSystem::~SimulatedFileSystem() = default;

void SimulatedFileSystem::crash_at(std::uint64_t nth, std::uint64_t seed) {
  MutexLock lock(state_->mutex);
  state_->crash_countdown = nth;
  state_->random = Random(seed);
}

void SimulatedFileSystem::crash(std::uint64_t seed, PowerLoss loss) {
  MutexLock lock(state_->mutex);
  Random fate(seed);
  std::set<Inode*> files;  // a file may have two names: an old and a new one
  std::vector<std::shared_ptr<Inode>> in_order;
  for (auto& [path, in] : state_->directories) {
    state_->lose(in, loss, fate);
    for (auto& [name, file] : in.names) {
      if (files.insert(file.get()).second) in_order.push_back(file);
    }
  }
  for (const std::shared_ptr<Inode>& file : in_order) state_->lose(*file, loss, fate);
  state_->reboot();
}

void SimulatedFileSystem::kill() {
  MutexLock lock(state_->mutex);
  state_->reboot();
}

std::uint64_t SimulatedFileSystem::operations() const {
  MutexLock lock(state_->mutex);
  return state_->operations;
}

void SimulatedFileSystem::fail(FileOperation operation, std::uint64_t nth, int error_number) {
  LEVADA_ASSERT(nth > 0, "operations are counted from 1");
  MutexLock lock(state_->mutex);
  state_->faults.push_back({operation, nth, error_number});
}

std::size_t SimulatedFileSystem::faults_left() const {
  MutexLock lock(state_->mutex);
  return static_cast<std::size_t>(std::count_if(state_->faults.begin(), state_->faults.end(),
                                                [](const State::Fault& fault) { return fault.countdown > 0; }));
}

void SimulatedFileSystem::clear_faults() {
  MutexLock lock(state_->mutex);
  state_->faults.clear();
  state_->crash_countdown = 0;
  state_->capacity_bytes = std::numeric_limits<std::uint64_t>::max();
}

void SimulatedFileSystem::set_capacity_bytes(std::uint64_t bytes) {
  MutexLock lock(state_->mutex);
  state_->capacity_bytes = bytes;
}

void SimulatedFileSystem::set_links(bool possible) {
  MutexLock lock(state_->mutex);
  state_->links = possible;
}

// ---- damage and inspection

void SimulatedFileSystem::flip_bit(const std::string& path, std::uint64_t at, unsigned bit) {
  MutexLock lock(state_->mutex);
  Bytes& content = state_->inode("damage", path)->content;
  LEVADA_ASSERT(at < content.size() && bit < 8, "a bit inside the file is flipped");
  content[at] = static_cast<char>(content[at] ^ (1 << bit));
}

void SimulatedFileSystem::truncate(const std::string& path, std::uint64_t size) {
  MutexLock lock(state_->mutex);
  Inode& file = *state_->inode("damage", path);
  LEVADA_ASSERT(size <= file.content.size(), "a cut makes a file shorter");
  file.content.resize(size);
  file.synced = std::min(file.synced, file.content.size());
}

void SimulatedFileSystem::set_directory_access(const std::string& path, bool owned_by_us,
                                               bool others_may_write) {
  MutexLock lock(state_->mutex);
  Directory& in = state_->directory("damage", path);
  in.owned_by_us = owned_by_us;
  in.others_may_write = others_may_write;
}

std::vector<std::string> SimulatedFileSystem::all_files() const {
  MutexLock lock(state_->mutex);
  std::vector<std::string> paths;
  for (const auto& [path, in] : state_->directories) {
    for (const auto& [name, file] : in.names) paths.push_back(join_path(path, name));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// ---- FileSystem

std::unique_ptr<WritableFile> SimulatedFileSystem::create(const std::string& path) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  Directory& in = state_->directory("create", parent_of(path));
  if (in.names.contains(name_of(path)) || state_->directories.contains(path)) {
    throw_file_error("create", path, EEXIST);
  }
  const auto inode = std::make_shared<Inode>();
  state_->change(FileOperation::kCreate, "create", path, [&] { in.names[name_of(path)] = inode; });
  return std::make_unique<File>(*state_, state_->boots, inode, path);
}

std::unique_ptr<ReadableFile> SimulatedFileSystem::open(const std::string& path) {
  MutexLock lock(state_->mutex);
  state_->look(FileOperation::kOpen, "open", path);
  const std::shared_ptr<Inode> inode = state_->inode("open", path);
  return std::make_unique<OpenFile>(*state_, inode, inode->content.size(), path);
}

std::optional<FileStatus> SimulatedFileSystem::status(const std::string& path) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  FileStatus status;
  status.owned_by_us = true;
  if (const auto found = state_->directories.find(path); found != state_->directories.end()) {
    status.is_directory = true;
    status.owned_by_us = found->second.owned_by_us;
    status.others_may_write = found->second.others_may_write;
    return status;
  }
  const auto in = state_->directories.find(parent_of(path));
  if (in == state_->directories.end()) return std::nullopt;
  const auto file = in->second.names.find(name_of(path));
  if (file == in->second.names.end()) return std::nullopt;
  status.is_regular = true;
  status.size = file->second->content.size();
  return status;
}

std::vector<std::string> SimulatedFileSystem::list(const std::string& directory) {
  MutexLock lock(state_->mutex);
  state_->look(FileOperation::kList, "list", directory);
  std::vector<std::string> names;
  for (const auto& [name, file] : state_->directory("list", directory).names) {
    names.push_back(name);
  }
  for (const auto& [path, in] : state_->directories) {
    if (path != directory && path != "." && parent_of(path) == directory) {
      names.push_back(name_of(path));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

void SimulatedFileSystem::rename(const std::string& from, const std::string& to) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  const std::shared_ptr<Inode> inode = state_->inode("rename to", from);
  Directory& source = state_->directory("rename to", parent_of(from));
  Directory& target = state_->directory("rename to", parent_of(to));
  state_->change(FileOperation::kRename, "rename to", to, [&] {
    source.names.erase(name_of(from));
    target.names[name_of(to)] = inode;
  });
}

bool SimulatedFileSystem::link(const std::string& from, const std::string& to) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  if (!state_->links) return false;
  const std::shared_ptr<Inode> inode = state_->inode("link to", from);
  Directory& target = state_->directory("link to", parent_of(to));
  if (target.names.contains(name_of(to))) throw_file_error("link to", to, EEXIST);
  state_->change(FileOperation::kLink, "link to", to, [&] { target.names[name_of(to)] = inode; });
  return true;
}

void SimulatedFileSystem::remove_directory(const std::string& directory) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  const bool empty = state_->directory("remove directory", directory).names.empty() &&
                     std::none_of(state_->directories.begin(), state_->directories.end(),
                                  [&](const auto& in) { return parent_of(in.first) == directory; });
  if (!empty) throw_file_error("remove directory", directory, ENOTEMPTY);
  state_->change(FileOperation::kRemove, "remove directory", directory,
                 [&]() LEVADA_THREAD_ANNOTATION(no_thread_safety_analysis) {
                   state_->directories.erase(directory);
                 });
}

void SimulatedFileSystem::remove(const std::string& path) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  static_cast<void>(state_->inode("remove", path));
  Directory& in = state_->directory("remove", parent_of(path));
  state_->change(FileOperation::kRemove, "remove", path, [&] { in.names.erase(name_of(path)); });
}

void SimulatedFileSystem::sync_directory(const std::string& directory) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  Directory& in = state_->directory("sync", directory);
  state_->change(FileOperation::kSyncDirectory, "sync", directory, [&] { in.synced = in.names; });
}

void SimulatedFileSystem::create_directories(const std::string& directory) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  for (std::size_t at = 0; at != std::string::npos;) {
    at = directory.find('/', at + 1);
    const std::string path = directory.substr(0, at);
    if (state_->directories.contains(path)) continue;
    state_->change(
        FileOperation::kCreateDirectories, "create directory", path,
        [&]() LEVADA_THREAD_ANNOTATION(no_thread_safety_analysis) { state_->directories[path]; });
  }
}

std::uint64_t SimulatedFileSystem::free_bytes(const std::string& directory) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  static_cast<void>(state_->directory("look at", directory));
  const std::uint64_t used = state_->used_bytes();
  return state_->capacity_bytes > used ? state_->capacity_bytes - used : 0;
}

std::unique_ptr<FileLock> SimulatedFileSystem::try_lock(const std::string& path) {
  MutexLock lock(state_->mutex);
  state_->require_running();
  Directory& in = state_->directory("open", parent_of(path));
  const std::string name = name_of(path);
  if (in.names.contains(name)) {
    state_->look(FileOperation::kLock, "lock", path);
  } else {
    state_->change(FileOperation::kLock, "lock", path,
                   [&] { in.names[name] = std::make_shared<Inode>(); });
  }
  if (!state_->locked.insert(path).second) return nullptr;
  return std::make_unique<Lock>(*state_, state_->boots, path);
}

}  // namespace levada::testing
