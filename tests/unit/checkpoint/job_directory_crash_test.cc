// The power goes at every single operation on the disk, and any part of what was not synced survives:
// what is found then is the checkpoint before or the new one, whole.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"

#include "checkpoint/job_directory.h"
#include "checkpoint_builder.h"
#include "testing/simulated_file_system.h"

namespace levada {
namespace {

using testing::LogLines;
using testing::number_of;
using testing::SimulatedCrash;
using testing::SimulatedFileSystem;
using testing::take_checkpoint;

// Passes everything on to a simulated disk, but leaves out what a careless program leaves out.
class CarelessFileSystem final : public FileSystem {
 public:
  enum class Omission { kNothing, kFileSync, kDirectorySync };

  CarelessFileSystem(FileSystem& files, Omission omission) : files_(files), omission_(omission) {}

  std::unique_ptr<WritableFile> create(const std::string& path) override {
    return std::make_unique<File>(files_.create(path), omission_);
  }
  void sync_directory(const std::string& directory) override {
    if (omission_ != Omission::kDirectorySync) files_.sync_directory(directory);
  }
  std::unique_ptr<ReadableFile> open(const std::string& path) override { return files_.open(path); }
  std::optional<FileStatus> status(const std::string& path) override { return files_.status(path); }
  std::vector<std::string> list(const std::string& path) override { return files_.list(path); }
  void rename(const std::string& from, const std::string& to) override { files_.rename(from, to); }
  bool link(const std::string& from, const std::string& to) override { return files_.link(from, to); }
  void remove(const std::string& path) override { files_.remove(path); }
  void remove_directory(const std::string& path) override { files_.remove_directory(path); }
  void create_directories(const std::string& path) override { files_.create_directories(path); }
  std::uint64_t free_bytes(const std::string& path) override { return files_.free_bytes(path); }
  std::unique_ptr<FileLock> try_lock(const std::string& path) override {
    return files_.try_lock(path);
  }

 private:
  class File final : public WritableFile {
   public:
    File(std::unique_ptr<WritableFile> file, Omission omission)
        : file_(std::move(file)), omission_(omission) {}
    void append(std::string_view bytes) override { file_->append(bytes); }
    void sync() override {
      if (omission_ != Omission::kFileSync) file_->sync();
    }
    void close() override { file_->close(); }

   private:
    std::unique_ptr<WritableFile> file_;
    Omission omission_;
  };

  FileSystem& files_;
  Omission omission_;
};

using Omission = CarelessFileSystem::Omission;

// One run: a job that has taken `before` checkpoints is started again, takes one more and sweeps, and
// the power goes at its `crash_at`th operation.
class Run {
 public:
  Run(std::uint64_t before, Omission omission) : before_(before), files_(disk_, omission) {
    if (before == 0) return;
    JobDirectory directory(files_, "/checkpoints", "orders", log_.log());
    directory.open();
    for (std::uint64_t number = 1; number <= before; ++number) take_checkpoint(directory, number);
    last_id_ = newest_id(directory);
    // Only what comes now is at stake.
    disk_.sync_directory("/checkpoints/orders");
    disk_.sync_directory("/checkpoints/orders/state");
  }

  // Returns false when the run ended before that operation.
  bool crash_at(std::uint64_t operation, std::uint64_t seed) {
    disk_.crash_at(operation, seed);
    bool crashed = false;
    try {
      restart_and_checkpoint();
    } catch (const SimulatedCrash&) {
      crashed = true;
    }
    // A sweep reports nothing: whether the machine runs still is asked.
    try {
      static_cast<void>(disk_.exists("/"));
    } catch (const SimulatedCrash&) {
      crashed = true;
    }
    disk_.crash(seed);
    return crashed;
  }

  // Starts once more; returns what is wrong, or nothing.
  std::string problem() {
    try {
      return check();
    } catch (const std::exception& error) {
      return error.what();
    }
  }

 private:
  static CheckpointId newest_id(JobDirectory& directory) {
    const std::optional<Manifest> manifest = directory.newest_valid();
    return manifest ? manifest->id : 0;
  }

  void restart_and_checkpoint() {
    Log nobody({});  // the machine stops: nobody reads what is said then
    JobDirectory directory(files_, "/checkpoints", "orders", nobody);
    directory.open();
    last_id_ = directory.incarnation() << 32;
    take_checkpoint(directory, before_ + 1);
    committed_ = true;
    last_id_ = newest_id(directory);
    directory.sweep(1);
  }

  std::string check() {
    JobDirectory directory(files_, "/checkpoints", "orders", log_.log());
    directory.open();
    const std::optional<Manifest> manifest = directory.newest_valid();
    // A power loss never shows a damaged checkpoint: nothing is found that has to be passed over.
    if (!log_.lines().empty()) return log_.lines().front();
    if (!manifest && (committed_ || before_ > 0)) return "every checkpoint is gone";
    const std::uint64_t found =
        manifest ? number_of(files_, directory.state_path(), *manifest).value_or(0) : 0;
    if (manifest && found == 0) return "the checkpoint is not whole";
    if (found != before_ + 1 && found != before_) return "an old checkpoint came back";
    if (committed_ && found != before_ + 1) return "a committed checkpoint is gone";

    // Not even an old manifest has lost a file.
    for (const std::string& name : disk_.list(directory.path())) {
      if (!name.starts_with("manifest-") || name.ends_with(".tmp")) continue;
      const Bytes bytes = disk_.read_file(join_path(directory.path(), name));
      for (const SubtaskState& subtask : decode_manifest(bytes, name).subtasks) {
        verify_state(disk_, directory.state_path(), subtask.state);
      }
    }

    const CheckpointId id = take_checkpoint(directory, before_ + 2);
    if (id <= last_id_) return "an id was given again";
    directory.sweep(1);
    if (disk_.list(directory.state_path()).size() != 1) return "state files are left over";
    if (disk_.list(directory.path()).size() != 4) return "files are left over";
    return {};
  }

  std::uint64_t before_;
  SimulatedFileSystem disk_;
  CarelessFileSystem files_;
  LogLines log_;
  bool committed_ = false;
  CheckpointId last_id_ = 0;
};

struct Campaign {
  std::uint64_t runs = 0;
  std::uint64_t problems = 0;
  std::string first;
};

// Every operation × the seeds.
Campaign crash_everywhere(std::uint64_t before, Omission omission, std::uint64_t seeds) {
  Campaign campaign;
  for (std::uint64_t operation = 1;; ++operation) {
    bool crashed = true;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      Run run(before, omission);
      crashed = run.crash_at(operation, seed);
      const std::string problem = run.problem();
      ++campaign.runs;
      if (problem.empty()) continue;
      if (++campaign.problems > 1) continue;
      campaign.first = "operation " + std::to_string(operation) + ", seed " + std::to_string(seed) +
                       ": " + problem;
    }
    if (!crashed) return campaign;
  }
}

TEST(JobDirectoryCrash, AtAnyOperationLeavesTheOldOrTheNewCheckpointWhole) {
  for (const std::uint64_t before : {0u, 1u, 3u}) {
    const Campaign campaign = crash_everywhere(before, Omission::kNothing, 40);
    EXPECT_EQ(campaign.problems, 0u) << campaign.first;
    EXPECT_GT(campaign.runs, 40 * 15u) << "a checkpoint has more operations than that";
  }
}

// The campaign above sees what it is there for.
TEST(JobDirectoryCrash, WouldBeSeenIfFilesWereNotSynced) {
  EXPECT_GT(crash_everywhere(1, Omission::kFileSync, 10).problems, 0u);
}

TEST(JobDirectoryCrash, WouldBeSeenIfDirectoriesWereNotSynced) {
  EXPECT_GT(crash_everywhere(1, Omission::kDirectorySync, 10).problems, 0u);
}

}  // namespace
}  // namespace levada
