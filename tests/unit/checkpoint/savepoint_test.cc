#include "checkpoint/savepoint.h"

#include <cerrno>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/manifest_file.h"
#include "checkpoint_builder.h"
#include "testing/simulated_file_system.h"

namespace levada {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using testing::FileOperation;
using testing::LogLines;
using testing::number_of;
using testing::SimulatedCrash;
using testing::SimulatedFileSystem;
using testing::take_checkpoint;

class Savepoint : public ::testing::TestWithParam<bool> {
 protected:
  Savepoint() {
    files_.set_links(GetParam());
    directory_.open();
    id_ = take_checkpoint(directory_, 1);
  }

  void save(const std::string& path) {
    SavepointExport savepoint(files_, directory_.state_path(),
                              read_manifest_file(files_, directory_.path(), id_), path);
    while (!savepoint.complete()) savepoint.step();
  }

  std::optional<std::uint64_t> number_at(const std::string& path) {
    const CheckpointReader reader(files_, path);
    reader.verify();
    EXPECT_TRUE(reader.is_savepoint());
    return number_of(files_, reader.state_path(), reader.manifest());
  }

  std::vector<std::string> files_of(const std::string& path) {
    std::vector<std::string> found = files_.all_files();
    std::erase_if(found, [&](const std::string& file) { return !file.starts_with(path + "/"); });
    return found;
  }

  LogLines log_;
  SimulatedFileSystem files_;
  JobDirectory directory_{files_, "/jobs", "orders", log_.log()};
  CheckpointId id_ = 0;
};

TEST_P(Savepoint, HasEverythingInItAndOutlivesItsJob) {
  save("/mine/first");
  for (std::uint64_t number = 2; number < 6; ++number) {
    take_checkpoint(directory_, number);
    directory_.sweep(1);
  }
  for (const std::string& file : files_of("/jobs")) files_.remove(file);
  EXPECT_EQ(number_at("/mine/first"), 1u);
}

TEST_P(Savepoint, MayBeMoved) {
  save("/mine/first");
  files_.create_directories("/elsewhere/state");
  for (const std::string& file : files_of("/mine/first")) {
    files_.rename(file, "/elsewhere" + file.substr(std::string("/mine/first").size()));
  }
  EXPECT_EQ(number_at("/elsewhere"), 1u);
}

TEST_P(Savepoint, TakesOnlyAnEmptyDirectory) {
  save("/mine/first");
  try {
    save("/mine/first");
    FAIL();
  } catch (const StateError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'/mine/first' is not empty"));
  }
  EXPECT_EQ(number_at("/mine/first"), 1u) << "the one that was there stays";
  files_.create_directories("/mine/second");
  save("/mine/second");
  EXPECT_EQ(number_at("/mine/second"), 1u);
}

TEST_P(Savepoint, GoesAsAWholeWhenItIsRemoved) {
  save("/mine/first");
  remove_savepoint(files_, "/mine/first", CheckpointReader(files_, "/mine/first").manifest());
  EXPECT_THAT(files_of("/mine"), IsEmpty());
  EXPECT_FALSE(files_.exists("/mine/first"));
  EXPECT_EQ(number_of(files_, directory_.state_path(), *directory_.newest_valid()), 1u);
}

TEST_P(Savepoint, LeavesFilesOfOthersAloneWhenItIsRemoved) {
  save("/mine/first");
  files_.create("/mine/first/notes");
  remove_savepoint(files_, "/mine/first", CheckpointReader(files_, "/mine/first").manifest());
  EXPECT_THAT(files_of("/mine"), ::testing::ElementsAre("/mine/first/notes"));
}

TEST_P(Savepoint, LeavesNothingBehindWhenTheDiskFailsAnywhere) {
  for (const FileOperation operation :
       {FileOperation::kCreate, FileOperation::kAppend, FileOperation::kSync, FileOperation::kRename,
        FileOperation::kLink, FileOperation::kSyncDirectory, FileOperation::kCreateDirectories}) {
    for (std::uint64_t nth = 1; nth < 6; ++nth) {
      files_.fail(operation, nth, EIO);
      const std::string path = "/mine/" + std::to_string(nth) + std::to_string(int(operation));
      try {
        save(path);
        EXPECT_EQ(number_at(path), 1u);
      } catch (const StateError&) {
        EXPECT_THAT(files_of(path), IsEmpty()) << path;
      }
      files_.clear_faults();
    }
  }
}

// The power goes at each operation: then it is there and whole, or it is not there.
TEST_P(Savepoint, IsWholeOrNotThereAfterAPowerLoss) {
  const std::uint64_t before = files_.operations();
  save("/mine/0");
  const std::uint64_t operations = files_.operations() - before;
  int there = 0;
  for (std::uint64_t at = 1; at <= operations; ++at) {
    const std::string path = "/mine/" + std::to_string(at);
    files_.crash_at(at, at);
    try {
      save(path);
    } catch (const SimulatedCrash&) {
    }
    files_.crash(at);
    std::vector<CheckpointId> ids;
    if (files_.exists(path)) ids = manifest_ids(files_, path);
    if (ids.empty()) continue;
    ++there;
    EXPECT_EQ(number_at(path), 1u);
  }
  EXPECT_GT(there, 0);
  EXPECT_LT(there, static_cast<int>(operations));
}

TEST_P(Savepoint, RefusesToCopyWhatIsDamaged) {
  if (GetParam()) return;  // a link is the damaged file itself: restoring finds that
  const Manifest manifest = read_manifest_file(files_, directory_.path(), id_);
  files_.flip_bit(join_path(directory_.state_path(), manifest.subtasks[0].state.file), 1000, 2);
  EXPECT_THROW(save("/mine/first"), StateError);
  EXPECT_THAT(files_of("/mine"), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Both, Savepoint, ::testing::Bool(),
                         [](const auto& of) { return of.param ? "Linked" : "Copied"; });

TEST(HeldCheckpoint, StaysWithItsFilesAndIsNotCounted) {
  LogLines log;
  SimulatedFileSystem files;
  JobDirectory directory(files, "/jobs", "orders", log.log());
  directory.open();
  const CheckpointId held = take_checkpoint(directory, 1);
  directory.hold(held);
  for (std::uint64_t number = 2; number < 6; ++number) {
    take_checkpoint(directory, number);
    EXPECT_EQ(directory.sweep(2).retained, std::min<std::size_t>(2, number));
  }
  EXPECT_EQ(manifest_ids(files, directory.path()).size(), 3u);
  const CheckpointReader reader(files, join_path(directory.path(), manifest_file_name(held)));
  reader.verify();
  directory.let_go(held);
  EXPECT_EQ(directory.sweep(2).manifests, 1u);
  EXPECT_EQ(manifest_ids(files, directory.path()).size(), 2u);
}

}  // namespace
}  // namespace levada
