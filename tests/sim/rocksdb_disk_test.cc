// Keyed state in RocksDB, whose databases are on the simulated disk like the checkpoints that share their files. The
// power goes at operations all along, operations fail, and bits are flipped: the job ends with every row counted once,
// or it refuses to go on, and says why. RocksDB's own threads take part, so a seed replays the most but not all of it.
// LEVADA_FLIPS=n flips more bits of state than a test takes time for.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "backends/rocksdb_tier.h"
#include "checkpoint/manifest_file.h"
#include "levada/levada.h"
#include "support/rocksdb_files.h"
#include "support/rows.h"
#include "support/seed.h"
#include "support/simulated_machine.h"

namespace levada {
namespace {

using testing::PowerLoss;
using testing::Row;
using testing::SimulatedFileSystem;
using End = testing::SimulatedMachine::End;

struct Sum {
  std::int64_t key = 0, count = 0, total = 0;
};
LEVADA_RECORD(Sum, key, count, total)

constexpr std::int64_t kKeys = 1'200;
constexpr std::int64_t kRandomRows = 2'800;
constexpr std::int64_t kRows = kRandomRows + kKeys;

// The last rows have each key once: their results tell the whole state.
Row make_row(std::uint64_t i) {
  Row row = testing::row_of(i, kKeys, 5000);
  if (static_cast<std::int64_t>(i) >= kRandomRows) row.key = static_cast<std::int64_t>(i) - kRandomRows;
  return row;
}

class Machine {
 public:
  explicit Machine(std::uint64_t seed)
      : machine_([this] { return options(); }, [this](StreamEnvironment& env) { build(env); }, seed),
        env_(testing::make_rocksdb_env(machine_.disk())) {}

  End run(const std::function<bool()>& stop = {}, const ExecuteOptions& execute = {}) {
    return machine_.run(stop, execute);
  }
  SimulatedFileSystem& disk() { return machine_.disk(); }
  const std::string& error() const { return machine_.error(); }
  std::vector<std::string> files(const std::string& with) const { return machine_.files(with); }
  std::size_t rows() const { return collected_->rows().size(); }
  /// The next start has its checkpoints there, and knows of no rows.
  void move_to(std::string directory) {
    directory_ = std::move(directory);
    collected_ = std::make_unique<Collected<Sum>>();
  }

  // What is wrong with the results, or nothing. `since`: those of earlier rows were seen by another.
  std::string problem(bool since = false) const {
    if (!since && rows() != static_cast<std::size_t>(kRows)) {
      return "there are " + std::to_string(rows()) + " results";
    }
    std::map<std::int64_t, Sum> last, expected;
    for (const Sum& row : collected_->rows()) {
      Sum& before = last[row.key];
      const bool follows = row.count == before.count + 1 || (since && before.count == 0);
      if (!follows) return "key " + std::to_string(row.key) + " is counted wrong";
      before = row;
    }
    for (std::int64_t i = 0; i < kRows; ++i) {
      const Row row = make_row(static_cast<std::uint64_t>(i));
      ++expected[row.key].count;
      expected[row.key].total += row.value;
    }
    for (const auto& [key, sum] : expected) {
      if (last[key].count != sum.count) return "key " + std::to_string(key) + " lacks rows";
      if (last[key].total != sum.total) return "key " + std::to_string(key) + " has a wrong total";
    }
    return {};
  }

 private:
  EnvironmentOptions options() {
    return {.parallelism = 2,
            .checkpoint = {.interval = 1ms, .directory = directory_},
            .state = {.cold = rocksdb::make_backend({.directory = "/cold"}, {&machine_.disk(), env_.get()})},
            .restart = fixed_delay({.attempts = 3, .delay = 1ms}),
            .memory = 128_KiB,
            .batch_rows = 16};
  }
  void build(StreamEnvironment& env) {
    env.generate<Row>(make_row, {.rows = kRows, .rate = 400'000, .splits = 3},
                      event_time(&Row::at, {.bounded_out_of_orderness = 10ms}))
        .uid("rows")
        .key_by(&Row::key)
        .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
        .uid("sums")
        .collect_into(*collected_)
        .uid("out");
  }

  std::string directory_ = "/job";
  std::unique_ptr<Collected<Sum>> collected_ = std::make_unique<Collected<Sum>>();
  testing::SimulatedMachine machine_;
  std::unique_ptr<::rocksdb::Env> env_;
};

// What is wrong with the files that a job left when it ended, or nothing.
std::string problem_of_files(Machine& machine) {
  std::set<std::string> wanted;
  for (const CheckpointId id : manifest_ids(machine.disk(), "/job/job")) {
    for (const SubtaskState& subtask : read_manifest_file(machine.disk(), "/job/job", id).subtasks) {
      if (!subtask.state.is_inline()) wanted.insert("/job/job/state/" + subtask.state.file);
      for (const StateHandle& older : subtask.older) wanted.insert("/job/job/state/" + older.file);
    }
  }
  for (const std::string& path : machine.files("/job/job/state/")) {
    if (wanted.erase(path) == 0) return "no checkpoint names '" + path + "'";
  }
  if (!wanted.empty()) return "'" + *wanted.begin() + "' is gone";
  const std::vector<std::string> cold = machine.files("/cold/");
  return cold.empty() ? "" : "'" + cold.front() + "' was left";
}

void expect_that_it_ends_well(Machine& machine) {
  EXPECT_EQ(machine.run(), End::kFinished) << machine.error();
  EXPECT_EQ(machine.problem(), "");
  EXPECT_EQ(problem_of_files(machine), "");
}

TEST(RocksDbDisk, HoldsStateThatCheckpointsShare) {
  Machine machine(1);
  bool shared = false;
  const End end = machine.run([&] {
    shared = shared || (!machine.files("/cold/").empty() && !machine.files("/job/job/manifest-").empty());
    return false;
  });
  EXPECT_EQ(end, End::kFinished) << machine.error();
  EXPECT_EQ(machine.problem(), "");
  EXPECT_TRUE(shared) << "all state fitted into memory";
  std::printf("%llu operations on the disk\n", static_cast<unsigned long long>(machine.disk().operations()));
}

// ---- power loss

class RocksDbPowerLoss : public ::testing::TestWithParam<PowerLoss> {};

TEST_P(RocksDbPowerLoss, AtOperationsAllAlongLosesAndDoublesNothing) {
  const std::uint64_t step = 149;
  const std::uint64_t first = 1 + testing::first_seed() % step;
  for (std::uint64_t operation = first;; operation += step) {
    SCOPED_TRACE("LEVADA_SEED=" + std::to_string(testing::first_seed()) + ", operation " + std::to_string(operation));
    Machine machine(operation);
    machine.disk().crash_at(operation, operation);
    const End end = machine.run();
    ASSERT_NE(end, End::kFailed) << machine.error();
    if (end == End::kFinished) {
      EXPECT_GT(operation, 1'000u);
      break;
    }
    machine.disk().crash(operation, GetParam());
    machine.disk().crash_at(0);
    expect_that_it_ends_well(machine);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(OfEveryKind, RocksDbPowerLoss,
                         ::testing::Values(PowerLoss::kNothing, PowerLoss::kNames, PowerLoss::kAnyPart));

// ---- operations that fail

struct DiskFault {
  testing::FileOperation operation;
  int error_number;
};

class RocksDbDiskFault : public ::testing::TestWithParam<DiskFault> {};

TEST_P(RocksDbDiskFault, AtAnOperationOfThatKindLosesAndDoublesNothing) {
  int faults = 0;
  for (std::uint64_t nth = 1; nth <= 400; nth += 23) {
    SCOPED_TRACE("operation " + std::to_string(nth));
    Machine machine(nth);
    machine.disk().fail(GetParam().operation, nth, GetParam().error_number);
    const End end = machine.run();
    faults += machine.disk().faults_left() == 0;
    machine.disk().clear_faults();
    if (end == End::kFinished) {
      EXPECT_EQ(machine.problem(), "");
    } else {
      EXPECT_EQ(end, End::kFailed);
      EXPECT_NE(machine.error(), "");
      machine.disk().crash(nth, PowerLoss::kNothing);
      expect_that_it_ends_well(machine);
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(faults, 3);
}

INSTANTIATE_TEST_SUITE_P(OfEachKind, RocksDbDiskFault,
                         ::testing::Values(DiskFault{testing::FileOperation::kCreate, ENOSPC},
                                           DiskFault{testing::FileOperation::kAppend, ENOSPC},
                                           DiskFault{testing::FileOperation::kAppend, EIO},
                                           DiskFault{testing::FileOperation::kSync, EIO},
                                           DiskFault{testing::FileOperation::kRename, EROFS},
                                           DiskFault{testing::FileOperation::kLink, EIO},
                                           DiskFault{testing::FileOperation::kRemove, EIO},
                                           DiskFault{testing::FileOperation::kRead, EIO},
                                           DiskFault{testing::FileOperation::kOpen, EMFILE},
                                           DiskFault{testing::FileOperation::kSyncDirectory, EIO}));

// ---- flipped bits

// A job that was stopped with checkpoints whose state is in RocksDB's files, each of which is restored elsewhere.
class RocksDbFlips : public ::testing::Test {
 protected:
  RocksDbFlips() {
    const End end = machine_.run([&] { return machine_.rows() > kRandomRows / 2; });
    if (end != End::kStopped) throw std::runtime_error("it ended too early");
    machine_.disk().kill();
    manifest_ = machine_.files("/job/job/manifest-").back();
  }

  // Restores with that bit flipped; counts what came of it.
  void flip(const std::string& path, std::uint64_t bit) {
    SCOPED_TRACE(path + ", bit " + std::to_string(bit));
    const auto turn = [&] { machine_.disk().flip_bit(path, bit / 8, static_cast<unsigned>(bit % 8)); };
    turn();
    machine_.move_to("/elsewhere");
    const End end = machine_.run({}, {.restore = manifest_});
    if (end == End::kFinished) {
      EXPECT_EQ(machine_.problem(true), "");
      ++finished_;
    } else {
      EXPECT_EQ(end, End::kFailed);
      EXPECT_NE(machine_.error(), "");
      ++refused_;
    }
    turn();
    for (const std::string& left : machine_.files("/elsewhere/")) machine_.disk().remove(left);
  }

  Machine machine_{1};
  std::string manifest_;
  int finished_ = 0;
  int refused_ = 0;
};

TEST_F(RocksDbFlips, OfTheManifestAreRefused) {
  const std::uint64_t bits = 8 * machine_.disk().size(manifest_);
  for (std::uint64_t bit = 0; bit < bits && !HasFailure(); ++bit) flip(manifest_, bit);
  EXPECT_EQ(finished_, 0);
  EXPECT_GT(refused_, 1'000);
}

TEST_F(RocksDbFlips, OfStateFilesAreRefusedUnlessTheyAreNotOfThatCheckpoint) {
  const std::vector<std::string> files = machine_.files("/job/job/state/");
  ASSERT_GT(files.size(), 2u);
  Random random(testing::first_seed());
  const char* const wanted = std::getenv("LEVADA_FLIPS");
  const std::uint64_t flips = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 300;
  for (std::uint64_t i = 0; i < flips && !HasFailure(); ++i) {
    const std::string& path = files[random.below(files.size())];
    flip(path, random.below(8 * machine_.disk().size(path)));
  }
  std::printf("refused %d, restored right %d\n", refused_, finished_);
  EXPECT_GT(refused_, static_cast<int>(flips / 4));
}

}  // namespace
}  // namespace levada
