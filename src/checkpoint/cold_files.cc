#include "checkpoint/cold_files.h"

#include <algorithm>
#include <utility>

#include "levada/error.h"

namespace levada {
namespace {

constexpr std::size_t kPartBytes = 1024 * 1024;

// Calls f(part) for the parts of a file, in order.
template <class F>
std::uint64_t read_parts(FileSystem& files, const std::string& path, F f) {
  const std::unique_ptr<ReadableFile> file = files.open(path);
  const std::uint64_t length = file->size();
  Bytes part;
  for (std::uint64_t at = 0; at < length; at += part.size()) {
    file->read(at, std::min<std::uint64_t>(kPartBytes, length - at), part);
    f(std::string_view(part));
  }
  return length;
}

void copy(FileSystem& files, const std::string& from, const std::string& to) {
  const std::unique_ptr<WritableFile> file = files.create(to);
  read_parts(files, from, [&](std::string_view part) { file->append(part); });
  file->sync();
  file->close();
}

}  // namespace

ColdFilesWriter::ColdFilesWriter(FileSystem& files, std::string directory, std::string temporary_name,
                                 Reserve reserve, std::shared_ptr<KnownColdFiles> known)
    : files_(files),
      directory_(std::move(directory)),
      temporary_path_(join_path(directory_, temporary_name)),
      reserve_(std::move(reserve)),
      known_(std::move(known)) {}

// From here on the file stays, if it is there; returns whether it is.
bool ColdFilesWriter::reserve(const StateHandle& content) {
  if (!reserve_(content.file)) {
    throw StateError("'" + temporary_path_ + "' belongs to a checkpoint that was given up");
  }
  return files_.exists(join_path(directory_, content.file));
}

StateHandle ColdFilesWriter::hash(const std::string& path) const {
  ContentHasher hasher;
  const std::uint64_t length =
      read_parts(files_, path, [&](std::string_view part) { hasher.add(part); });
  return handle_of(hasher.hash(), length);
}

void ColdFilesWriter::link(const std::string& name, const std::string& path) {
  const auto known = known_->find(name);
  const StateHandle content = known != known_->end() ? known->second : hash(path);
  if (!reserve(content)) {
    if (!files_.link(path, temporary_path_)) copy(files_, path, temporary_path_);
    files_.rename(temporary_path_, join_path(directory_, content.file));
    new_bytes_ += content.length;
  }
  known_->emplace(name, content);
  written_.push_back({name, content});
}

void ColdFilesWriter::write(const std::string& name, std::string_view bytes) {
  ContentHasher hasher;
  hasher.add(bytes);
  const StateHandle content = handle_of(hasher.hash(), bytes.size());
  if (!reserve(content)) {
    const std::unique_ptr<WritableFile> file = files_.create(temporary_path_);
    file->append(bytes);
    file->sync();
    file->close();
    files_.rename(temporary_path_, join_path(directory_, content.file));
    new_bytes_ += content.length;
  }
  written_.push_back({name, content});
}

std::vector<std::string> RestoredColdImage::names() const {
  std::vector<std::string> all;
  for (const ColdFile& file : cold_) all.push_back(file.name);
  return all;
}

std::string RestoredColdImage::path_of(const std::string& name) const {
  for (const ColdFile& file : cold_) {
    if (file.name == name) return join_path(directory_, file.content.file);
  }
  throw StateError("a checkpoint's cold tier has no file '" + name + "'");
}

Bytes RestoredColdImage::read(const std::string& name) const { return files_.read_file(path_of(name)); }

void RestoredColdImage::link(const std::string& name, const std::string& path) const {
  const std::string from = path_of(name);
  if (!files_.link(from, path)) copy(files_, from, path);
}

}  // namespace levada
