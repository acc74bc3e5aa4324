// A job with two exactly-once sinks, one into a table that survives and one into files on the same disk.
// The power goes at every operation on the disk, and every bit of a small manifest and of small segments
// is flipped: the job ends with every row once, or it refuses to go on and nothing is there twice.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>

#include "levada/connectors/files.h"
#include "levada/levada.h"
#include "support/memory_target.h"
#include "support/simulated_machine.h"

namespace levada {
namespace {

using testing::MemoryTable;
using testing::PowerLoss;
using testing::SimulatedFileSystem;

struct Row {
  std::int64_t number = 0;
};
LEVADA_RECORD(Row, number)

using End = testing::SimulatedMachine::End;

class Machine {
 public:
  explicit Machine(std::int64_t rows, std::uint64_t seed = 1)
      : rows_(rows), machine_(options, [this](StreamEnvironment& env) { build(env); }, seed) {}

  End run(const std::function<bool()>& stop = {}, const ExecuteOptions& execute = {}) {
    return machine_.run(stop, execute);
  }

  // What is wrong with what readers see, or nothing. `all`: every row must be there.
  std::string problem(bool all) {
    const std::vector<Row> inserted = testing::rows_of<Row>(*table_);
    std::vector<std::int64_t> numbers;
    for (const Row& row : inserted) numbers.push_back(row.number);
    const std::string table = problem_of("the table", numbers, all);
    return table.empty() ? problem_of("the files", numbers_in_files(), all) : table;
  }

  SimulatedFileSystem& disk() { return machine_.disk(); }
  MemoryTable& table() { return *table_; }
  const std::string& error() const { return machine_.error(); }
  int restarts() const { return machine_.restarts(); }
  std::vector<std::string> files(const std::string& with) const { return machine_.files(with); }
  std::vector<std::int64_t> numbers_in_files() {
    std::vector<std::int64_t> numbers;
    for (const std::string& path : files("/out/")) {
      if (!path.ends_with(".jsonl") || path.find("/.") != path.npos) continue;
      std::istringstream lines(disk().read_file(path));
      for (std::string line; std::getline(lines, line);) {
        numbers.push_back(std::stoll(line.substr(line.find(':') + 1)));
      }
    }
    return numbers;
  }
  /// The next start fails once when it first sees a row from that one on.
  void fail_in_user_code_at(std::int64_t row) { fails_at_ = row; }

 private:
  static EnvironmentOptions options() {
    return {.parallelism = 2,
            .checkpoint = {.interval = 1ms, .directory = "/job"},
            .restart = fixed_delay({.attempts = 3, .delay = 1ms}),
            .batch_rows = 8};
  }

  void build(StreamEnvironment& env) {
    auto rows = env.generate<Row>([](std::uint64_t i) { return Row{static_cast<std::int64_t>(i)}; },
                                  {.rows = static_cast<std::uint64_t>(rows_), .rate = 20'000})
                    .uid("rows")
                    .filter([this](const Row& row) {
                      if (row.number >= fails_at_) {
                        fails_at_ = INT64_MAX;
                        throw std::runtime_error("planned");
                      }
                      return true;
                    });
    rows.sink_to(testing::memory_sink<Row>(table_)).uid("to table");
    rows.sink_to(files::sink<Row>({.directory = "/out"})).uid("to files");
  }

  std::string problem_of(const std::string& where, const std::vector<std::int64_t>& numbers, bool all) const {
    std::set<std::int64_t> seen;
    for (const std::int64_t number : numbers) {
      if (number < 0 || number >= rows_) return where + " has row " + std::to_string(number);
      if (!seen.insert(number).second) return where + " has row " + std::to_string(number) + " twice";
    }
    if (all && static_cast<std::int64_t>(seen.size()) != rows_) {
      return where + " has only " + std::to_string(seen.size()) + " rows";
    }
    return {};
  }

  const std::int64_t rows_;
  std::shared_ptr<MemoryTable> table_ = std::make_shared<MemoryTable>();
  std::int64_t fails_at_ = INT64_MAX;
  testing::SimulatedMachine machine_;
};

// ---- power loss

constexpr std::int64_t kRows = 300;

// Runs until the power goes at the `operation`th one from now; then it is back. False when the job came to
// its end before.
bool lose_power(Machine& machine, std::uint64_t operation, PowerLoss loss) {
  machine.disk().crash_at(operation, operation);
  const End end = machine.run();
  if (end == End::kPowerLost) machine.disk().crash(operation, loss);
  machine.disk().crash_at(0);
  EXPECT_NE(end, End::kFailed) << machine.error();
  EXPECT_EQ(machine.problem(end == End::kFinished), "");
  return end == End::kPowerLost;
}

void expect_that_it_ends_well(Machine& machine) {
  EXPECT_EQ(machine.run(), End::kFinished) << machine.error();
  EXPECT_EQ(machine.problem(true), "");
}

class PowerLossTest : public ::testing::TestWithParam<PowerLoss> {};

TEST_P(PowerLossTest, AtEveryOperationOfCheckpointsAndPublishesLosesAndDoublesNothing) {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    for (std::uint64_t operation = 1;; ++operation) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", operation " + std::to_string(operation));
      Machine machine(kRows, seed);
      if (!lose_power(machine, operation, GetParam())) {
        EXPECT_GT(operation, 200u) << "a few checkpoints have more operations than that";
        break;
      }
      expect_that_it_ends_well(machine);
      if (HasFailure()) return;
    }
  }
}

// Each recovery gets a little further than the one before, and then one gets through.
TEST_P(PowerLossTest, AgainAndAgainDuringRecoveryLosesAndDoublesNothing) {
  for (std::uint64_t operation = 1;; operation += 3) {
    SCOPED_TRACE("operation " + std::to_string(operation));
    Machine machine(kRows, operation);
    if (!lose_power(machine, operation, GetParam())) break;
    for (std::uint64_t further = 1; further <= 40; further += 2) {
      if (!lose_power(machine, further, GetParam())) break;
    }
    if (machine.problem(true) != "") expect_that_it_ends_well(machine);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(OfEveryKind, PowerLossTest,
                         ::testing::Values(PowerLoss::kNothing, PowerLoss::kNames, PowerLoss::kAnyPart));

// ---- operations that fail

struct DiskFault {
  testing::FileOperation operation;
  int error_number;
};

class DiskFaultTest : public ::testing::TestWithParam<DiskFault> {};

// Also a sync that failed is not believed later: the power goes at the end of the run it happened in.
TEST_P(DiskFaultTest, AtEachOperationOfThatKindLosesAndDoublesNothing) {
  constexpr std::uint64_t kOperations = 60;
  for (std::uint64_t nth = 1; nth <= kOperations; ++nth) {
    SCOPED_TRACE("operation " + std::to_string(nth));
    Machine machine(kRows, nth);
    machine.disk().fail(GetParam().operation, nth, GetParam().error_number);
    const End end = machine.run();
    machine.disk().clear_faults();
    EXPECT_TRUE(end == End::kFinished || machine.error() != "");
    EXPECT_EQ(machine.problem(end == End::kFinished), "");
    machine.disk().crash(nth, PowerLoss::kNothing);
    if (end == End::kFailed) expect_that_it_ends_well(machine);
    EXPECT_EQ(machine.problem(true), "");
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(
    OfEachKind, DiskFaultTest,
    ::testing::Values(DiskFault{testing::FileOperation::kCreate, ENOSPC},
                      DiskFault{testing::FileOperation::kAppend, ENOSPC},
                      DiskFault{testing::FileOperation::kAppend, EIO},
                      DiskFault{testing::FileOperation::kSync, EIO},
                      DiskFault{testing::FileOperation::kRename, EROFS},
                      DiskFault{testing::FileOperation::kRemove, EIO},
                      DiskFault{testing::FileOperation::kRead, EIO},
                      DiskFault{testing::FileOperation::kSyncDirectory, EIO}));

// ---- flipped bits

// A job that was killed with a committed epoch that is published, or is by neither of its sinks.
class DamagedMachine {
 public:
  explicit DamagedMachine(bool published) {
    static std::uint64_t seeds[] = {1, 1};  // the first of each kind
    for (std::uint64_t& seed = seeds[published ? 1 : 0];; ++seed) {
      machine_.emplace(40, seed);
      const bool files_wait = stop(published);
      if (published || files_wait) return;
    }
  }

  Machine& machine() { return *machine_; }
  // The newest of the files with that in their path.
  std::string newest(const std::string& with) {
    const std::vector<std::string> files = machine_->files(with);
    if (files.empty()) throw std::runtime_error("there is no " + with);
    return files.back();
  }

 private:
  // Returns whether the files have no more than the table.
  bool stop(bool published) {
    MemoryTable& table = machine_->table();
    bool blocked = false;
    table.fault = [&](testing::TargetStep step) {
      if (step != testing::TargetStep::kCommit) return;
      if (!published && table.rows().size() >= 8) {
        blocked = true;
        throw TargetError(TargetStatus::kUnavailable, "away");
      }
    };
    const End end = machine_->run([&] {
      return published ? table.rows().size() >= 16 && !machine_->files(".log").empty() : blocked;
    });
    if (end != End::kStopped) throw std::runtime_error("it ended too early");
    const bool files_wait = machine_->numbers_in_files().size() <= table.rows().size();
    machine_->disk().kill();
    table.fault = {};
    return files_wait;
  }

  std::optional<Machine> machine_;
};

constexpr std::int64_t kNotSeenYet = 30;  // of 40 rows, when the machine was stopped

struct Flips {
  int finished = 0;
  int refused = 0;
};

Flips flip_every_bit(const std::string& with, bool published) {
  Flips flips;
  std::uint64_t bits = 1;
  for (std::uint64_t bit = 0; bit < bits; ++bit) {
    DamagedMachine damaged(published);
    Machine& machine = damaged.machine();
    const std::string path = damaged.newest(with);
    bits = 8 * machine.disk().size(path);
    machine.disk().flip_bit(path, bit / 8, static_cast<unsigned>(bit % 8));
    const End end = machine.run();
    EXPECT_TRUE(end == End::kFinished || end == End::kFailed);
    EXPECT_EQ(machine.problem(end == End::kFinished), "") << path << ", bit " << bit;
    ++(end == End::kFinished ? flips.finished : flips.refused);
    if (end == End::kFailed) {
      EXPECT_NE(machine.error(), "");
    }
    if (::testing::Test::HasFailure()) break;
  }
  return flips;
}

TEST(FlippedBit, OfTheNewestManifestGoesBackACheckpointWhereNothingOfItIsPublished) {
  const Flips flips = flip_every_bit("manifest-", false);
  EXPECT_GT(flips.finished, 1'000);
}

TEST(FlippedBit, OfTheNewestManifestIsRefusedWhereItsEpochIsPublished) {
  const Flips flips = flip_every_bit("manifest-", true);
  EXPECT_GT(flips.refused, 1'000);
}

TEST(FlippedBit, OfASegmentThatIsNotPublishedGoesBackACheckpoint) {
  const Flips flips = flip_every_bit(".log", false);
  EXPECT_GT(flips.finished, 500);
  EXPECT_EQ(flips.refused, 0);
}

TEST(FlippedBit, OfEverySegmentThatIsNotPublishedIsRefusedForTheNewest) {
  DamagedMachine damaged(false);
  Machine& machine = damaged.machine();
  const std::vector<std::string> segments = machine.files(".log");
  ASSERT_GT(segments.size(), 1u);
  for (const std::string& path : segments) machine.disk().flip_bit(path, machine.disk().size(path) - 40, 3);
  EXPECT_EQ(machine.run(), End::kFailed);
  EXPECT_EQ(machine.problem(false), "");
  EXPECT_NE(machine.error().find("is damaged"), std::string::npos) << machine.error();
  // The files come back.
  for (const std::string& path : segments) machine.disk().flip_bit(path, machine.disk().size(path) - 40, 3);
  expect_that_it_ends_well(machine);
}

// Whoever names a checkpoint gets that one or none.
TEST(MissingSegment, OfACheckpointThatWasAskedForIsRefused) {
  DamagedMachine damaged(false);
  Machine& machine = damaged.machine();
  machine.disk().remove(damaged.newest(".log"));
  EXPECT_EQ(machine.run({}, {.restore = damaged.newest("manifest-")}), End::kFailed);
  EXPECT_EQ(machine.problem(false), "");
  expect_that_it_ends_well(machine);
}

// A restart within the process must not take up again what its start went back from.
TEST(MissingSegment, GoesBackACheckpointAndStaysThere) {
  DamagedMachine damaged(false);
  Machine& machine = damaged.machine();
  machine.disk().remove(damaged.newest(".log"));
  machine.fail_in_user_code_at(kNotSeenYet);
  expect_that_it_ends_well(machine);
  EXPECT_EQ(machine.restarts(), 1);
}

TEST(FlippedBit, OfASegmentThatIsPublishedDoesNoHarm) {
  const Flips flips = flip_every_bit(".log", true);
  EXPECT_GT(flips.finished, 500);
}

}  // namespace
}  // namespace levada
