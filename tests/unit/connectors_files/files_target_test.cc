// The target of the files sink on a disk that stops at any operation.
#include "connectors/files_target.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "levada/error.h"
#include "testing/simulated_file_system.h"

namespace levada::files {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using levada::testing::SimulatedCrash;
using levada::testing::SimulatedFileSystem;

class Lines final : public EpochRecords {
 public:
  explicit Lines(std::vector<std::string> lines) : lines_(std::move(lines)) {}
  bool next(EpochRecord& record) override {
    if (at_ == lines_.size()) return false;
    record.body = lines_[at_++];
    return true;
  }
  std::uint64_t count() const override { return lines_.size(); }
  std::uint64_t size_bytes() const override { return 0; }

 private:
  const std::vector<std::string> lines_;
  std::size_t at_ = 0;
};

class FilesTarget : public ::testing::Test {
 protected:
  std::unique_ptr<EpochTarget> make(const std::string& job = "job") {
    return make_target("/out", {.job = job, .sink = "to files", .shard = 0, .clock = nullptr,
                                .files = &*disk_, .log = {}});
  }

  static FenceRequest claim(std::uint64_t incarnation) { return {.self = {incarnation, 1}}; }

  static TargetAnswer publish(EpochTarget& target, std::uint64_t incarnation, CheckpointId previous,
                              CheckpointId epoch) {
    Lines lines({"first of " + std::to_string(epoch), "second of " + std::to_string(epoch)});
    return target.publish({{incarnation, 1}, previous, epoch, &lines});
  }

  // What readers see, in the order of names; they may take it away.
  std::string visible(bool taken = false) {
    std::string text;
    for (const std::string& path : disk_->all_files()) {
      if (!path.ends_with(kSuffix) || path.find("/.") != path.npos) continue;
      text += disk_->read_file(path);
      if (taken) disk_->remove(path);
    }
    return text;
  }

  static std::string lines_of(std::initializer_list<CheckpointId> epochs) {
    std::string text;
    for (const CheckpointId epoch : epochs) {
      text += "first of " + std::to_string(epoch) + "\nsecond of " + std::to_string(epoch) + "\n";
    }
    return text;
  }

  std::optional<SimulatedFileSystem> disk_{std::in_place};
};

TEST_F(FilesTarget, PublishesEachTimeOneFileNamedByItsEpoch) {
  const auto target = make();
  const TargetAnswer fenced = target->fence(claim(1));
  EXPECT_EQ(fenced.status, TargetStatus::kDone);
  EXPECT_TRUE(fenced.created);
  EXPECT_EQ(publish(*target, 1, 0, 7).status, TargetStatus::kDone);
  EXPECT_EQ(publish(*target, 1, 7, 9).status, TargetStatus::kDone);
  EXPECT_EQ(visible(), lines_of({7, 9}));
  EXPECT_TRUE(disk_->exists("/out/job~to%20files~0~00000000000000000007.jsonl"));
  EXPECT_EQ(publish(*target, 1, 7, 9).status, TargetStatus::kAlreadyThere);
  EXPECT_EQ(publish(*target, 1, 7, 11).status, TargetStatus::kGap);
  EXPECT_EQ(visible(), lines_of({7, 9}));
}

TEST_F(FilesTarget, LosesAndDoublesNothingWhereverTheMachineStops) {
  enum class Stop { kPowerLoss, kKill, kKillAndFilesAreTaken };
  for (const Stop stop : {Stop::kPowerLoss, Stop::kKill, Stop::kKillAndFilesAreTaken}) {
    const bool taken = stop == Stop::kKillAndFilesAreTaken;
    for (std::uint64_t at = 1;; ++at) {
      disk_.emplace();
      bool stopped = false;
      {
        const auto target = make();
        disk_->crash_at(at, at);
        try {
          target->fence(claim(1));
          publish(*target, 1, 0, 7);
          publish(*target, 1, 7, 9);
        } catch (const SimulatedCrash&) {
          stopped = true;
        }
      }
      if (!stopped) {
        EXPECT_GT(at, 20u);
        break;
      }
      disk_->crash_at(0);
      if (stop == Stop::kPowerLoss) {
        disk_->crash(at);
      } else {
        disk_->kill();
      }
      const std::string seen = visible(taken);  // whole epochs, from the first on
      EXPECT_TRUE(seen.empty() || seen == lines_of({7}) || seen == lines_of({7, 9})) << at << seen;
      const auto target = make();
      const TargetAnswer fenced = target->fence(claim(2));
      ASSERT_EQ(fenced.status, TargetStatus::kDone) << fenced.reason;
      CheckpointId marker = fenced.marker.epoch;
      for (const CheckpointId epoch : {7, 9}) {
        if (marker >= epoch) continue;
        ASSERT_EQ(publish(*target, 2, marker, epoch).status, TargetStatus::kDone);
        marker = epoch;
      }
      EXPECT_EQ((taken ? seen : "") + visible(), lines_of({7, 9})) << "stopped at operation " << at;
    }
  }
}

TEST_F(FilesTarget, SaysWhatTheDiskRefuses) {
  using Operation = levada::testing::FileOperation;
  const auto target = make();
  target->fence(claim(1));
  for (const Operation operation : {Operation::kCreate, Operation::kAppend, Operation::kSync}) {
    disk_->fail(operation, 1, ENOSPC);
    const TargetAnswer answer = publish(*target, 1, 0, 7);
    EXPECT_EQ(answer.status, TargetStatus::kUnavailable);
    EXPECT_THAT(answer.reason, HasSubstr("No space left"));
    EXPECT_EQ(visible(), "");
  }
  // Each of them until the marker says that it is there.
  for (const Operation operation : {Operation::kCreate, Operation::kRename, Operation::kSyncDirectory}) {
    for (std::uint64_t nth = 2;; ++nth) {
      const CheckpointId epoch = target->fence(claim(1)).marker.epoch + 1;
      disk_->fail(operation, nth, EIO);
      const TargetAnswer answer = publish(*target, 1, epoch - 1, epoch);
      disk_->clear_faults();
      if (answer.status == TargetStatus::kDone) break;
      EXPECT_EQ(answer.status, TargetStatus::kUnknown);
      const bool is_visible = visible(true) == lines_of({epoch});
      EXPECT_EQ(target->fence(claim(1)).marker.epoch, is_visible ? epoch : epoch - 1);
    }
  }
}

TEST_F(FilesTarget, SettlesAnAnnouncementByAFenceBeforeItPublishesAgain) {
  const auto target = make();
  target->fence(claim(1));
  disk_->fail(levada::testing::FileOperation::kRename, 2, EIO);  // the first one is the marker's
  ASSERT_EQ(publish(*target, 1, 0, 7).status, TargetStatus::kUnknown);
  EXPECT_EQ(publish(*target, 1, 0, 7).status, TargetStatus::kConflict);
  EXPECT_EQ(target->fence(claim(1)).marker.epoch, 0u);
  EXPECT_EQ(publish(*target, 1, 0, 7).status, TargetStatus::kDone);
  EXPECT_EQ(visible(), lines_of({7}));
}

TEST_F(FilesTarget, RemovesTheHiddenFilesOfPublishesThatWereCutShort) {
  const auto target = make();
  target->fence(claim(1));
  disk_->fail(levada::testing::FileOperation::kRename, 2, EIO);
  ASSERT_EQ(publish(*target, 1, 0, 7).status, TargetStatus::kUnknown);
  const auto hidden = [&] {
    std::vector<std::string> files = disk_->all_files();
    std::erase_if(files, [](const std::string& path) { return !path.ends_with(".jsonl.tmp"); });
    return files;
  };
  EXPECT_EQ(hidden().size(), 1u);
  target->fence(claim(1));
  EXPECT_EQ(hidden().size(), 0u);
}

TEST_F(FilesTarget, MovesTheMarkerWithoutAFileWhenThereAreNoRows) {
  const auto target = make();
  target->fence(claim(1));
  publish(*target, 1, 0, 7);
  Lines none({});
  EXPECT_EQ(target->publish({{1, 1}, 7, 9, &none}).status, TargetStatus::kDone);
  EXPECT_EQ(target->fence(claim(1)).marker.epoch, 9u);
  EXPECT_EQ(visible(), lines_of({7}));
}

TEST_F(FilesTarget, IsFencedByALaterStartAndLockedByALivingOne) {
  auto first = make();
  first->fence(claim(2));
  const auto second = make();
  EXPECT_EQ(second->fence(claim(3)).status, TargetStatus::kLocked);
  first.reset();
  EXPECT_EQ(second->fence(claim(1)).status, TargetStatus::kFenced);
  EXPECT_EQ(second->fence(claim(3)).status, TargetStatus::kDone);
  EXPECT_EQ(publish(*second, 2, 0, 7).status, TargetStatus::kFenced);
}

TEST_F(FilesTarget, MakesNoMarkerThatIsSupposedToBeThereAndReadsNoDamagedOne) {
  auto target = make();
  FenceRequest request = claim(1);
  request.may_create = false;
  EXPECT_EQ(target->fence(request).status, TargetStatus::kMissing);
  target->fence(claim(1));
  disk_->flip_bit("/out/.levada/job/to%20files-0", 18, 1);
  EXPECT_THROW(target->fence(claim(2)), ConnectorError);
}

TEST_F(FilesTarget, LeavesTheFilesOfOtherJobsAlone) {
  const auto one = make("a");
  const auto other = make("b");
  one->fence(claim(1));
  publish(*one, 1, 0, 7);
  EXPECT_EQ(other->fence(claim(1)).marker.epoch, 0u);
  EXPECT_EQ(publish(*other, 1, 0, 7).status, TargetStatus::kDone);
  EXPECT_EQ(visible(), lines_of({7, 7}));
}

}  // namespace
}  // namespace levada::files
