#include "testing/simulated_file_system.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"

namespace levada::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SimulatedFiles : public ::testing::Test {
 protected:
  SimulatedFiles() { files_.create_directories("/d"); }

  void write(const std::string& path, std::string_view bytes, bool sync = true) {
    const auto file = files_.create(path);
    file->append(bytes);
    if (sync) file->sync();
    file->close();
  }

  // What a file holds after a power loss with each of many seeds; "-" when it is gone. `prepare` runs
  // on a new disk each time.
  template <class Prepare>
  static std::set<std::string> fates(const std::string& path, Prepare prepare) {
    std::set<std::string> seen;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      SimulatedFileSystem files;
      files.create_directories("/d");
      prepare(files);
      files.crash(seed);
      seen.insert(files.exists(path) ? files.read_file(path) : "-");
    }
    return seen;
  }

  static void put(SimulatedFileSystem& files, const std::string& path, std::string_view bytes,
                  bool sync) {
    const auto file = files.create(path);
    file->append(bytes);
    if (sync) file->sync();
  }

  SimulatedFileSystem files_;
};

TEST_F(SimulatedFiles, BehaveAsFilesWhileNothingFails) {
  write("/d/a", "one");
  EXPECT_EQ(files_.read_file("/d/a"), "one");
  EXPECT_THROW(files_.create("/d/a"), StateError);
  EXPECT_THROW(files_.create("/none/a"), StateError);
  EXPECT_THROW(files_.open("/d/b"), StateError);
  files_.create_directories("/d/e/f");
  EXPECT_THAT(files_.list("/d"), ElementsAre("a", "e"));
  write("/d/b", "two");
  files_.rename("/d/b", "/d/a");
  EXPECT_EQ(files_.read_file("/d/a"), "two");
  files_.remove("/d/a");
  EXPECT_FALSE(files_.exists("/d/a"));
  EXPECT_TRUE(files_.status("/d/e/f")->is_directory);
}

TEST_F(SimulatedFiles, KeepWhatWasSyncedThroughAPowerLoss) {
  const auto prepare = [](SimulatedFileSystem& files) {
    put(files, "/d/a", "synced", true);
    files.sync_directory("/d");
  };
  EXPECT_THAT(fates("/d/a", prepare), ElementsAre("synced"));
}

TEST_F(SimulatedFiles, LoseNamesWhoseDirectoryWasNotSynced) {
  const auto created = [](SimulatedFileSystem& files) { put(files, "/d/a", "synced", true); };
  EXPECT_THAT(fates("/d/a", created), ElementsAre("-", "synced"));
  const auto renamed = [](SimulatedFileSystem& files) {
    put(files, "/d/a", "old", true);
    files.sync_directory("/d");
    put(files, "/d/b", "new", true);
    files.rename("/d/b", "/d/a");
  };
  EXPECT_THAT(fates("/d/a", renamed), ElementsAre("new", "old"));
  const auto removed = [](SimulatedFileSystem& files) {
    put(files, "/d/a", "old", true);
    files.sync_directory("/d");
    files.remove("/d/a");
  };
  EXPECT_THAT(fates("/d/a", removed), ElementsAre("-", "old"));
}

TEST_F(SimulatedFiles, LoseNoFileBetweenItsTwoNames) {
  const auto renamed = [](SimulatedFileSystem& files) {
    put(files, "/d/a", "whole", true);
    files.sync_directory("/d");
    files.rename("/d/a", "/d/b");
  };
  EXPECT_THAT(fates("/d/a", renamed), ElementsAre("-", "whole"));
  EXPECT_THAT(fates("/d/b", renamed), ElementsAre("-", "whole"));
  for (std::uint64_t seed = 1; seed < 50; ++seed) {
    SimulatedFileSystem files;
    files.create_directories("/d");
    renamed(files);
    files.crash(seed);
    EXPECT_TRUE(files.exists("/d/a") || files.exists("/d/b"));
  }
}

TEST_F(SimulatedFiles, TearContentThatWasNotSynced) {
  const auto prepare = [](SimulatedFileSystem& files) {
    const auto file = files.create("/d/a");
    file->append("kept ");
    file->sync();
    file->append("lost");
    files.sync_directory("/d");
  };
  const std::set<std::string> seen = fates("/d/a", prepare);
  EXPECT_THAT(seen, Contains("kept "));
  EXPECT_THAT(seen, Contains("kept lo"));
  EXPECT_THAT(seen, Contains("kept lost"));
  EXPECT_THAT(seen, Contains(std::string("kept \0\0\0\0", 9)));
  for (const std::string& content : seen) EXPECT_TRUE(content.starts_with("kept "));
}

TEST_F(SimulatedFiles, NeverBringBackWhatAFailedSyncDropped) {
  const auto prepare = [](SimulatedFileSystem& files) {
    const auto file = files.create("/d/a");
    file->append("dropped");
    files.fail(FileOperation::kSync, 1, EIO);
    EXPECT_THROW(file->sync(), StateError);
    file->sync();  // says yes, as Linux does
    files.sync_directory("/d");
  };
  EXPECT_GT(fates("/d/a", prepare).size(), 1u);
}

TEST_F(SimulatedFiles, StopAtTheChosenOperationAndStayStopped) {
  files_.crash_at(3, 1);
  const auto file = files_.create("/d/a");
  file->append("x");
  EXPECT_THROW(file->append("more"), SimulatedCrash);
  EXPECT_THROW(file->sync(), SimulatedCrash);
  EXPECT_THROW(files_.list("/d"), SimulatedCrash);
  files_.crash(1);
  EXPECT_NO_THROW(files_.list("/d"));
  EXPECT_THROW(file->append("late"), StateError) << "its process is gone";
}

TEST_F(SimulatedFiles, FailAsTold) {
  files_.fail(FileOperation::kRename, 2, EIO);
  write("/d/a", "");
  files_.rename("/d/a", "/d/b");
  try {
    files_.rename("/d/b", "/d/c");
    FAIL();
  } catch (const StateError& error) {
    EXPECT_STREQ(error.what(), "cannot rename to '/d/c': Input/output error");
  }
  EXPECT_TRUE(files_.exists("/d/b"));
  files_.rename("/d/b", "/d/c");
}

TEST_F(SimulatedFiles, AreFullAtTheirCapacity) {
  files_.set_capacity_bytes(10);
  write("/d/a", "1234567");
  EXPECT_EQ(files_.free_bytes("/d"), 3u);
  EXPECT_THROW(write("/d/b", "1234"), StateError);
  EXPECT_EQ(files_.size("/d/b"), 3u) << "a write that is cut short";
  files_.remove("/d/a");
  write("/d/c", "1234567");
}

TEST_F(SimulatedFiles, FreeTheirLocksWhenTheProcessDies) {
  auto lock = files_.try_lock("/d/LOCK");
  ASSERT_NE(lock, nullptr);
  EXPECT_EQ(files_.try_lock("/d/LOCK"), nullptr);
  files_.kill();
  const auto second = files_.try_lock("/d/LOCK");
  EXPECT_NE(second, nullptr);
  lock.reset();  // of the process before: frees nothing
  EXPECT_EQ(files_.try_lock("/d/LOCK"), nullptr);
}

TEST_F(SimulatedFiles, SufferTheSameFateForTheSameSeed) {
  const auto fate = [](std::uint64_t seed) {
    SimulatedFileSystem files;
    files.create_directories("/d");
    for (const char* name : {"/d/a", "/d/b", "/d/c"})
      put(files, name, std::string(5000, 'x'), false);
    files.crash(seed);
    std::string seen;
    for (const std::string& path : files.all_files()) seen += path + files.read_file(path);
    return seen;
  };
  EXPECT_EQ(fate(7), fate(7));
  EXPECT_NE(fate(7), fate(8));
}

}  // namespace
}  // namespace levada::testing
