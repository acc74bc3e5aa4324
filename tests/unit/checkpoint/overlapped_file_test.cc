// OverlappedFile: what is appended arrives whole and in order, whoever writes it, and a failure is told.
#include "checkpoint/overlapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "levada/error.h"
#include "support/error_of.h"
#include "support/seed.h"

namespace levada {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

// Runs jobs on a thread of its own, or when it is told to.
class Queue final : public BackgroundQueue {
 public:
  explicit Queue(bool runs) {
    if (runs) thread_ = std::thread([this] { run(); });
  }
  ~Queue() override {
    {
      MutexLock lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  void submit(std::function<void()> job) override {
    MutexLock lock(mutex_);
    jobs_.push_back(std::move(job));
    changed_.notify_all();
  }
  void submit_limited(std::function<std::size_t()>) override { ADD_FAILURE(); }
  bool run_one() {
    std::function<void()> job;
    {
      MutexLock lock(mutex_);
      if (jobs_.empty()) return false;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
    return true;
  }

 private:
  void run() {
    for (;;) {
      while (run_one()) {
      }
      MutexLock lock(mutex_);
      while (jobs_.empty() && !ending_) changed_.wait(mutex_);
      if (jobs_.empty()) return;
    }
  }

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> jobs_ LEVADA_GUARDED_BY(mutex_);
  bool ending_ LEVADA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

struct Disk {
  std::string content;
  int appends = 0, syncs = 0, closes = 0;
  int fails_at = 0;  // the append of that number; 0: none
};

class File final : public WritableFile {
 public:
  explicit File(Disk& disk) : disk_(disk) {}
  void append(std::string_view bytes) override {
    if (++disk_.appends == disk_.fails_at) throw StateError("the disk is full");
    disk_.content += bytes;
  }
  void sync() override { ++disk_.syncs; }
  void close() override { ++disk_.closes; }

 private:
  Disk& disk_;
};

constexpr std::size_t kPart = OverlappedFile::kPartBytes;

TEST(OverlappedFile, WritesWhatIsAppendedInOrder) {
  std::mt19937_64 random(testing::first_seed());
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kPart - 1, kPart, kPart + 1, 3 * kPart, 11 * kPart + 5}) {
    Queue queue(true);
    Disk disk;
    std::string expected;
    {
      OverlappedFile file(std::make_unique<File>(disk), queue);
      while (expected.size() < size) {
        const std::size_t most = random() % 3 == 0 ? 3 * kPart : 50'000;
        const std::string piece(std::min(1 + random() % most, size - expected.size()), static_cast<char>(random()));
        file.append(piece);
        expected += piece;
      }
      file.sync();
      EXPECT_EQ(disk.content.size(), size) << "a sync is of all";
      EXPECT_EQ(disk.syncs, 1);
      file.close();
    }
    EXPECT_TRUE(disk.content == expected) << size;
    EXPECT_EQ(disk.closes, 1);
  }
}

TEST(OverlappedFile, GoesOnWhileTheDiskIsAtWork) {
  Queue queue(false);
  Disk disk;
  OverlappedFile file(std::make_unique<File>(disk), queue);
  file.append(std::string(OverlappedFile::kPartsMax * kPart, 'x'));
  EXPECT_EQ(disk.appends, 0);
  while (queue.run_one()) {
  }
  EXPECT_EQ(disk.content.size(), OverlappedFile::kPartsMax * kPart);
}

TEST(OverlappedFile, TellsOfAFailureAndWritesNothingBehindIt) {
  for (const bool late : {false, true}) {
    Queue queue(!late);
    Disk disk;
    disk.fails_at = 2;
    OverlappedFile file(std::make_unique<File>(disk), queue);
    const std::string part(kPart, 'x');
    if (late) {
      file.append(part + part + "rest");
      while (queue.run_one()) {
      }
    } else {
      const auto append_for_ever = [&] {
        for (int i = 0; i < 1000; ++i) file.append(part);
      };
      EXPECT_THAT(error_of<StateError>(append_for_ever), HasSubstr("the disk is full"));
    }
    EXPECT_THAT(error_of<StateError>([&] { file.sync(); }), HasSubstr("the disk is full"));
    EXPECT_THAT(error_of<StateError>([&] { file.close(); }), HasSubstr("the disk is full"));
    EXPECT_EQ(disk.content.size(), kPart);
    EXPECT_EQ(disk.syncs, 0);
  }
}

TEST(OverlappedFile, WaitsForItsPartsBeforeItGoes) {
  Queue queue(true);
  Disk disk;
  { OverlappedFile(std::make_unique<File>(disk), queue).append(std::string(3 * kPart, 'x')); }
  EXPECT_EQ(disk.content.size(), 3 * kPart);
  EXPECT_EQ(disk.closes, 0);
}

}  // namespace
}  // namespace levada
