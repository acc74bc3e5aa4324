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

  // What readers see, in the order of names.
  std::string visible() {
    std::string text;
    for (const std::string& path : disk_->all_files()) {
      if (!path.ends_with(kSuffix) || path.find("/.") != path.npos) continue;
      text += disk_->read_file(path);
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
  for (const bool power_loss : {false, true}) {
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
      if (power_loss) {
        disk_->crash(at);
      } else {
        disk_->kill();
      }
      const std::string seen = visible();  // whole epochs, from the first on
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
      EXPECT_EQ(visible(), lines_of({7, 9})) << "stopped at operation " << at;
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
  for (const Operation operation : {Operation::kRename, Operation::kSyncDirectory}) {
    disk_->fail(operation, 1, EIO);
    EXPECT_EQ(publish(*target, 1, 0, 7).status, TargetStatus::kUnknown);
    const TargetAnswer again = target->fence(claim(1));
    ASSERT_EQ(again.status, TargetStatus::kDone);
    if (again.marker.epoch == 7) break;
  }
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
