#include "support/rocksdb_files.h"

#include <rocksdb/file_system.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "levada/error.h"
#include "testing/simulated_file_system.h"

namespace levada::testing {
namespace {

namespace rdb = ::rocksdb;
using rdb::IODebugContext;
using rdb::IOOptions;
using rdb::IOStatus;
using rdb::Slice;

template <class F>
IOStatus guarded(F f) {
  try {
    return f();
  } catch (const std::exception& error) {
    return IOStatus::IOError(error.what());
  } catch (const SimulatedCrash&) {
    return IOStatus::IOError("the machine has stopped");
  }
}

// Calls f(), which has no answer.
template <class F>
IOStatus done(F f) {
  return guarded([&] {
    f();
    return IOStatus::OK();
  });
}

// Reads what there is of [offset, offset + n).
IOStatus read_at(const ReadableFile& file, std::uint64_t offset, std::size_t n, Slice* result, char* scratch) {
  return guarded([&] {
    const std::uint64_t size = file.size();
    const std::size_t count = offset >= size ? 0 : static_cast<std::size_t>(std::min<std::uint64_t>(n, size - offset));
    Bytes bytes;
    if (count > 0) file.read(offset, count, bytes);
    std::memcpy(scratch, bytes.data(), count);
    *result = Slice(scratch, count);
    return IOStatus::OK();
  });
}

// RocksDB writes "/a//b/" for "/a/b".
std::string plain(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c != '/' || out.empty() || out.back() != '/') out += c;
  }
  if (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

class Sequential final : public rdb::FSSequentialFile {
 public:
  explicit Sequential(std::unique_ptr<ReadableFile> file) : file_(std::move(file)) {}
  IOStatus Read(std::size_t n, const IOOptions&, Slice* result, char* scratch, IODebugContext*) override {
    const IOStatus status = read_at(*file_, at_, n, result, scratch);
    if (status.ok()) at_ += result->size();
    return status;
  }
  IOStatus Skip(std::uint64_t n) override {
    at_ += n;
    return IOStatus::OK();
  }

 private:
  const std::unique_ptr<ReadableFile> file_;
  std::uint64_t at_ = 0;
};

class RandomAccess final : public rdb::FSRandomAccessFile {
 public:
  explicit RandomAccess(std::unique_ptr<ReadableFile> file) : file_(std::move(file)) {}
  IOStatus Read(std::uint64_t offset, std::size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return read_at(*file_, offset, n, result, scratch);
  }

 private:
  const std::unique_ptr<ReadableFile> file_;
};

class Writable final : public rdb::FSWritableFile {
 public:
  explicit Writable(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}
  using rdb::FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    return done([&] {
      file_->append({data.data(), data.size()});
      size_ += data.size();
    });
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return done([&] { file_->sync(); });
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override {
    return done([&] {
      if (const std::unique_ptr<WritableFile> file = std::exchange(file_, nullptr)) file->close();
    });
  }
  std::uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return size_; }

 private:
  std::unique_ptr<WritableFile> file_;
  std::uint64_t size_ = 0;
};

class Folder final : public rdb::FSDirectory {
 public:
  Folder(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return done([&] { files_.sync_directory(path_); });
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  FileSystem& files_;
  const std::string path_;
};

struct Lock final : public rdb::FileLock {
  std::unique_ptr<levada::FileLock> held;
};

class Files final : public rdb::FileSystem {
 public:
  explicit Files(levada::FileSystem& files) : files_(files) {}
  const char* Name() const override { return "levada files"; }

  IOStatus NewSequentialFile(const std::string& path, const rdb::FileOptions&,
                             std::unique_ptr<rdb::FSSequentialFile>* result, IODebugContext*) override {
    return opened(path, [&] { *result = std::make_unique<Sequential>(files_.open(plain(path))); });
  }
  IOStatus NewRandomAccessFile(const std::string& path, const rdb::FileOptions&,
                               std::unique_ptr<rdb::FSRandomAccessFile>* result, IODebugContext*) override {
    return opened(path, [&] { *result = std::make_unique<RandomAccess>(files_.open(plain(path))); });
  }
  IOStatus NewWritableFile(const std::string& path, const rdb::FileOptions&,
                           std::unique_ptr<rdb::FSWritableFile>* result, IODebugContext*) override {
    return done([&] {
      if (files_.exists(plain(path))) files_.remove(plain(path));
      *result = std::make_unique<Writable>(files_.create(plain(path)));
    });
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions&, std::unique_ptr<rdb::FSDirectory>* result,
                        IODebugContext*) override {
    *result = std::make_unique<Folder>(files_, plain(path));
    return IOStatus::OK();
  }
  IOStatus FileExists(const std::string& path, const IOOptions&, IODebugContext*) override {
    return guarded([&] { return files_.exists(plain(path)) ? IOStatus::OK() : IOStatus::NotFound(path); });
  }
  IOStatus GetChildren(const std::string& path, const IOOptions&, std::vector<std::string>* result,
                       IODebugContext*) override {
    return done([&] { *result = files_.list(plain(path)); });
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override {
    return opened(path, [&] { files_.remove(plain(path)); });
  }
  IOStatus CreateDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return done([&] { files_.create_directories(plain(path)); });
  }
  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions&, IODebugContext*) override {
    return done([&] { files_.create_directories(plain(path)); });
  }
  IOStatus DeleteDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return done([&] { files_.remove_directory(plain(path)); });
  }
  IOStatus GetFileSize(const std::string& path, const IOOptions&, std::uint64_t* size, IODebugContext*) override {
    return opened(path, [&] { *size = files_.size(plain(path)); });
  }
  IOStatus GetFileModificationTime(const std::string&, const IOOptions&, std::uint64_t* time,
                                   IODebugContext*) override {
    *time = 0;
    return IOStatus::OK();
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&, IODebugContext*) override {
    return done([&] { files_.rename(plain(from), plain(to)); });
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions&, IODebugContext*) override {
    return guarded([&] {
      return files_.link(plain(from), plain(to)) ? IOStatus::OK() : IOStatus::NotSupported("files cannot be shared here");
    });
  }
  IOStatus LockFile(const std::string& path, const IOOptions&, rdb::FileLock** lock, IODebugContext*) override {
    return guarded([&] {
      auto made = std::make_unique<Lock>();
      made->held = files_.try_lock(plain(path));
      if (!made->held) return IOStatus::IOError("'" + path + "' is locked");
      *lock = made.release();
      return IOStatus::OK();
    });
  }
  IOStatus UnlockFile(rdb::FileLock* lock, const IOOptions&, IODebugContext*) override {
    return done([&] { delete static_cast<Lock*>(lock); });
  }
  IOStatus GetTestDirectory(const IOOptions&, std::string* path, IODebugContext*) override {
    *path = "/";
    return IOStatus::OK();
  }
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* absolute,
                           IODebugContext*) override {
    *absolute = path;
    return IOStatus::OK();
  }
  IOStatus IsDirectory(const std::string& path, const IOOptions&, bool* is_directory, IODebugContext*) override {
    return opened(path, [&] { *is_directory = files_.status(plain(path))->is_directory; });
  }

 private:
  // What RocksDB expects to hear of a file that is not there.
  template <class F>
  IOStatus opened(const std::string& path, F f) {
    return guarded([&] {
      if (!files_.exists(plain(path))) return IOStatus::PathNotFound(path);
      f();
      return IOStatus::OK();
    });
  }

  levada::FileSystem& files_;
};

}  // namespace

std::unique_ptr<::rocksdb::Env> make_rocksdb_env(FileSystem& files) {
  return rdb::NewCompositeEnv(std::make_shared<Files>(files));
}

}  // namespace levada::testing
