#include "base/file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "levada/error.h"

#include "base/file_error.h"

namespace levada {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kReadableFileMode = 0666;  // less the umask
constexpr mode_t kDirectoryMode = 0700;

// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;

  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Descriptor open_or_throw(std::string_view operation, const std::string& path, int flags,
                         mode_t mode = kFileMode) {
  for (;;) {
    const int fd = ::open(path.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd >= 0) return Descriptor(fd);
    if (errno != EINTR) throw_file_error(operation, path, errno);
  }
}

class LocalWritableFile final : public WritableFile {
 public:
  LocalWritableFile(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  void append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        throw_file_error("write", path_, errno);
      }
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  // In one call; how much of it: nothing after an error.
  std::size_t append_some(std::string_view bytes) noexcept {
    const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
    return written < 0 ? 0 : static_cast<std::size_t>(written);
  }

  // Whether what is written from now on passes by the system's cache; false: the file system cannot.
  bool set_direct(bool direct) noexcept { return ::fcntl(fd_.get(), F_SETFL, direct ? O_DIRECT : 0) == 0; }

  void sync() override {
    // Of the metadata only the length is needed, which this includes.
    if (::fdatasync(fd_.get()) != 0) throw_file_error("sync", path_, errno);
  }

  void close() override {
    // After EINTR the descriptor is gone all the same.
    if (::close(fd_.release()) != 0 && errno != EINTR) throw_file_error("close", path_, errno);
  }

 private:
  Descriptor fd_;
  std::string path_;
};

// Whole buffers go to the disk directly. Where that is not possible, and for the rest at the end, as usual.
class LocalLargeFile final : public WritableFile {
 public:
  LocalLargeFile(Descriptor fd, std::string path) : file_(std::move(fd), std::move(path)) {}
  ~LocalLargeFile() override { ::operator delete(buffer_, kAlignment); }
  LocalLargeFile(const LocalLargeFile&) = delete;
  LocalLargeFile& operator=(const LocalLargeFile&) = delete;

  void append(std::string_view bytes) override {
    while (!bytes.empty()) {
      if (used_ == 0 && bytes.size() >= kBufferBytes && is_aligned(bytes.data())) {
        write_whole(bytes.substr(0, kBufferBytes));
        bytes.remove_prefix(kBufferBytes);
        continue;
      }
      if (buffer_ == nullptr) buffer_ = static_cast<char*>(::operator new(kBufferBytes, kAlignment));
      const std::size_t count = std::min(kBufferBytes - used_, bytes.size());
      std::memcpy(buffer_ + used_, bytes.data(), count);
      used_ += count;
      bytes.remove_prefix(count);
      if (used_ == kBufferBytes) write_whole({buffer_, std::exchange(used_, 0)});
    }
  }
  void sync() override {
    write_rest();
    file_.sync();
  }
  void close() override {
    write_rest();
    file_.close();
  }

 private:
  static constexpr std::size_t kBufferBytes = FileSystem::kLargeBytes;
  static constexpr std::align_val_t kAlignment{FileSystem::kLargeAlignment};

  static bool is_aligned(const char* at) {
    return reinterpret_cast<std::uintptr_t>(at) % FileSystem::kLargeAlignment == 0;
  }
  void write_whole(std::string_view left) {
    if (possible_ && !direct_) direct_ = file_.set_direct(true);
    if (direct_) left.remove_prefix(file_.append_some(left));
    if (!left.empty()) {
      // Not here, or not all of it: then what is left is no whole part any more, or there is an error to report.
      possible_ = false;
      write_buffered(left);
    }
  }
  void write_rest() {
    if (used_ > 0) write_buffered({buffer_, std::exchange(used_, 0)});
  }
  void write_buffered(std::string_view bytes) {
    if (std::exchange(direct_, false)) file_.set_direct(false);
    file_.append(bytes);
  }

  LocalWritableFile file_;
  char* buffer_ = nullptr;  // from the first bytes on that come in smaller pieces
  std::size_t used_ = 0;
  bool direct_ = false;
  bool possible_ = true;
};

class LocalReadableFile final : public ReadableFile {
 public:
  LocalReadableFile(Descriptor fd, std::uint64_t size, std::string path)
      : fd_(std::move(fd)), size_(size), path_(std::move(path)) {}

  std::uint64_t size() const override { return size_; }

  void read(std::uint64_t offset, std::size_t count, Bytes& into) const override {
    if (offset > size_ || count > size_ - offset) {
      throw StateError("cannot read '" + path_ + "': it ends before byte " +
                       std::to_string(offset) + " + " + std::to_string(count));
    }
    into.resize(count);
    std::size_t done = 0;
    while (done < count) {
      const ssize_t got =
          ::pread(fd_.get(), into.data() + done, count - done, static_cast<off_t>(offset + done));
      if (got < 0) {
        if (errno == EINTR) continue;
        throw_file_error("read", path_, errno);
      }
      if (got == 0) throw StateError("cannot read '" + path_ + "': it became shorter");
      done += static_cast<std::size_t>(got);
    }
  }

 private:
  Descriptor fd_;
  std::uint64_t size_;
  std::string path_;
};

// flock belongs to the open file: the kernel frees it with the process, however that ends.
class LocalFileLock final : public FileLock {
 public:
  explicit LocalFileLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  Descriptor fd_;
};

class LocalFileSystem final : public FileSystem {
 public:
  std::unique_ptr<WritableFile> create(const std::string& path) override {
    return std::make_unique<LocalWritableFile>(
        open_or_throw("create", path, O_WRONLY | O_CREAT | O_EXCL), path);
  }

  std::unique_ptr<WritableFile> create_readable(const std::string& path) override {
    return std::make_unique<LocalWritableFile>(
        open_or_throw("create", path, O_WRONLY | O_CREAT | O_EXCL, kReadableFileMode), path);
  }

  std::unique_ptr<WritableFile> create_large(const std::string& path) override {
    return std::make_unique<LocalLargeFile>(
        open_or_throw("create", path, O_WRONLY | O_CREAT | O_EXCL), path);
  }

  std::unique_ptr<ReadableFile> open(const std::string& path) override {
    // O_NONBLOCK: opening a pipe that somebody put there must not hang.
    Descriptor fd = open_or_throw("open", path, O_RDONLY | O_NONBLOCK);
    struct stat found {};
    if (::fstat(fd.get(), &found) != 0) throw_file_error("open", path, errno);
    if (!S_ISREG(found.st_mode)) throw StateError("cannot open '" + path + "': not a file");
    return std::make_unique<LocalReadableFile>(std::move(fd),
                                               static_cast<std::uint64_t>(found.st_size), path);
  }

  std::optional<FileStatus> status(const std::string& path) override {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
      throw_file_error("look at", path, errno);
    }
    FileStatus status;
    status.is_directory = S_ISDIR(found.st_mode);
    status.is_regular = S_ISREG(found.st_mode);
    status.owned_by_us = found.st_uid == ::geteuid();
    status.others_may_write = (found.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    status.size = static_cast<std::uint64_t>(found.st_size);
    return status;
  }

  std::vector<std::string> list(const std::string& directory) override {
    Descriptor fd = open_or_throw("list", directory, O_RDONLY | O_DIRECTORY);
    DIR* stream = ::fdopendir(fd.get());
    if (stream == nullptr) throw_file_error("list", directory, errno);
    fd.release();
    const std::unique_ptr<DIR, int (*)(DIR*)> closer(stream, &::closedir);
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(stream);
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    if (errno != 0) throw_file_error("list", directory, errno);
    std::sort(names.begin(), names.end());
    return names;
  }

  void rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) throw_file_error("rename to", to, errno);
  }

  bool link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) == 0) return true;
    // Another disk, or one without hard links, or too many of them.
    if (errno == EXDEV || errno == EPERM || errno == EOPNOTSUPP || errno == EMLINK) return false;
    throw_file_error("link to", to, errno);
  }

  void remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) throw_file_error("remove", path, errno);
  }

  void remove_directory(const std::string& directory) override {
    if (::rmdir(directory.c_str()) != 0) throw_file_error("remove directory", directory, errno);
  }

  void sync_directory(const std::string& directory) override {
    // Not through open_or_throw: the directory that the host named may be a symbolic link.
    const Descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) throw_file_error("open", directory, errno);
    if (::fsync(fd.get()) != 0) throw_file_error("sync", directory, errno);
  }

  void create_directories(const std::string& directory) override {
    for (std::size_t at = 0; at != std::string::npos;) {
      at = directory.find('/', at + 1);
      const std::string path = directory.substr(0, at);
      if (::mkdir(path.c_str(), kDirectoryMode) == 0) {
        const std::size_t slash = path.rfind('/');
        sync_directory(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
        continue;
      }
      const int error = errno;
      struct stat found {};
      const bool there = ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
      if (!there) throw_file_error("create directory", path, error);
    }
  }

  std::uint64_t free_bytes(const std::string& directory) override {
    struct statvfs found {};
    if (::statvfs(directory.c_str(), &found) != 0) throw_file_error("look at", directory, errno);
    return static_cast<std::uint64_t>(found.f_bavail) * found.f_frsize;
  }

  std::unique_ptr<FileLock> try_lock(const std::string& path) override {
    Descriptor fd = open_or_throw("open", path, O_RDWR | O_CREAT);
    while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return nullptr;
      if (errno != EINTR) throw_file_error("lock", path, errno);
    }
    return std::make_unique<LocalFileLock>(std::move(fd));
  }
};

}  // namespace

void throw_file_error(std::string_view operation, std::string_view path, int error_number) {
  std::string what = "cannot ";
  what.append(operation).append(" '").append(path).append("': ");
  what += std::generic_category().message(error_number);
  throw StateError(what);
}

std::uint64_t FileSystem::size(const std::string& path) {
  const std::optional<FileStatus> found = status(path);
  if (!found) throw_file_error("look at", path, ENOENT);
  return found->size;
}

Bytes FileSystem::read_file(const std::string& path, std::uint64_t size_max) {
  const std::unique_ptr<ReadableFile> file = open(path);
  if (file->size() > size_max) {
    throw StateError("cannot read '" + path + "': it has " + std::to_string(file->size()) +
                     " bytes, more than " + std::to_string(size_max));
  }
  Bytes content;
  file->read(0, file->size(), content);
  return content;
}

FileSystem& local_file_system() {
  static LocalFileSystem files;
  return files;
}

std::string join_path(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.ends_with('/')) path += '/';
  return path.append(name);
}

}  // namespace levada
