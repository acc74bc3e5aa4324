#include "checkpoint/checkpoint_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"

#include "checkpoint/manifest_file.h"
#include "checkpoint_builder.h"
#include "testing/simulated_file_system.h"

namespace levada {
namespace {

using ::testing::HasSubstr;
using testing::LogLines;
using testing::number_of;
using testing::SimulatedFileSystem;
using testing::take_checkpoint;

class CheckpointReading : public ::testing::Test {
 protected:
  CheckpointReading() {
    directory_.open();
    first_ = take_checkpoint(directory_, 1);
    second_ = take_checkpoint(directory_, 2);
  }

  std::optional<std::uint64_t> number_at(const std::string& path) {
    const CheckpointReader reader(files_, path);
    reader.verify();
    return number_of(files_, reader.state_path(), reader.manifest());
  }

  std::string error_of(const std::string& path) {
    try {
      static_cast<void>(CheckpointReader(files_, path));
    } catch (const StateError& error) {
      return error.what();
    }
    return {};
  }

  std::string state_file_of(CheckpointId id) {
    const Manifest manifest = read_manifest_file(files_, "/jobs/orders", id);
    return join_path("/jobs/orders/state", manifest.subtasks[0].state.file);
  }

  LogLines log_;
  SimulatedFileSystem files_;
  JobDirectory directory_{files_, "/jobs", "orders", log_.log()};
  CheckpointId first_ = 0;
  CheckpointId second_ = 0;
};

TEST_F(CheckpointReading, FindsTheNewestOfAJobAndEachManifestByItsPath) {
  EXPECT_EQ(number_at("/jobs/orders"), 2u);
  EXPECT_EQ(number_at("/jobs/orders/"), 2u);
  EXPECT_EQ(number_at("/jobs/orders/" + manifest_file_name(first_)), 1u);
  EXPECT_EQ(number_at("/jobs/orders/" + manifest_file_name(second_)), 2u);
}

TEST_F(CheckpointReading, OpensTheIndexesOfAllStateFiles) {
  const CheckpointReader reader(files_, "/jobs/orders");
  EXPECT_EQ(reader.directory(), "/jobs/orders");
  EXPECT_FALSE(reader.is_savepoint());
  const auto checkpoint = reader.open();
  ASSERT_EQ(checkpoint->subtasks().size(), 2u);
  ASSERT_EQ(checkpoint->subtasks()[0].state->tables().size(), 1u);
  EXPECT_EQ(checkpoint->subtasks()[0].state->tables()[0].name, "windows");
  ASSERT_NE(checkpoint->node("window"), nullptr);
}

TEST_F(CheckpointReading, PassesOverADamagedCheckpointOfAJobButNotOneThatWasNamed) {
  files_.flip_bit(state_file_of(second_), 100, 3);
  EXPECT_EQ(number_at("/jobs/orders"), 1u);
  const CheckpointReader named(files_, "/jobs/orders/" + manifest_file_name(second_));
  EXPECT_THROW(named.verify(), StateError);
}

TEST_F(CheckpointReading, SaysWhatIsWrongWithAPath) {
  EXPECT_THAT(error_of(""), HasSubstr("is empty"));
  EXPECT_THAT(error_of("/nowhere"), HasSubstr("there is no checkpoint or savepoint '/nowhere'"));
  EXPECT_THAT(error_of("/jobs"), HasSubstr("'/jobs' is neither a savepoint"));
  EXPECT_THAT(error_of("/jobs/orders/LOCK"), HasSubstr("is neither a savepoint"));
  EXPECT_THAT(error_of("/jobs/orders/" + manifest_file_name(99)), HasSubstr("cannot"));
  files_.flip_bit(state_file_of(first_), 100, 3);
  files_.flip_bit(state_file_of(second_), 100, 3);
  EXPECT_THAT(error_of("/jobs/orders"), HasSubstr("'/jobs/orders' cannot be used"));
}

TEST_F(CheckpointReading, ChangesNothing) {
  const std::vector<std::string> before = files_.all_files();
  const std::uint64_t operations = files_.operations();
  EXPECT_EQ(number_at("/jobs/orders"), 2u);
  EXPECT_EQ(files_.all_files(), before);
  EXPECT_EQ(files_.operations(), operations);
}

}  // namespace
}  // namespace levada
