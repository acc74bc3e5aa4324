#include "base/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "levada/error.h"

#include "support/child_process.h"
#include "support/error_of.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LocalFileSystem : public ::testing::Test {
 protected:
  void write(const std::string& path, std::string_view bytes) {
    const auto file = files_.create(path);
    file->append(bytes);
    file->sync();
    file->close();
  }

  mode_t mode_of(const std::string& path) {
    struct stat found {};
    EXPECT_EQ(::lstat(path.c_str(), &found), 0);
    return found.st_mode & 07777;
  }

  testing::TempDir directory_;
  FileSystem& files_ = local_file_system();
};

TEST_F(LocalFileSystem, WritesAFileThatReadsBack) {
  const std::string path = directory_ / "a";
  {
    const auto file = files_.create(path);
    file->append("one ");
    file->append(std::string(100'000, 'x'));
    file->sync();
    file->close();
  }
  EXPECT_EQ(files_.size(path), 100'004u);
  EXPECT_EQ(files_.read_file(path), "one " + std::string(100'000, 'x'));
  Bytes part;
  files_.open(path)->read(2, 4, part);
  EXPECT_EQ(part, "e xx");
}

TEST_F(LocalFileSystem, WritesLargeFilesOfAnySizeInAnyParts) {
  constexpr std::size_t kBuffer = 1024 * 1024;
  // Files in memory may have no way past the cache.
  const bool in_memory = ::access("/dev/shm", W_OK) == 0;
  const std::string memory_prefix = "/dev/shm/levada-test-" + std::to_string(::getpid()) + "-";
  int number = 0;
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, kBuffer - 1, kBuffer, kBuffer + 1, 5 * kBuffer + 777}) {
    Bytes content;
    for (std::size_t i = 0; i < size; ++i) content += static_cast<char>(i * 2654435761u >> 13);
    for (const std::size_t part : {std::size_t{33'000}, kBuffer, 2 * kBuffer + 5}) {
      for (const bool synced : {true, false}) {
        std::vector<std::string> paths = {directory_ / std::to_string(++number)};
        if (in_memory) paths.push_back(memory_prefix + std::to_string(number));
        for (const std::string& path : paths) {
          const auto file = files_.create_large(path);
          for (std::size_t at = 0; at < size; at += part) file->append(std::string_view(content).substr(at, part));
          if (synced) file->sync();
          file->close();
          EXPECT_TRUE(files_.read_file(path) == content) << path << " size " << size << " part " << part;
          EXPECT_EQ(mode_of(path), 0600u);
          EXPECT_THAT(testing::error_of<StateError>([&] { files_.create_large(path); }), HasSubstr(path));
          files_.remove(path);
        }
      }
    }
  }
}

TEST_F(LocalFileSystem, GivesNobodyElseAccessWhateverTheUmask) {
  const mode_t before = ::umask(0);
  write(directory_ / "a", "");
  files_.create_directories(directory_ / "b/c");
  const auto lock = files_.try_lock(directory_ / "LOCK");
  ::umask(before);
  EXPECT_EQ(mode_of(directory_ / "a"), 0600u);
  EXPECT_EQ(mode_of(directory_ / "b"), 0700u);
  EXPECT_EQ(mode_of(directory_ / "b/c"), 0700u);
  EXPECT_EQ(mode_of(directory_ / "LOCK"), 0600u);
}

TEST_F(LocalFileSystem, CreatesOnlyWhatIsNew) {
  write(directory_ / "a", "old");
  EXPECT_THAT(testing::error_of<StateError>([&] { files_.create(directory_ / "a"); }),
              AllOf(HasSubstr("cannot create '" + directory_.path()), HasSubstr("File exists")));
  EXPECT_EQ(files_.read_file(directory_ / "a"), "old");
}

TEST_F(LocalFileSystem, FollowsNoSymbolicLink) {
  write(directory_ / "target", "secret");
  ASSERT_EQ(::symlink((directory_ / "target").c_str(), (directory_ / "link").c_str()), 0);
  EXPECT_THROW(files_.open(directory_ / "link"), StateError);
  EXPECT_THROW(files_.create(directory_ / "link"), StateError);
  EXPECT_THROW(files_.try_lock(directory_ / "link"), StateError);
  const auto status = files_.status(directory_ / "link");
  ASSERT_TRUE(status.has_value());
  EXPECT_FALSE(status->is_regular);
  EXPECT_FALSE(status->is_directory);
}

TEST_F(LocalFileSystem, OpensNeitherADirectoryNorAPipe) {
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(files_.open(directory_.path()), StateError);
  EXPECT_THROW(files_.open(directory_ / "pipe"), StateError);
}

TEST_F(LocalFileSystem, TellsWhatHasAName) {
  EXPECT_FALSE(files_.exists(directory_ / "a"));
  EXPECT_FALSE(files_.exists(directory_ / "a/b/c"));
  write(directory_ / "a", "12345");
  const auto file = files_.status(directory_ / "a");
  ASSERT_TRUE(file.has_value());
  EXPECT_TRUE(file->is_regular);
  EXPECT_TRUE(file->owned_by_us);
  EXPECT_FALSE(file->others_may_write);
  EXPECT_EQ(file->size, 5u);
  ASSERT_EQ(::chmod((directory_ / "a").c_str(), 0620), 0);
  EXPECT_TRUE(files_.status(directory_ / "a")->others_may_write);
  EXPECT_TRUE(files_.status(directory_.path())->is_directory);
}

TEST_F(LocalFileSystem, ListsNamesInOrder) {
  for (const char* name : {"b", "a", ".c"}) write(directory_ / name, "");
  files_.create_directories(directory_ / "d");
  EXPECT_THAT(files_.list(directory_.path()), ElementsAre(".c", "a", "b", "d"));
  EXPECT_THAT(testing::error_of<StateError>([&] { files_.list(directory_ / "none"); }),
              HasSubstr("No such file or directory"));
}

TEST_F(LocalFileSystem, RenamesOverWhatIsThereAndRemoves) {
  write(directory_ / "new", "new");
  write(directory_ / "old", "old");
  files_.rename(directory_ / "new", directory_ / "old");
  files_.sync_directory(directory_.path());
  EXPECT_EQ(files_.read_file(directory_ / "old"), "new");
  EXPECT_FALSE(files_.exists(directory_ / "new"));
  files_.remove(directory_ / "old");
  EXPECT_THAT(files_.list(directory_.path()), ElementsAre());
  EXPECT_THAT(testing::error_of<StateError>([&] { files_.remove(directory_ / "old"); }), HasSubstr("cannot remove"));
}

TEST_F(LocalFileSystem, CreatesDirectoriesAgainWithoutComplaintButNotOverAFile) {
  files_.create_directories(directory_ / "a/b");
  files_.create_directories(directory_ / "a/b");
  write(directory_ / "a/file", "");
  EXPECT_THAT(testing::error_of<StateError>([&] { files_.create_directories(directory_ / "a/file/c"); }),
              HasSubstr("cannot create directory"));
}

TEST_F(LocalFileSystem, ReadsNothingBehindTheEnd) {
  write(directory_ / "a", "12345");
  const auto file = files_.open(directory_ / "a");
  Bytes part;
  file->read(5, 0, part);
  EXPECT_EQ(part, "");
  EXPECT_THROW(file->read(3, 3, part), StateError);
  EXPECT_THROW(file->read(6, 0, part), StateError);
  EXPECT_THROW(file->read(UINT64_MAX, 2, part), StateError);
  EXPECT_THAT(testing::error_of<StateError>([&] { files_.read_file(directory_ / "a", 4); }), HasSubstr("more than 4"));
}

TEST_F(LocalFileSystem, TellsHowMuchRoomThereIs) {
  EXPECT_GT(files_.free_bytes(directory_.path()), 0u);
  EXPECT_THROW(files_.free_bytes(directory_ / "none"), StateError);
}

TEST_F(LocalFileSystem, SaysWhyAWriteFailed) {
  const auto exit = testing::run_in_child([&] {
    const rlimit limit{10, 10};
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string error = testing::error_of<StateError>([&] { write(directory_ / "a", "more than ten bytes"); });
    return error == "cannot write '" + (directory_ / "a") + "': File too large" ? 0 : 1;
  });
  EXPECT_EQ(exit.code, 0);
}

TEST_F(LocalFileSystem, SaysWhyAWriteOfALargeFileFailed) {
  const auto exit = testing::run_in_child([&] {
    const rlimit limit{1'400'000, 1'400'000};  // within the second part that is written
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto file = files_.create_large(directory_ / "a");
    const std::string error = testing::error_of<StateError>([&] {
      for (int i = 0; i < 4; ++i) file->append(std::string(1024 * 1024, 'x'));
      file->sync();
    });
    return error == "cannot write '" + (directory_ / "a") + "': File too large" ? 0 : 1;
  });
  EXPECT_EQ(exit.code, 0);
}

TEST_F(LocalFileSystem, LocksAgainstASecondHolderInThisAndInAnotherProcess) {
  const std::string path = directory_ / "LOCK";
  auto lock = files_.try_lock(path);
  ASSERT_NE(lock, nullptr);
  EXPECT_EQ(files_.try_lock(path), nullptr);
  const auto try_elsewhere = [&] {
    return testing::run_in_child([&] { return files_.try_lock(path) ? 0 : 1; }).code;
  };
  EXPECT_EQ(try_elsewhere(), 1);
  lock.reset();
  EXPECT_EQ(try_elsewhere(), 0);
  EXPECT_NE(files_.try_lock(path), nullptr);
}

TEST(JoinPath, PutsOneSlashBetween) {
  EXPECT_EQ(join_path("/a", "b"), "/a/b");
  EXPECT_EQ(join_path("/a/", "b"), "/a/b");
  EXPECT_EQ(join_path("/", "b"), "/b");
}

}  // namespace
}  // namespace levada
