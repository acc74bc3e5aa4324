#include "checkpoint/epoch_log.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <deque>
#include <string>
#include <vector>

#include "levada/error.h"
#include "testing/simulated_file_system.h"

namespace levada {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SimulatedFileSystem;

// Runs jobs when it is told to.
class Jobs final : public BackgroundQueue {
 public:
  void submit(std::function<void()> job) override { jobs_.push_back(std::move(job)); }
  void submit_limited(std::function<std::size_t()> job) override { jobs_.push_back(std::move(job)); }
  void run() {
    while (!jobs_.empty()) {
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      job();
    }
  }

 private:
  std::deque<std::function<void()>> jobs_;
};

class EpochLog : public ::testing::Test {
 protected:
  EpochLogWriter::Parts parts() {
    return {.files = &files_,
            .background = &jobs_,
            .memory = &memory_,
            .directory = "/job/log/out/3",
            .temporary_name = "open-1",
            .sink = "out",
            .schema = "(a, b)",
            .subtask = 3,
            .sealed = [this](const EpochSegment& segment) { sealed_.push_back(segment); },
            .failed = [this](const std::string& why) { failures_.push_back(why); },
            .appended = [this](std::uint64_t bytes) { appended_ += bytes; }};
  }

  static void append(EpochLogWriter& writer, std::uint8_t kind, std::string_view body) {
    writer.buffer().begin(kind) += body;
    writer.buffer().end();
    writer.written();
  }

  // A small segment of three records, sealed for epoch 7.
  EpochSegment small_segment() {
    EpochLogWriter writer(parts());
    append(writer, 0, "first");
    append(writer, 1, "");
    append(writer, 255, "the third");
    writer.seal(7);
    jobs_.run();
    return sealed_.back();
  }

  std::string path(CheckpointId epoch = 7) const {
    return "/job/log/out/3/" + segment_file_name(epoch);
  }

  std::vector<std::string> read(const EpochSegment& segment) {
    EpochSegmentReader reader(files_, path(segment.epoch), "out", segment);
    std::vector<std::string> bodies;
    EpochRecord record;
    while (reader.next(record)) {
      bodies.push_back(std::to_string(record.kind) + ":" + std::string(record.body));
    }
    return bodies;
  }

  std::string problem_with(const EpochSegment& segment) {
    try {
      read(segment);
    } catch (const StateError& error) {
      return error.what();
    }
    return {};
  }

  SimulatedFileSystem files_;
  Jobs jobs_;
  MemoryShare memory_{"epoch_log", 4 << 20};
  std::vector<EpochSegment> sealed_;
  std::vector<std::string> failures_;
  std::uint64_t appended_ = 0;
};

TEST_F(EpochLog, GivesBackWhatWasAppended) {
  const EpochSegment segment = small_segment();
  EXPECT_EQ(segment.subtask, 3u);
  EXPECT_EQ(segment.epoch, 7u);
  EXPECT_EQ(segment.records, 3u);
  EXPECT_EQ(segment.bytes, files_.size(path()));
  EXPECT_THAT(read(segment), ElementsAre("0:first", "1:", "255:the third"));
  EXPECT_EQ(memory_.used_bytes(), 0u);
}

TEST_F(EpochLog, MakesNoSegmentOfNothing) {
  EpochLogWriter writer(parts());
  writer.seal(7);
  jobs_.run();
  EXPECT_TRUE(sealed_.empty());
  EXPECT_TRUE(files_.all_files().empty());
}

TEST_F(EpochLog, BeginsANewSegmentBehindEachBarrier) {
  EpochLogWriter writer(parts());
  append(writer, 0, "a");
  writer.seal(7);
  append(writer, 0, "b");
  writer.seal(9);
  jobs_.run();
  ASSERT_EQ(sealed_.size(), 2u);
  EXPECT_THAT(read(sealed_[0]), ElementsAre("0:a"));
  EXPECT_THAT(read(sealed_[1]), ElementsAre("0:b"));
}

TEST_F(EpochLog, LeavesInFewLargeWritesAndOneSync) {
  EpochLogWriter writer(parts());
  const std::string body(1'000, 'x');
  for (int i = 0; i < 2'000; ++i) append(writer, 0, body);
  writer.seal(7);
  const std::uint64_t before = files_.operations();
  jobs_.run();
  // Directories, create, head, four chunks, footer, sync, rename, sync of the directory.
  EXPECT_LT(files_.operations() - before, 30u);
  EXPECT_EQ(read(sealed_.at(0)).size(), 2'000u);
}

TEST_F(EpochLog, HasNoRoomWhileTheBackgroundIsBehind) {
  EpochLogWriter writer(parts());
  const std::string body(EpochLogWriter::kWriteBytes, 'x');
  int records = 0;
  while (writer.has_room()) {
    append(writer, 0, body);
    ASSERT_LT(++records, 100);
  }
  EXPECT_GE(memory_.used_bytes(), memory_.limit_bytes());
  jobs_.run();
  EXPECT_TRUE(writer.has_room());
}

TEST_F(EpochLog, SurvivesAPowerLossFromTheMomentItIsSealed) {
  const EpochSegment segment = small_segment();
  for (std::uint64_t seed = 0; seed < 20; ++seed) files_.crash(seed);
  EXPECT_EQ(problem_with(segment), "");
}

TEST_F(EpochLog, LeavesNoFileOfAWriterThatIsGivenUp) {
  {
    EpochLogWriter writer(parts());
    append(writer, 0, std::string(EpochLogWriter::kWriteBytes, 'x'));
    jobs_.run();
    EXPECT_EQ(files_.all_files().size(), 1u);
  }
  jobs_.run();
  EXPECT_TRUE(files_.all_files().empty());
}

TEST_F(EpochLog, RefusesASegmentThatEndsAtAnyByteTooEarly) {
  const EpochSegment segment = small_segment();
  for (std::uint64_t size = segment.bytes; size-- > 0;) {
    files_.truncate(path(), size);
    ASSERT_THAT(problem_with(segment), HasSubstr("damaged")) << size;
    EpochSegment shorter = segment;  // even where the manifest agreed
    shorter.bytes = size;
    ASSERT_THAT(problem_with(shorter), HasSubstr("damaged")) << size;
  }
}

TEST_F(EpochLog, RefusesASegmentWithAnyBitFlipped) {
  const EpochSegment segment = small_segment();
  for (std::uint64_t at = 0; at < segment.bytes; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      files_.flip_bit(path(), at, bit);
      ASSERT_THAT(problem_with(segment), HasSubstr(path())) << at << "." << bit;
      files_.flip_bit(path(), at, bit);
    }
  }
  EXPECT_EQ(problem_with(segment), "");
}

TEST_F(EpochLog, RefusesAnotherSegmentThanTheManifestNames) {
  const EpochSegment segment = small_segment();
  EpochSegment other = segment;
  ++other.records;
  EXPECT_THAT(problem_with(other), HasSubstr("records"));
  other = segment;
  other.hash.low ^= 1;
  EXPECT_THAT(problem_with(other), HasSubstr("hash"));
  other = segment;
  other.subtask = 4;
  EXPECT_THAT(problem_with(other), HasSubstr("belongs to subtask 3 of sink 'out'"));
  files_.rename(path(), path(8));  // the right content under the wrong name
  other = segment;
  other.epoch = 8;
  EXPECT_THAT(problem_with(other), HasSubstr("footer"));
}

TEST_F(EpochLog, ReadsSegmentsAsOneSequenceAndAgreesWithTheSchema) {
  EpochLogWriter writer(parts());
  append(writer, 0, "a");
  writer.seal(7);
  append(writer, 0, "b");
  append(writer, 0, "c");
  writer.seal(9);
  jobs_.run();
  const std::vector<EpochLogRecords::Part> all = {{8, sealed_[0], path(7)}, {9, sealed_[1], path(9)}};
  EpochLogRecords records(files_, "out", "(a, b)", all);
  EXPECT_EQ(records.count(), 3u);
  std::string text;
  EpochRecord record;
  while (records.next(record)) text += std::to_string(record.epoch) + std::string(record.body) + " ";
  EXPECT_EQ(text, "8a 9b 9c ");
  EpochLogRecords others(files_, "out", "(a)", all);
  EXPECT_THROW(others.next(record), ConnectorError);
}

TEST_F(EpochLog, SaysThatItCouldNotBeWrittenAndReportsNothing) {
  using Operation = testing::FileOperation;
  for (const Operation operation : {Operation::kCreate, Operation::kAppend, Operation::kSync,
                                    Operation::kRename, Operation::kSyncDirectory}) {
    SetUp();
    sealed_.clear();
    failures_.clear();
    EpochLogWriter writer(parts());
    append(writer, 0, "a");
    // The directories are there from the first round on.
    if (operation == Operation::kCreate) files_.create_directories("/job/log/out/3");
    files_.fail(operation, 1, ENOSPC);
    writer.seal(7);
    jobs_.run();
    EXPECT_TRUE(sealed_.empty());
    EXPECT_EQ(failures_.size(), 1u);
    EXPECT_THROW(writer.check(), StateError);
    EXPECT_THROW(writer.seal(8), StateError);
    files_.clear_faults();
    if (files_.exists(path())) files_.remove(path());
  }
}

TEST(EpochRecordBuffer, RefusesARecordThatIsTooLarge) {
  EpochRecordBuffer buffer;
  buffer.begin(0) += "kept";
  buffer.end();
  const std::size_t size = buffer.size_bytes();
  buffer.begin(0).append(EpochRecordBuffer::kRecordBytesMax, 'x');
  EXPECT_THROW(buffer.end(), ConnectorError);
  EXPECT_EQ(buffer.size_bytes(), size);
  EXPECT_EQ(buffer.records(), 1u);
}

}  // namespace
}  // namespace levada
