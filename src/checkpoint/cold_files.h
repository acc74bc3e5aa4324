// The files of cold tiers in checkpoints: named by their content in the state directory, like state files, so a
// file that several checkpoints have is one file.
//
// Threads:  a writer from one thread at a time; an image from any.
// Lifetime: both borrow the FileSystem.
// Failures: StateError: the disk's, or that the checkpoint was given up.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "levada/cold_tier.h"

#include "base/file_system.h"
#include "checkpoint/state_handle.h"

namespace levada {

/// A file as its tier calls it, and what is in it.
struct ColdFile {
  std::string name;
  StateHandle content;
  bool operator==(const ColdFile&) const = default;
};

/// What is known of a tier's files that never change, by their names there.
using KnownColdFiles = std::map<std::string, StateHandle>;

class ColdFilesWriter final : public ColdFiles {
 public:
  /// Like StateFileWriter's.
  using Reserve = std::function<bool(const std::string& name)>;

  ColdFilesWriter(FileSystem& files, std::string directory, std::string temporary_name,
                  Reserve reserve, std::shared_ptr<KnownColdFiles> known);

  void link(const std::string& name, const std::string& path) override;
  void write(const std::string& name, std::string_view bytes) override;

  std::vector<ColdFile> take() noexcept { return std::move(written_); }
  /// Of the files that were not in the state directory.
  std::uint64_t new_bytes() const noexcept { return new_bytes_; }

 private:
  bool reserve(const StateHandle& content);
  StateHandle hash(const std::string& path) const;

  FileSystem& files_;
  std::string directory_;
  std::string temporary_path_;
  Reserve reserve_;
  std::shared_ptr<KnownColdFiles> known_;
  std::vector<ColdFile> written_;
  std::uint64_t new_bytes_ = 0;
};

/// What a tier wrote for a checkpoint.
class RestoredColdImage final : public ColdImage {
 public:
  RestoredColdImage(FileSystem& files, std::string directory, std::vector<ColdFile> cold)
      : files_(files), directory_(std::move(directory)), cold_(std::move(cold)) {}

  std::vector<std::string> names() const override;
  Bytes read(const std::string& name) const override;
  void link(const std::string& name, const std::string& path) const override;
  const std::vector<ColdFile>& cold_files() const noexcept { return cold_; }

 private:
  std::string path_of(const std::string& name) const;

  FileSystem& files_;
  std::string directory_;
  std::vector<ColdFile> cold_;
};

}  // namespace levada
