#include "checkpoint/job_directory.h"

#include <filesystem>
#include <functional>
#include <system_error>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "levada/error.h"

#include "base/fail_point.h"
#include "checkpoint/restore.h"
#include "checkpoint_builder.h"
#include "support/child_process.h"
#include "support/error_of.h"
#include "support/temp_dir.h"
#include "testing/simulated_file_system.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::FileOperation;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LogLines;
using testing::manifest_of;
using testing::number_of;
using testing::error_of;
using testing::SimulatedFileSystem;
using testing::take_checkpoint;

class JobDirectoryTest : public ::testing::Test {
 protected:
  // As a new process finds it.
  std::unique_ptr<JobDirectory> make(const std::string& job = "orders") {
    return std::make_unique<JobDirectory>(files_, "/checkpoints", job, log_.log());
  }
  std::unique_ptr<JobDirectory> start() {
    auto directory = make();
    directory->open();
    return directory;
  }
  std::optional<std::uint64_t> newest(JobDirectory& directory) {
    const std::optional<Manifest> manifest = directory.newest_valid();
    if (!manifest) return std::nullopt;
    return number_of(files_, directory.state_path(), *manifest);
  }
  static std::string manifest_path(CheckpointId id) {
    std::string digits = std::to_string(id);
    return "/checkpoints/orders/manifest-" + std::string(20 - digits.size(), '0') + digits;
  }

  SimulatedFileSystem files_;
  LogLines log_;
};

// The files of a process that another one overtakes at an operation: it has lost its lock and does not know.
class OvertakenFiles final : public FileSystem {
 public:
  OvertakenFiles(FileSystem& files, std::function<void(FileOperation, const std::string&)> before)
      : files_(files), before_(std::move(before)) {}
  std::unique_ptr<WritableFile> create(const std::string& path) override { return files_.create(path); }
  std::unique_ptr<ReadableFile> open(const std::string& path) override {
    before_(FileOperation::kOpen, path);
    return files_.open(path);
  }
  std::optional<FileStatus> status(const std::string& path) override { return files_.status(path); }
  std::vector<std::string> list(const std::string& directory) override {
    before_(FileOperation::kList, directory);
    return files_.list(directory);
  }
  void rename(const std::string& from, const std::string& to) override {
    before_(FileOperation::kRename, to);
    files_.rename(from, to);
  }
  bool link(const std::string& from, const std::string& to) override { return files_.link(from, to); }
  void remove(const std::string& path) override { files_.remove(path); }
  void remove_directory(const std::string& directory) override { files_.remove_directory(directory); }
  void sync_directory(const std::string& directory) override { files_.sync_directory(directory); }
  void create_directories(const std::string& directory) override { files_.create_directories(directory); }
  std::uint64_t free_bytes(const std::string& directory) override { return files_.free_bytes(directory); }
  // Nobody's lock keeps anybody out.
  std::unique_ptr<FileLock> try_lock(const std::string&) override { return std::make_unique<FileLock>(); }

 private:
  FileSystem& files_;
  const std::function<void(FileOperation, const std::string&)> before_;
};

// Its output could be published, while the later start has gone on from the checkpoint before.
TEST_F(JobDirectoryTest, ACheckpointThatIsNamedAfterALaterStartHasBegunDoesNotCount) {
  std::unique_ptr<JobDirectory> later;
  OvertakenFiles theirs(files_, [](FileOperation, const std::string&) {});
  bool overtakes = false;
  OvertakenFiles ours(files_, [&](FileOperation operation, const std::string& to) {
    if (!overtakes || operation != FileOperation::kRename || to.find("/manifest-") == to.npos) return;
    later = std::make_unique<JobDirectory>(theirs, "/checkpoints", "orders", log_.log());
    later->open();
    EXPECT_EQ(newest(*later), 1u);
  });
  JobDirectory directory(ours, "/checkpoints", "orders", log_.log());
  directory.open();
  take_checkpoint(directory, 1);
  overtakes = true;
  try {
    take_checkpoint(directory, 2);
    FAIL() << "it was committed";
  } catch (const JobError& error) {
    EXPECT_EQ(error.code(), JobErrorCode::kFenced);
  }
  ASSERT_NE(later, nullptr);
  EXPECT_EQ(newest(*later), 1u);  // also when it looks once more
  later->sweep(1);
  EXPECT_EQ(newest(*later), 1u);
  const CheckpointId id = take_checkpoint(*later, 3);
  EXPECT_EQ(newest(*later), 3u);
  EXPECT_EQ(later->sweep(2).left.size(), 2u);  // and that of the other is gone
  files_.flip_bit(manifest_path(id), 30, 1);
  EXPECT_EQ(newest(*start()), 1u);
}

TEST_F(JobDirectoryTest, ASweepRemovesNothingOfALaterStart) {
  bool overtaken = true;
  int nth = 0;
  for (nth = 1; overtaken; ++nth) {
    SimulatedFileSystem files;
    OvertakenFiles theirs(files, [](FileOperation, const std::string&) {});
    JobDirectory later(theirs, "/checkpoints", "orders", log_.log());
    const auto newest = [&] {
      const std::optional<Manifest> manifest = later.newest_valid();
      return manifest ? number_of(files, later.state_path(), *manifest) : std::nullopt;
    };
    int left = 0;
    OvertakenFiles ours(files, [&](FileOperation, const std::string&) {
      if (left == 0 || --left > 0) return;
      later.open();
      EXPECT_EQ(newest(), 2u);
      take_checkpoint(later, 3);
    });
    JobDirectory directory(ours, "/checkpoints", "orders", log_.log());
    directory.open();
    take_checkpoint(directory, 1);
    take_checkpoint(directory, 2);
    left = nth;
    directory.sweep(1);
    overtaken = left == 0;
    if (overtaken) {
      EXPECT_EQ(newest(), 3u) << nth;
    }
  }
  EXPECT_GT(nth, 5);
}

// Checkpoints that refer to the state file of the first one.
class JobDirectoryKept : public JobDirectoryTest {
 protected:
  // Takes a checkpoint whose subtask 0 refers to what `base` has, and commits it.
  Manifest keep(JobDirectory& directory, const Manifest& base) {
    Manifest manifest = manifest_of(directory, directory.begin_checkpoint());
    const auto writer = directory.make_writer(manifest.id, 0, 0);
    testing::keep_subtask(*writer, base.subtasks[0]);
    manifest.subtasks.push_back({"source → window", 0, writer->finish()});
    manifest.subtasks[0].older = writer->take_layout().older();
    directory.commit(manifest);
    return manifest;
  }
  static std::string state_path(const StateHandle& handle) {
    return "/checkpoints/orders/state/" + handle.file;
  }
};

TEST_F(JobDirectoryKept, AFileStaysAsLongAsACheckpointRefersToIt) {
  const auto directory = start();
  take_checkpoint(*directory, 1);
  const Manifest first = *directory->newest_valid();
  const std::string path = state_path(first.subtasks[0].state);
  Manifest last = keep(*directory, first);
  EXPECT_THAT(last.subtasks[0].older, ElementsAre(first.subtasks[0].state));
  for (int i = 0; i < 5; ++i) {
    last = keep(*directory, last);
    const JobDirectory::Swept swept = directory->sweep(1);
    EXPECT_EQ(swept.manifests, i == 0 ? 2u : 1u);
    EXPECT_EQ(swept.state_files, 0u);
    EXPECT_TRUE(files_.exists(path));
    EXPECT_EQ(directory->newest_valid(), last);
    const RestoredCheckpoint restored(files_, directory->state_path(), last);
    EXPECT_EQ(restored.subtasks()[0].older.at(0)->tables().at(0).blocks.size(), 3u);
  }
  take_checkpoint(*directory, 2);
  EXPECT_EQ(directory->sweep(2).state_files, 0u) << "the one before is retained";
  take_checkpoint(*directory, 3);
  EXPECT_EQ(directory->sweep(2).state_files, 1u);
  EXPECT_FALSE(files_.exists(path));
  EXPECT_EQ(newest(*directory), 3u);
}

TEST_F(JobDirectoryKept, AFileToWhichACheckpointUnderWayRefersIsNotSwept) {
  const auto directory = start();
  take_checkpoint(*directory, 1);
  const Manifest first = *directory->newest_valid();
  const CheckpointId under_way = directory->begin_checkpoint();
  const auto writer = directory->make_writer(under_way, 0, 0);
  testing::keep_subtask(*writer, first.subtasks[0]);
  take_checkpoint(*directory, 2);
  EXPECT_EQ(directory->sweep(1).state_files, 0u);
  EXPECT_TRUE(files_.exists(state_path(first.subtasks[0].state)));
  directory->abandon(under_way);
  EXPECT_EQ(directory->sweep(1).state_files, 1u);
  EXPECT_FALSE(files_.exists(state_path(first.subtasks[0].state)));
  EXPECT_THAT(error_of([&] {
                const auto late = directory->make_writer(under_way, 0, 1);
                testing::keep_subtask(*late, first.subtasks[0]);
              }),
              HasSubstr("given up"));
}

TEST_F(JobDirectoryKept, ACheckpointThatRefersToADamagedOrMissingFileIsNotUsed) {
  for (const bool missing : {false, true}) {
    files_.create_directories("/checkpoints");
    const auto directory = start();
    take_checkpoint(*directory, 1);
    take_checkpoint(*directory, 2);
    const Manifest second = *directory->newest_valid();
    const Manifest third = keep(*directory, second);
    EXPECT_EQ(directory->newest_valid()->id, third.id);
    const std::string path = state_path(second.subtasks[0].state);
    if (missing) {
      files_.remove(path);
    } else {
      files_.flip_bit(path, 10'000, 2);
    }
    EXPECT_EQ(newest(*directory), 1u) << "neither of the two that need the file";
    const auto warned = log_.lines().size();
    ASSERT_GE(warned, 2u);
    EXPECT_THAT(log_.lines()[warned - 2], AllOf(HasSubstr(std::to_string(third.id)), HasSubstr(path)));
    for (const std::string& file : files_.all_files()) files_.remove(file);
  }
}

TEST_F(JobDirectoryTest, HasNoCheckpointAtFirst) {
  const auto directory = start();
  EXPECT_EQ(directory->newest_valid(), std::nullopt);
  EXPECT_EQ(directory->path(), "/checkpoints/orders");
  EXPECT_EQ(directory->incarnation(), 1u);
}

TEST_F(JobDirectoryTest, FindsTheNewestCheckpointAgain) {
  {
    const auto directory = start();
    take_checkpoint(*directory, 1);
    take_checkpoint(*directory, 2);
  }
  const auto directory = start();
  EXPECT_EQ(newest(*directory), 2u);
  EXPECT_THAT(log_.lines(), IsEmpty());
}

TEST_F(JobDirectoryTest, NeverGivesAnIdTwice) {
  const CheckpointId one = std::uint64_t{1} << 32;
  {
    const auto directory = start();
    EXPECT_EQ(directory->begin_checkpoint(), one + 1);
    EXPECT_EQ(directory->begin_checkpoint(), one + 2);
  }
  EXPECT_EQ(start()->begin_checkpoint(), 2 * one + 1) << "also without any manifest";
}

TEST_F(JobDirectoryTest, RaisesTheIncarnationAboveThatOfAManifestBroughtFromElsewhere) {
  {
    const auto directory = start();
    take_checkpoint(*directory, 1);
  }
  files_.remove("/checkpoints/orders/INCARNATION");
  EXPECT_EQ(start()->incarnation(), 2u);
}

TEST_F(JobDirectoryTest, RefusesToGuessADamagedIncarnation) {
  static_cast<void>(start());
  const std::string path = "/checkpoints/orders/INCARNATION";
  const std::uint64_t size = files_.size(path);
  for (std::uint64_t bit = 0; bit < size * 8; ++bit) {
    files_.flip_bit(path, bit / 8, bit % 8);
    EXPECT_THAT(error_of([&] { start(); }), HasSubstr("INCARNATION' is damaged")) << bit;
    files_.flip_bit(path, bit / 8, bit % 8);
  }
  EXPECT_EQ(start()->incarnation(), 2u);
}

TEST_F(JobDirectoryTest, KeepsJobsApartWhateverTheirNames) {
  auto first = make("../a/b");
  first->open();
  EXPECT_EQ(first->path(), "/checkpoints/%2E.%2Fa%2Fb");
  auto second = make("a");
  second->open();
  EXPECT_THAT(error_of([&] { make("")->open(); }), HasSubstr("needs a name"));
}

TEST_F(JobDirectoryTest, RefusesASecondInstanceAndNamesTheLock) {
  const auto first = start();
  try {
    start();
    FAIL() << "the second was let in";
  } catch (const JobError& error) {
    EXPECT_EQ(error.code(), JobErrorCode::kAlreadyRunning);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("'orders'"), HasSubstr("/checkpoints/orders/LOCK")));
  }
}

TEST_F(JobDirectoryTest, RefusesADirectoryThatOthersOwnOrMayWrite) {
  static_cast<void>(start());
  for (const std::string path : {"/checkpoints/orders", "/checkpoints/orders/state"}) {
    files_.set_directory_access(path, false, false);
    EXPECT_THAT(error_of([&] { start(); }),
                AllOf(HasSubstr("'" + path + "'"), HasSubstr("belongs to another user")));
    files_.set_directory_access(path, true, true);
    EXPECT_THAT(error_of([&] { start(); }),
                AllOf(HasSubstr("'" + path + "'"), HasSubstr("may write to it")));
    files_.set_directory_access(path, true, false);
  }
  static_cast<void>(start());
}

TEST_F(JobDirectoryTest, SaysWhyItCannotBeCreated) {
  files_.fail(FileOperation::kCreateDirectories, 1, EROFS);
  EXPECT_THAT(error_of([&] { start(); }),
              AllOf(HasSubstr("'/checkpoints'"), HasSubstr("Read-only file system")));
  files_.fail(FileOperation::kLock, 1, EACCES);
  EXPECT_THAT(error_of([&] { start(); }), AllOf(HasSubstr("LOCK"), HasSubstr("Permission denied")));
  files_.set_capacity_bytes(0);
  EXPECT_THAT(error_of([&] { start(); }),
              AllOf(HasSubstr("INCARNATION"), HasSubstr("No space left on device")));
}

// ---- damage

TEST_F(JobDirectoryTest, FallsBackOverAManifestWithAnyFlippedBitAndWarns) {
  CheckpointId id = 0;
  {
    const auto directory = start();
    take_checkpoint(*directory, 1);
    id = take_checkpoint(*directory, 2);
  }
  const std::uint64_t size = files_.size(manifest_path(id));
  for (std::uint64_t bit = 0; bit < size * 8; ++bit) {
    files_.flip_bit(manifest_path(id), bit / 8, bit % 8);
    LogLines log;
    JobDirectory directory(files_, "/checkpoints", "orders", log.log());
    ASSERT_EQ(newest(directory), 1u) << bit;
    EXPECT_THAT(log.lines(), ElementsAre(HasSubstr(manifest_path(id))));
    files_.flip_bit(manifest_path(id), bit / 8, bit % 8);
  }
  EXPECT_EQ(newest(*start()), 2u);
}

TEST_F(JobDirectoryTest, FallsBackOverAStateFileThatIsDamagedCutOrGone) {
  CheckpointId id = 0;
  {
    const auto directory = start();
    take_checkpoint(*directory, 1);
    id = take_checkpoint(*directory, 2);
  }
  const Manifest manifest = decode_manifest(files_.read_file(manifest_path(id)), "m");
  const std::string path = "/checkpoints/orders/state/" + manifest.subtasks[0].state.file;
  for (const std::uint64_t at : {0u, 7u, 8u, 5000u, 20000u}) {
    files_.flip_bit(path, at, 5);
    EXPECT_EQ(newest(*start()), 1u) << at;
    files_.flip_bit(path, at, 5);
  }
  EXPECT_EQ(newest(*start()), 2u);
  files_.truncate(path, files_.size(path) - 1);
  EXPECT_EQ(newest(*start()), 1u);
  files_.remove(path);
  EXPECT_EQ(newest(*start()), 1u);
}

TEST_F(JobDirectoryTest, RefusesToStartAfreshOverCheckpointsItCannotRead) {
  CheckpointId id = 0;
  {
    const auto directory = start();
    id = take_checkpoint(*directory, 1);
  }
  files_.flip_bit(manifest_path(id), 30, 1);
  const auto directory = start();
  EXPECT_THAT(error_of([&] { directory->newest_valid(); }),
              AllOf(HasSubstr("'/checkpoints/orders' has 1 checkpoints but none that can be used"),
                    HasSubstr("checksum")));
}

TEST_F(JobDirectoryTest, RefusesAManifestUnderAnothersName) {
  {
    const auto directory = start();
    const CheckpointId id = take_checkpoint(*directory, 1);
    files_.rename(manifest_path(id), manifest_path(id + 1));
  }
  EXPECT_THAT(error_of([&] { start()->newest_valid(); }), HasSubstr("is that of checkpoint"));
}

TEST_F(JobDirectoryTest, RefusesAManifestOfAnotherJob) {
  {
    auto other = make("payments");
    other->open();
    Manifest manifest = manifest_of(*other, other->begin_checkpoint());
    manifest.job_name = "payments";
    other->commit(manifest);
    files_.rename("/checkpoints/payments" + manifest_path(manifest.id).substr(19),
                  manifest_path(manifest.id).replace(0, 19, "/checkpoints/payments"));
    static_cast<void>(start());
    files_.rename("/checkpoints/payments" + manifest_path(manifest.id).substr(19),
                  manifest_path(manifest.id));
  }
  EXPECT_THAT(error_of([&] { start()->newest_valid(); }), HasSubstr("belongs to job 'payments'"));
}

// ---- sweeping

TEST_F(JobDirectoryTest, RetainsTheNewestCheckpointsAndNothingElse) {
  const auto directory = start();
  std::vector<CheckpointId> ids;
  for (std::uint64_t number = 1; number <= 5; ++number) ids.push_back(take_checkpoint(*directory, number));
  const JobDirectory::Swept swept = directory->sweep(2);
  EXPECT_THAT(swept.left, ElementsAre(ids[4], ids[3]));
  EXPECT_EQ(swept.manifests, 3u);
  EXPECT_EQ(swept.state_files, 3u);
  EXPECT_EQ(swept.temporary_files, 0u);
  EXPECT_EQ(files_.list(directory->state_path()).size(), 2u);
  EXPECT_EQ(newest(*directory), 5u);
  EXPECT_EQ(directory->sweep(2).manifests, 0u);
}

TEST_F(JobDirectoryTest, KeepsAFileThatTwoCheckpointsShareUntilBothAreGone) {
  const auto directory = start();
  const CheckpointId first = directory->begin_checkpoint();
  Manifest manifest = manifest_of(*directory, first);
  const auto writer = directory->make_writer(first, 0, 0);
  testing::write_subtask(*writer, 1, 0);
  manifest.subtasks.push_back({"c", 0, writer->finish()});
  directory->commit(manifest);
  manifest.id = directory->begin_checkpoint();
  directory->commit(manifest);
  directory->sweep(1);
  EXPECT_NO_THROW(verify_state(files_, directory->state_path(), manifest.subtasks[0].state));
  take_checkpoint(*directory, 9);
  directory->sweep(1);
  EXPECT_FALSE(files_.exists(directory->state_path() + "/" + manifest.subtasks[0].state.file));
}

TEST_F(JobDirectoryTest, SweepsNothingOfACheckpointUnderWay) {
  const auto directory = start();
  take_checkpoint(*directory, 1);
  const CheckpointId id = directory->begin_checkpoint();
  Manifest manifest = manifest_of(*directory, id);
  manifest.created = Timestamp{2us};
  const auto finished = directory->make_writer(id, 0, 0);
  testing::write_subtask(*finished, 2, 0);
  manifest.subtasks.push_back({"c", 0, finished->finish()});
  const auto writing = directory->make_writer(id, 0, 1);
  const std::uint32_t table = writing->begin_table("window", "windows", "s");
  writing->put_block(table, testing::block_of(0, std::string(100'000, 'x')));
  EXPECT_EQ(directory->sweep(1).state_files, 0u);
  EXPECT_EQ(directory->sweep(1).temporary_files, 0u);
  manifest.subtasks.push_back({"c", 1, writing->finish()});
  directory->commit(manifest);
  EXPECT_EQ(make()->newest_valid(), manifest);
}

TEST_F(JobDirectoryTest, LetsTasksWriteWhileTheCoordinatorSweeps) {
  const auto directory = start();
  for (std::uint64_t number = 1; number <= 20; ++number) {
    const CheckpointId id = directory->begin_checkpoint();
    Manifest manifest = manifest_of(*directory, id);
    manifest.created = Timestamp{Duration{static_cast<std::int64_t>(number)}};
    manifest.subtasks.resize(2);
    std::vector<std::thread> tasks;
    for (std::uint32_t subtask = 0; subtask < 2; ++subtask) {
      tasks.emplace_back([&, subtask] {
        const auto writer = directory->make_writer(id, 0, subtask);
        testing::write_subtask(*writer, number, subtask);
        manifest.subtasks[subtask] = {"c", subtask, writer->finish()};
      });
    }
    directory->sweep(1);
    for (std::thread& task : tasks) task.join();
    directory->commit(manifest);
    ASSERT_EQ(newest(*directory), number);
  }
}

TEST_F(JobDirectoryTest, SweepsWhatACheckpointLeftThatWasGivenUp) {
  const auto directory = start();
  take_checkpoint(*directory, 1);
  const CheckpointId id = directory->begin_checkpoint();
  const auto finished = directory->make_writer(id, 0, 0);
  testing::write_subtask(*finished, 2, 0);
  static_cast<void>(finished->finish());
  const auto late = directory->make_writer(id, 0, 1);
  testing::write_subtask(*late, 2, 0);
  directory->abandon(id);
  EXPECT_EQ(directory->sweep(1).state_files, 1u);
  EXPECT_THROW(late->finish(), StateError);
  EXPECT_EQ(files_.list(directory->state_path()).size(), 1u);
  EXPECT_EQ(newest(*directory), 1u);
}

TEST_F(JobDirectoryTest, SweepsWhatAnEarlierProcessLeft) {
  {
    const auto directory = start();
    take_checkpoint(*directory, 1);
  }
  files_.create("/checkpoints/orders/state/tmp-00000000004294967298-0-0");
  files_.create("/checkpoints/orders/manifest-00000000004294967298.tmp");
  files_.create("/checkpoints/orders/somebody's notes");
  const auto directory = start();
  const JobDirectory::Swept swept = directory->sweep(1);
  EXPECT_EQ(swept.temporary_files, 2u);
  EXPECT_EQ(swept.manifests, 0u);
  EXPECT_TRUE(files_.exists("/checkpoints/orders/somebody's notes"));
  EXPECT_EQ(newest(*directory), 1u);
}

// A sweep must not remove the only good checkpoint in favour of a newer, damaged one.
TEST_F(JobDirectoryTest, DoesNotCountADamagedManifestAmongTheRetained) {
  CheckpointId id = 0;
  {
    const auto directory = start();
    take_checkpoint(*directory, 1);
    id = take_checkpoint(*directory, 2);
  }
  files_.flip_bit(manifest_path(id), 30, 1);
  const auto directory = start();
  EXPECT_EQ(directory->sweep(1).left.size(), 2u);
  EXPECT_EQ(newest(*directory), 1u);
  EXPECT_EQ(files_.list(directory->state_path()).size(), 2u)
      << "as long as a manifest cannot be read, the files stay";
  take_checkpoint(*directory, 3);
  directory->sweep(1);
  EXPECT_EQ(files_.list(directory->state_path()).size(), 1u);
  EXPECT_EQ(newest(*directory), 3u);
}

TEST_F(JobDirectoryTest, DoesNotCountAManifestWhoseStateIsDamagedEither) {
  CheckpointId id = 0;
  {
    const auto directory = start();
    take_checkpoint(*directory, 1);
    id = take_checkpoint(*directory, 2);
  }
  const Manifest manifest = decode_manifest(files_.read_file(manifest_path(id)), "m");
  files_.flip_bit("/checkpoints/orders/state/" + manifest.subtasks[0].state.file, 100, 1);
  const auto directory = start();
  EXPECT_EQ(newest(*directory), 1u);
  directory->sweep(1);
  EXPECT_EQ(newest(*directory), 1u);
}

TEST_F(JobDirectoryTest, LogsWhatKeepsItFromSweepingAndSweepsTheNextTime) {
  const auto directory = start();
  for (std::uint64_t number = 1; number <= 3; ++number) take_checkpoint(*directory, number);
  files_.fail(FileOperation::kRemove, 1, EIO);
  directory->sweep(1);
  EXPECT_THAT(log_.lines(), ElementsAre(HasSubstr("Input/output error")));
  EXPECT_EQ(newest(*directory), 3u);
  directory->sweep(1);
  EXPECT_EQ(files_.list(directory->state_path()).size(), 1u);
}

// ---- failures

// Checkpoint 2 meets a failure; what is there then, and after one more start, and can checkpoint 3 be
// taken? Returns false when the failure was not met.
bool meets_failure(FileOperation operation, std::uint64_t nth, int error_number) {
  SimulatedFileSystem files;
  LogLines log;
  JobDirectory directory(files, "/checkpoints", "orders", log.log());
  directory.open();
  take_checkpoint(directory, 1);
  files.fail(operation, nth, error_number);
  const std::string error = error_of([&] { take_checkpoint(directory, 2); });
  if (error == "no error") return false;
  EXPECT_THAT(error, AllOf(HasSubstr("cannot "), HasSubstr("'/checkpoints/orders"),
                           HasSubstr(std::generic_category().message(error_number))));

  // After the failed sync of the directory behind the rename nobody knows.
  const bool uncertain = operation == FileOperation::kSyncDirectory && nth == 2;
  const auto expect_newest = [&](JobDirectory& seen) {
    const std::optional<Manifest> manifest = seen.newest_valid();
    ASSERT_TRUE(manifest.has_value());
    EXPECT_EQ(number_of(files, seen.state_path(), *manifest), uncertain ? 2u : 1u);
  };
  expect_newest(directory);
  directory.sweep(1);
  expect_newest(directory);
  EXPECT_EQ(files.list(directory.state_path()).size(), uncertain ? 2u : 1u);
  EXPECT_EQ(files.list(directory.path()).size(), uncertain ? 5u : 4u)
      << "LOCK, INCARNATION, state and manifests";
  EXPECT_THAT(log.lines(), IsEmpty());

  take_checkpoint(directory, 3);
  directory.sweep(1);
  files.crash(nth);
  JobDirectory next(files, "/checkpoints", "orders", log.log());
  next.open();
  const std::optional<Manifest> newest = next.newest_valid();
  EXPECT_TRUE(newest && number_of(files, next.state_path(), *newest) == 3u);
  return true;
}

TEST_F(JobDirectoryTest, KeepsTheOldCheckpointWhenANewOneCannotBeWritten) {
  for (const auto& [operation, times] :
       std::vector<std::pair<FileOperation, std::uint64_t>>{{FileOperation::kCreate, 2},
                                                            {FileOperation::kAppend, 3},
                                                            {FileOperation::kSync, 2},
                                                            {FileOperation::kRename, 2},
                                                            {FileOperation::kSyncDirectory, 2}}) {
    for (const int error_number : {EIO, ENOSPC, EROFS}) {
      for (std::uint64_t nth = 1; nth <= times; ++nth) {
        EXPECT_TRUE(meets_failure(operation, nth, error_number))
            << static_cast<int>(operation) << " " << nth;
      }
      EXPECT_FALSE(meets_failure(operation, times + 1, error_number)) << "there are more of these";
    }
  }
}

// A manifest whose commit failed may vanish with the power: the one before must still be there.
TEST_F(JobDirectoryTest, SweepsNoCheckpointInFavourOfOneThatMayNotBeDurable) {
  bool vanished = false;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SimulatedFileSystem files;
    JobDirectory directory(files, "/checkpoints", "orders", log_.log());
    directory.open();
    take_checkpoint(directory, 1);
    files.fail(FileOperation::kSyncDirectory, 2, EIO);
    EXPECT_THROW(take_checkpoint(directory, 2), StateError);
    directory.sweep(1);
    files.crash(seed);
    JobDirectory next(files, "/checkpoints", "orders", log_.log());
    next.open();
    const std::optional<Manifest> newest = next.newest_valid();
    ASSERT_TRUE(newest.has_value()) << seed;
    vanished = vanished || number_of(files, next.state_path(), *newest) == 1u;
  }
  EXPECT_TRUE(vanished) << "the simulated disk never lost the rename";
}

TEST_F(JobDirectoryTest, GoesOnWhenTheFullDiskHasRoomAgain) {
  const auto directory = start();
  take_checkpoint(*directory, 1);
  files_.set_capacity_bytes(30'000);
  EXPECT_THAT(error_of([&] { take_checkpoint(*directory, 2); }),
              HasSubstr("No space left on device"));
  EXPECT_EQ(newest(*directory), 1u);
  files_.clear_faults();
  take_checkpoint(*directory, 3);
  EXPECT_EQ(newest(*directory), 3u);
}

// ---- on the machine's own files

class LocalJobDirectory : public ::testing::Test {
 protected:
  std::unique_ptr<JobDirectory> start() {
    auto directory = std::make_unique<JobDirectory>(local_file_system(), temporary_ / "checkpoints",
                                                    "orders", log_.log());
    directory->open();
    return directory;
  }
  std::optional<std::uint64_t> newest(JobDirectory& directory) {
    const std::optional<Manifest> manifest = directory.newest_valid();
    if (!manifest) return std::nullopt;
    return number_of(local_file_system(), directory.state_path(), *manifest);
  }

  testing::TempDir temporary_;
  LogLines log_;
};

TEST_F(LocalJobDirectory, KeepsCheckpointsFromProcessToProcess) {
  const auto exit = testing::run_in_child([&] {
    const auto directory = start();
    for (std::uint64_t number = 1; number <= 3; ++number) {
      take_checkpoint(*directory, number);
      directory->sweep(1);
    }
    return 0;
  });
  EXPECT_EQ(exit.code, 0);
  const auto directory = start();
  EXPECT_EQ(directory->incarnation(), 2u);
  EXPECT_EQ(newest(*directory), 3u);
  EXPECT_EQ(local_file_system().list(directory->state_path()).size(), 1u);
  EXPECT_THAT(log_.lines(), IsEmpty());
}

TEST_F(LocalJobDirectory, GivesNobodyElseAccess) {
  const auto directory = start();
  take_checkpoint(*directory, 1);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(temporary_.path())) {
    const auto mode = entry.status().permissions();
    EXPECT_EQ(mode, std::filesystem::perms(entry.is_directory() ? 0700 : 0600)) << entry.path();
  }
}

TEST_F(LocalJobDirectory, RefusesADirectoryThatTheGroupMayWrite) {
  const std::string path = start()->path();
  ASSERT_EQ(::chmod(path.c_str(), 0770), 0);
  EXPECT_THAT(error_of([&] { start(); }), HasSubstr("'" + path + "'"));
}

TEST_F(LocalJobDirectory, RefusesALinkInItsPlace) {
  const std::string path = start()->path();
  std::filesystem::rename(path, temporary_ / "elsewhere");
  std::filesystem::create_symlink(temporary_ / "elsewhere", path);
  EXPECT_THAT(error_of([&] { start(); }), HasSubstr("not a directory"));
}

TEST_F(LocalJobDirectory, IsFreeAgainAfterItsOwnerWasKilled) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t owner = testing::start_child([&] {
    const auto directory = start();
    if (::write(ready[1], "x", 1) != 1) return 1;
    for (;;) ::pause();
  });
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  try {
    start();
    ADD_FAILURE() << "the second was let in";
  } catch (const JobError& error) {
    EXPECT_EQ(error.code(), JobErrorCode::kAlreadyRunning);
  }
  ::kill(owner, SIGKILL);
  EXPECT_EQ(testing::wait_for(owner).signal, SIGKILL);
  EXPECT_EQ(start()->incarnation(), 2u);
  ::close(ready[0]);
  ::close(ready[1]);
}

#ifdef LEVADA_FAILPOINTS

// What a process does that restores, takes two checkpoints and sweeps after each.
int restore_and_checkpoint(JobDirectory& directory, std::uint64_t number) {
  std::optional<Manifest> newest = directory.newest_valid();
  if (newest) {
    const RestoredCheckpoint restored(directory.files(), directory.state_path(), *newest);
  }
  for (std::uint64_t i = 0; i < 2; ++i) {
    take_checkpoint(directory, number + i);
    directory.sweep(1);
  }
  return 0;
}

TEST_F(LocalJobDirectory, KilledAtAnyOfItsFailPointsLosesNoCheckpoint) {
  std::uint64_t number = 1;
  take_checkpoint(*start(), number);
  std::size_t kills = 0;
  for (const FailPoint& point : kFailPoints) {
    const bool ours = point.name.starts_with("restore.") || point.name.starts_with("checkpoint.");
    if (!ours || point.name == "checkpoint.acked") continue;
    for (const char* nth : {"1", "2"}) {
      const std::string spec = std::string(point.name) + ":" + nth + ":kill";
      const auto exit = testing::run_in_child([&] {
        arm_fail_points(spec);
        return restore_and_checkpoint(*start(), number + 1);
      });
      kills += exit.signal == SIGKILL ? 1 : 0;
      EXPECT_TRUE(exit.signal == SIGKILL || exit.code == 0) << spec << " " << exit.code;
      EXPECT_TRUE(*nth == '2' || exit.signal == SIGKILL) << spec << " was never passed";
      const auto directory = start();
      const std::optional<std::uint64_t> found = newest(*directory);
      ASSERT_TRUE(found.has_value()) << spec;
      EXPECT_GE(*found, number) << spec;
      EXPECT_LE(*found, number + 2) << spec;
      EXPECT_THAT(log_.lines(), IsEmpty()) << spec;
      number = *found;
      directory->sweep(1);
      EXPECT_EQ(local_file_system().list(directory->state_path()).size(), 1u) << spec;
      EXPECT_EQ(local_file_system().list(directory->path()).size(), 4u) << spec;
    }
  }
  EXPECT_GT(kills, 20u);
}

#endif

}  // namespace
}  // namespace levada
