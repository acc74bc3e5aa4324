#include "checkpoint/epoch_publisher.h"

#include <gmock/gmock.h>

#include <optional>
#include <string>

#include "base/manual_clock.h"
#include "checkpoint/job_directory.h"
#include "levada/error.h"
#include "support/memory_target.h"
#include "testing/simulated_file_system.h"

namespace levada {
namespace {

using ::testing::HasSubstr;
using testing::MemoryTable;
using testing::TargetStep;

// Runs what is submitted at once.
class AtOnce final : public BackgroundQueue {
 public:
  void submit(std::function<void()> job) override { job(); }
  void submit_limited(std::function<std::size_t()> job) override { job(); }
};

class Publisher : public ::testing::Test {
 protected:
  // Writes epoch `id` with the records "<id>a", "<id>b" of one subtask.
  ShardEpoch write(CheckpointId id, std::size_t bytes = 0, const char* schema = "rows") {
    EpochSegment sealed;
    EpochLogWriter writer({.files = &files_,
                           .background = &at_once_,
                           .memory = &memory_,
                           .directory = "/log",
                           .temporary_name = "open",
                           .sink = "out",
                           .schema = schema,
                           .subtask = 0,
                           .sealed = [&](const EpochSegment& segment) { sealed = segment; },
                           .failed = [](const std::string& why) { ADD_FAILURE() << why; },
                           .appended = [](std::uint64_t) {}});
    for (const char* name : {"a", "b"}) {
      writer.buffer().begin(0) += std::to_string(id) + name + std::string(bytes, ' ');
      writer.buffer().end();
      writer.written();
    }
    writer.seal(id);
    return {.id = id, .segments = {sealed}};
  }

  static std::string path(const EpochSegment& segment) {
    return "/log/" + segment_file_name(segment.epoch);
  }

  EpochPublisher& start(ShardHistory history = {}, int shard = 0, EpochOwner self = {1, 1},
                        PublishPace pace = {}) {
    EpochPublisher::Parts parts;
    parts.node = "out";
    parts.shard = shard;
    parts.sink = "out";
    EpochTargetContext context;
    context.job = "job";
    context.sink = "out";
    context.shard = shard;
    parts.target =
        make_marker_target(std::make_unique<testing::MemoryDatabase>(table_, context));
    for (const std::string& marker : predecessors_) {
      context.sink = marker;
      parts.predecessors.push_back(
          make_marker_target(std::make_unique<testing::MemoryDatabase>(table_, context)));
    }
    parts.self = self;
    parts.require_owned = [this] {
      if (unreadable_ > 0 && unreadable_-- > 0) throw StateError("'/job/INCARNATION' is damaged");
      if (overtaken_) throw JobError(JobErrorCode::kFenced, {}, -1, "taken over");
    };
    parts.history = std::move(history);
    parts.pace = pace;
    parts.order = order_;
    parts.files = &files_;
    parts.path = &path;
    parts.clock = &clock_;
    parts.log = &log_;
    parts.changed = [] {};
    publishers_.push_back(std::make_unique<EpochPublisher>(std::move(parts)));
    if (released_) publishers_.back()->release();
    return *publishers_.back();
  }

  // Steps until there is nothing to do before the clock moves.
  static void run(EpochPublisher& publisher) {
    while (publisher.step()) {
    }
  }

  // Lets time pass until it has nothing to wait for.
  void run_through(EpochPublisher& publisher) {
    for (int i = 0; i < 1'000; ++i) {
      run(publisher);
      if (publisher.next_time() == kNever) return;
      clock_.advance_to(publisher.next_time());
    }
    ADD_FAILURE() << "it never comes to rest";
  }

  std::string rows() const {
    std::string text;
    for (const MemoryTable::Row& row : table_->rows()) {
      text += row.body.substr(0, row.body.find(' ')) + " ";
    }
    return text;
  }

  CheckpointId marker(int shard = 0) const {
    return table_->markers().at({"job", "out", shard}).epoch;
  }

  static std::string text_of(const std::exception_ptr& failure, JobErrorCode* code = nullptr) {
    try {
      std::rethrow_exception(failure);
    } catch (const JobError& error) {
      if (code != nullptr) *code = error.code();
      return error.what();
    } catch (const std::exception& error) {
      return error.what();
    }
  }

  testing::SimulatedFileSystem files_;
  AtOnce at_once_;
  MemoryShare memory_{"epoch_log", 64 << 20};
  ManualClock clock_;
  Log log_{{}};
  std::shared_ptr<MemoryTable> table_ = std::make_shared<MemoryTable>();
  std::shared_ptr<ShardOrder> order_ = std::make_shared<ShardOrder>(1);
  std::vector<std::string> predecessors_;  // of what is started
  bool released_ = true;
  bool overtaken_ = false;  // the directory belongs to a later start
  int unreadable_ = 0;      // how often it cannot be told to whom it belongs
  std::vector<std::unique_ptr<EpochPublisher>> publishers_;
};

TEST_F(Publisher, PublishesWhatIsCommittedInOrderAndTogetherWhatWaits) {
  EpochPublisher& publisher = start();
  EXPECT_FALSE(publisher.recovered());
  run(publisher);
  EXPECT_TRUE(publisher.recovered());
  publisher.committed(write(10));
  run(publisher);
  EXPECT_EQ(rows(), "10a 10b ");
  publisher.committed(write(20));
  publisher.committed({.id = 25});  // nothing for this shard
  publisher.committed(write(30));
  const int commits = table_->commits();
  run(publisher);
  EXPECT_EQ(rows(), "10a 10b 20a 20b 30a 30b ");
  EXPECT_EQ(table_->commits(), commits + 1);
  EXPECT_EQ(marker(), 30u);
  EXPECT_TRUE(publisher.caught_up());
}

TEST_F(Publisher, WritesNothingForEpochsWithoutRows) {
  EpochPublisher& publisher = start();
  run(publisher);
  const int commits = table_->commits();
  publisher.committed({.id = 10});
  run(publisher);
  EXPECT_EQ(table_->commits(), commits);
  EXPECT_EQ(marker(), 0u);
}

TEST_F(Publisher, TakesNoMoreThan64MiBIntoOneTransaction) {
  EpochPublisher& publisher = start();
  run(publisher);
  for (CheckpointId id = 1; id <= 3; ++id) publisher.committed(write(id, 15 << 20));
  const int commits = table_->commits();
  run(publisher);
  EXPECT_EQ(table_->commits(), commits + 2);
  EXPECT_EQ(marker(), 3u);
}

TEST_F(Publisher, DecidesByTheMarkerAfterEveryFaultAtEveryStep) {
  const TargetStep steps[] = {TargetStep::kBegin,   TargetStep::kRead,   TargetStep::kWrite,
                              TargetStep::kAdvance, TargetStep::kCommit, TargetStep::kCommitted};
  for (const TargetStep step : steps) {
    for (const TargetStatus status :
         {TargetStatus::kUnavailable, TargetStatus::kConflict, TargetStatus::kLocked}) {
      table_ = std::make_shared<MemoryTable>();
      order_ = std::make_shared<ShardOrder>(1);
      EpochPublisher& publisher = start();
      run(publisher);
      publisher.committed(write(10));
      int left = 3;
      table_->fault = [&](TargetStep at) {
        // A commit that was heard of is none of these.
        const bool answered = at == TargetStep::kCommitted && status != TargetStatus::kUnavailable;
        if (at == step && !answered && left > 0) {
          --left;
          throw TargetError(status, "planned");
        }
      };
      run_through(publisher);
      EXPECT_EQ(rows(), "10a 10b ");
      EXPECT_EQ(marker(), 10u);
      files_.remove(path({.epoch = 10}));
    }
  }
}

TEST_F(Publisher, WaitsLongerAndLongerForAServerThatIsAwayAndSaysSo) {
  EpochPublisher& publisher = start();
  run(publisher);
  publisher.committed(write(10));
  int attempts = 0;
  table_->fault = [&](TargetStep at) {
    if (at != TargetStep::kBegin) return;
    ++attempts;
    throw TargetError(TargetStatus::kUnavailable, "connection refused");
  };
  run(publisher);
  EXPECT_EQ(publisher.status().waiting_for, "connection refused");
  EXPECT_EQ(publisher.status().waiting_epochs, 1u);
  const SteadyTime until = clock_.steady_now() + 10min;
  while (clock_.steady_now() < until) {
    run(publisher);
    clock_.advance_to(publisher.next_time());
  }
  EXPECT_GT(attempts, 20);
  EXPECT_LT(attempts, 40);  // about every half minute in the end
  EXPECT_EQ(publisher.failure(), nullptr);
  table_->fault = {};
  run_through(publisher);
  EXPECT_EQ(rows(), "10a 10b ");
  EXPECT_EQ(publisher.status().waiting_for, "");
}

TEST_F(Publisher, FailsWhenTheServerIsNotThereAtTheStart) {
  table_->fault = [](TargetStep) {
    throw TargetError(TargetStatus::kUnavailable, "connection refused");
  };
  EpochPublisher& publisher = start();
  run_through(publisher);
  ASSERT_NE(publisher.failure(), nullptr);
  EXPECT_EQ(text_of(publisher.failure()), "connection refused");
  EXPECT_LE(clock_.steady_now().time_since_epoch(), 10s);
}

TEST_F(Publisher, WaitsAtTheStartForWhoeverHoldsTheMarker) {
  bool held = true;
  table_->fault = [&](TargetStep at) {
    if (held && at == TargetStep::kClaim) throw TargetError(TargetStatus::kLocked, "held by 17");
  };
  EpochPublisher& publisher = start();
  for (int i = 0; i < 60; ++i) {
    run(publisher);
    clock_.advance_to(publisher.next_time());
  }
  EXPECT_EQ(publisher.failure(), nullptr);
  EXPECT_EQ(publisher.status().waiting_for, "held by 17");
  held = false;
  run_through(publisher);
  EXPECT_TRUE(publisher.recovered());
}

TEST_F(Publisher, FailsForGoodWhenTheTargetRefuses) {
  EpochPublisher& publisher = start();
  run(publisher);
  publisher.committed(write(10));
  table_->fault = [](TargetStep at) {
    if (at == TargetStep::kWrite) throw TargetError(TargetStatus::kRefused, "check violated");
  };
  run(publisher);
  ASSERT_NE(publisher.failure(), nullptr);
  EXPECT_THAT(text_of(publisher.failure()), HasSubstr("check violated"));
  table_->fault = {};
  run(publisher);
  EXPECT_EQ(rows(), "");
}

TEST_F(Publisher, PublishesAgainFromTheLogAfterARestartAndOnlyWhatIsMissing) {
  ShardHistory history{.newest = 30, .epochs = {write(10), write(20), write(30)}};
  EpochPublisher& first = start(history);
  run(first);
  EXPECT_EQ(rows(), "10a 10b 20a 20b 30a 30b ");
  // The process dies before it notes that; a later one has its manifest only.
  order_ = std::make_shared<ShardOrder>(1);
  EpochPublisher& second = start(history, 0, {2, 2});
  run(second);
  EXPECT_EQ(rows(), "10a 10b 20a 20b 30a 30b ");
  // The first one was only frozen.
  first.committed(write(40));
  run(first);
  JobErrorCode code{};
  EXPECT_THAT(text_of(first.failure(), &code), HasSubstr("later instance"));
  EXPECT_EQ(code, JobErrorCode::kFenced);
  EXPECT_EQ(rows(), "10a 10b 20a 20b 30a 30b ");
}

TEST_F(Publisher, IsFencedByAnotherProcessOfTheSameIncarnation) {
  run(start({}, 0, {1, 1}));
  EpochPublisher& copy = start({}, 0, {1, 2});
  run(copy);
  JobErrorCode code{};
  text_of(copy.failure(), &code);
  EXPECT_EQ(code, JobErrorCode::kSinkAhead);  // its directory knows of nothing published
  EpochPublisher& older = start({.newest = 5}, 0, {1, 2});
  run(older);
  text_of(older.failure(), &code);
  EXPECT_EQ(code, JobErrorCode::kFenced);
}

TEST_F(Publisher, CatchesUpWithAMarkerThatAFailoverTookBack) {
  EpochPublisher& publisher = start();
  run(publisher);
  for (const CheckpointId id : {10, 20}) publisher.committed(write(id));
  run(publisher);
  // A standby without the newest transaction takes over, in the middle of a publish.
  publisher.committed(write(30));
  bool once = true;
  table_->fault = [&](TargetStep at) {
    if (at != TargetStep::kRead || !once) return;
    once = false;
    table_->set_marker({"job", "out", 0}, {10, {1, 1}});
    throw TargetError(TargetStatus::kUnavailable, "the server went away");
  };
  run_through(publisher);
  EXPECT_EQ(rows(), "10a 10b 20a 20b 20a 20b 30a 30b ");  // the table itself kept its rows here
  publisher.forget(20);
  table_->set_marker({"job", "out", 0}, {10, {1, 1}});
  publisher.committed(write(40));
  run(publisher);
  JobErrorCode code{};
  text_of(publisher.failure(), &code);
  EXPECT_EQ(code, JobErrorCode::kEpochLogLost);
}

TEST_F(Publisher, RefusesToGoOnWithADamagedOrMissingLog) {
  for (const bool missing : {false, true}) {
    table_ = std::make_shared<MemoryTable>();
    order_ = std::make_shared<ShardOrder>(1);
    const ShardEpoch epoch = write(10);
    if (missing) {
      files_.remove(path(epoch.segments[0]));
    } else {
      files_.flip_bit(path(epoch.segments[0]), epoch.segments[0].bytes - 50, 3);
    }
    EpochPublisher& publisher = start({.newest = 10, .epochs = {epoch}});
    run_through(publisher);
    EXPECT_NE(publisher.log_damage(), nullptr);
    JobErrorCode code{};
    ASSERT_NE(publisher.failure(), nullptr);
    EXPECT_THAT(text_of(publisher.failure(), &code), HasSubstr(path(epoch.segments[0])));
    EXPECT_EQ(code, JobErrorCode::kEpochLogLost);
    EXPECT_EQ(rows(), "");
    EXPECT_EQ(marker(), 0u);
    if (!missing) files_.remove(path(epoch.segments[0]));
  }
}

TEST_F(Publisher, FindsDamageInWhatWaitsBeforeAnyOfItIsPublished) {
  const ShardEpoch whole = write(10);
  const ShardEpoch damaged = write(20);
  files_.flip_bit(path(damaged.segments[0]), damaged.segments[0].bytes - 50, 3);
  EpochPublisher& publisher = start({.newest = 20, .epochs = {whole, damaged}});
  run_through(publisher);
  EXPECT_NE(publisher.log_damage(), nullptr);
  EXPECT_EQ(rows(), "");
  // What is published already may be damaged.
  table_->set_marker({"job", "out", 0}, {20, {1, 1}});
  EpochPublisher& again = start({.newest = 20, .epochs = {whole, damaged}});
  run_through(again);
  EXPECT_EQ(again.failure(), nullptr);
}

TEST_F(Publisher, PublishesNothingBeforeItIsReleased) {
  released_ = false;
  EpochPublisher& publisher = start({.newest = 10, .epochs = {write(10)}});
  run(publisher);
  EXPECT_TRUE(publisher.recovered());
  EXPECT_EQ(rows(), "");
  publisher.release();
  run(publisher);
  EXPECT_EQ(rows(), "10a 10b ");
}

TEST_F(Publisher, GoesOnWhenTheLogCouldNotBeReadForAMoment) {
  using Operation = testing::FileOperation;
  for (const Operation operation : {Operation::kOpen, Operation::kRead}) {
    for (const std::uint64_t nth : {1u, 2u}) {  // when it recovers, when it publishes
      table_ = std::make_shared<MemoryTable>();
      order_ = std::make_shared<ShardOrder>(1);
      const ShardEpoch epoch = write(10);
      EpochPublisher& publisher = start({.newest = 10, .epochs = {epoch}});
      files_.fail(operation, nth, EMFILE);
      run_through(publisher);
      EXPECT_EQ(publisher.failure(), nullptr);
      EXPECT_EQ(rows(), "10a 10b ");
      files_.clear_faults();
      files_.remove(path(epoch.segments[0]));
    }
  }
}

TEST_F(Publisher, FailsForALogThatIsLostWhileItRuns) {
  EpochPublisher& publisher = start();
  run(publisher);
  const ShardEpoch epoch = write(10);
  files_.remove(path(epoch.segments[0]));
  publisher.committed(epoch);
  run_through(publisher);
  JobErrorCode code{};
  ASSERT_NE(publisher.failure(), nullptr);
  text_of(publisher.failure(), &code);
  EXPECT_EQ(code, JobErrorCode::kEpochLogLost);
  EXPECT_EQ(publisher.log_damage(), nullptr);  // another checkpoint is no help then
}

TEST_F(Publisher, RefusesRowsOfAnotherSchema) {
  EpochPublisher& publisher = start({.newest = 10, .epochs = {write(10, 0, "other rows")}});
  run(publisher);
  ASSERT_NE(publisher.failure(), nullptr);
  EXPECT_THAT(text_of(publisher.failure()), HasSubstr("has rows of the form other rows"));
  EXPECT_EQ(publisher.log_damage(), nullptr);
}

TEST_F(Publisher, RetiresTheMarkersOfEarlierGenerationsBeforeItRecovers) {
  const auto id = [](std::uint64_t incarnation, std::uint64_t n) { return incarnation << 32 | n; };
  table_->set_marker({"job", "earlier", 0}, {id(3, 7), {3, 1}});
  table_->set_marker({"job", "elsewhere", 0}, {id(9, 2), {9, 1}});  // a later incarnation, of a lost directory
  predecessors_ = {"earlier", "elsewhere", "never made"};
  const TargetStep steps[] = {TargetStep::kBegin,   TargetStep::kClaim,  TargetStep::kRead,
                              TargetStep::kAdvance, TargetStep::kCommit, TargetStep::kCommitted};
  for (const TargetStep step : steps) {
    order_ = std::make_shared<ShardOrder>(1);
    table_->set_marker({"job", "earlier", 0}, {id(3, 7), {3, 1}});
    bool once = true;
    table_->fault = [&](TargetStep at) {
      if (at == step && std::exchange(once, false)) throw TargetError(TargetStatus::kUnavailable, "away");
    };
    EpochPublisher& publisher = start({}, 0, {4, 2});
    run_through(publisher);
    EXPECT_TRUE(publisher.recovered());
    table_->fault = {};
    EXPECT_EQ(table_->markers().at({"job", "earlier", 0}), (EpochMarker{id(4, 0), {4, 2}}));
    EXPECT_EQ(table_->markers().at({"job", "never made", 0}), (EpochMarker{id(4, 0), {4, 2}}));
    EXPECT_GE(table_->markers().at({"job", "elsewhere", 0}).epoch, id(10, 0));
    EXPECT_EQ(marker(), 0u);
  }
  // Who goes on from a checkpoint of an earlier generation is told so.
  JobErrorCode code{};
  table_->set_marker({"job", "out", 0}, {id(4, 0), {4, 2}});
  predecessors_ = {};
  EpochPublisher& older = start({.newest = id(3, 7), .published = id(3, 7), .base = id(3, 7)}, 0, {5, 3});
  run_through(older);
  ASSERT_NE(older.failure(), nullptr);
  EXPECT_THAT(text_of(older.failure(), &code), HasSubstr("start 4 of this job began a new sink generation"));
  EXPECT_EQ(code, JobErrorCode::kSinkAhead);
}

TEST_F(Publisher, RetiresNothingWhenALaterStartHasTakenTheDirectory) {
  const EpochMarker marker{CheckpointId{6} << 32 | 1, {6, 1}};
  table_->set_marker({"job", "earlier", 0}, marker);
  predecessors_ = {"earlier"};
  overtaken_ = true;
  EpochPublisher& publisher = start({}, 0, {5, 1});
  run_through(publisher);
  JobErrorCode code{};
  ASSERT_NE(publisher.failure(), nullptr);
  text_of(publisher.failure(), &code);
  EXPECT_EQ(code, JobErrorCode::kFenced);
  EXPECT_EQ(table_->markers().at({"job", "earlier", 0}), marker);
}

// Which is no matter of the target.
TEST_F(Publisher, RetiresNothingWhileItCannotBeToldWhoseTheDirectoryIs) {
  const EpochMarker marker{CheckpointId{3} << 32 | 1, {3, 1}};
  table_->set_marker({"job", "earlier", 0}, marker);
  predecessors_ = {"earlier"};
  unreadable_ = 1'000;
  EpochPublisher& publisher = start({}, 0, {5, 1});
  const SteadyTime begun = clock_.steady_now();
  run_through(publisher);
  ASSERT_NE(publisher.failure(), nullptr);
  EXPECT_THROW(std::rethrow_exception(publisher.failure()), StateError);
  EXPECT_EQ(text_of(publisher.failure()), "'/job/INCARNATION' is damaged");
  EXPECT_LT(clock_.steady_now() - begun, 5s);
  EXPECT_EQ(publisher.log_damage(), nullptr);
  EXPECT_EQ(table_->markers().at({"job", "earlier", 0}), marker);
  unreadable_ = 3;
  order_ = std::make_shared<ShardOrder>(1);
  EpochPublisher& second = start({}, 0, {6, 1});
  run_through(second);
  EXPECT_TRUE(second.recovered());
  EXPECT_EQ(table_->markers().at({"job", "earlier", 0}).epoch, CheckpointId{6} << 32);
}

// It is no matter of how soon the target can be reached.
TEST_F(Publisher, FindsDamageHoweverLongItReads) {
  const ShardEpoch damaged = write(10);
  files_.flip_bit(path(damaged.segments[0]), damaged.segments[0].bytes - 50, 3);
  EpochPublisher& publisher = start({.newest = 10, .epochs = {damaged}});
  for (int i = 0; i < 100 && publisher.failure() == nullptr; ++i) {
    clock_.advance(20s);
    publisher.step();
  }
  EXPECT_NE(publisher.log_damage(), nullptr);
}

TEST_F(Publisher, FailsWhenTheServerGoesAwayAtTheStartAlsoAfterTheLogCouldNotBeRead) {
  EpochPublisher& publisher = start({.newest = 10, .epochs = {write(10)}});
  files_.fail(testing::FileOperation::kOpen, 1, EMFILE);
  publisher.step();
  table_->fault = [](TargetStep at) {
    if (at == TargetStep::kBegin) throw TargetError(TargetStatus::kUnavailable, "connection refused");
  };
  run_through(publisher);
  ASSERT_NE(publisher.failure(), nullptr);
  EXPECT_EQ(text_of(publisher.failure()), "connection refused");
  EXPECT_EQ(publisher.log_damage(), nullptr);
}

TEST_F(Publisher, ForgetsWhatItCouldNotReadOnceItCould) {
  EpochPublisher& publisher = start();
  run(publisher);
  for (CheckpointId id = 1; id <= 20; ++id) {
    publisher.committed(write(id));
    files_.fail(testing::FileOperation::kOpen, 1, EMFILE);
    run_through(publisher);
  }
  EXPECT_EQ(publisher.failure(), nullptr);
  EXPECT_EQ(marker(), 20u);
}

TEST_F(Publisher, HoldsEpochsOfAnIncarnationUntilAllShardsHaveThoseBefore) {
  const auto id = [](std::uint64_t incarnation, std::uint64_t n) { return incarnation << 32 | n; };
  order_ = std::make_shared<ShardOrder>(2);
  EpochPublisher& ahead = start({.newest = id(1, 2)}, 0);
  run(ahead);
  ahead.committed(write(id(2, 1)));
  run(ahead);
  EXPECT_EQ(rows(), "");  // nobody knows yet what the other shard has
  const ShardEpoch old = write(id(1, 2));
  EpochPublisher& behind = start({.newest = id(1, 2), .epochs = {old}}, 1);
  behind.step();  // fenced
  clock_.advance(1s);
  run(ahead);
  EXPECT_EQ(rows(), "");
  run(behind);
  clock_.advance(1s);
  run(ahead);
  EXPECT_THAT(rows(), HasSubstr(std::to_string(id(2, 1)) + "a"));
}

TEST_F(Publisher, WaitsForEnoughToPublishTogetherButNotWhenTheEndIsNear) {
  EpochPublisher& publisher = start({}, 0, {1, 1}, {.bytes = 1 << 20, .delay = 1s});
  run(publisher);
  publisher.committed(write(10));
  run(publisher);
  EXPECT_EQ(rows(), "");
  clock_.advance(1s);
  run(publisher);
  EXPECT_EQ(rows(), "10a 10b ");
  publisher.committed(write(20, 1 << 20));
  run(publisher);
  EXPECT_EQ(marker(), 20u);
  publisher.committed(write(30));
  publisher.hurry();
  run(publisher);
  EXPECT_EQ(marker(), 30u);
}

TEST_F(Publisher, HurriesWithWhatIsCommittedAndNotWithWhatFollows) {
  EpochPublisher& publisher = start({}, 0, {1, 1}, {.bytes = 1 << 20, .delay = 1h});
  run(publisher);
  publisher.committed(write(10));
  publisher.hurry();
  run(publisher);
  EXPECT_EQ(marker(), 10u);
  publisher.committed(write(20));
  run(publisher);
  EXPECT_EQ(marker(), 10u);
}

TEST_F(Publisher, DoesNotWaitForMoreThanFitsIntoOneTransaction) {
  EpochPublisher& publisher = start({}, 0, {1, 1}, {.bytes = std::uint64_t{1} << 30, .delay = 1h});
  run(publisher);
  for (CheckpointId id = 1; id <= 3; ++id) publisher.committed(write(id, 15 << 20));
  run(publisher);
  EXPECT_EQ(marker(), 2u);
}

TEST_F(Publisher, PublishesLessAtATimeWhenATransactionIsTooLongForTheTarget) {
  EpochPublisher& publisher = start();
  run(publisher);
  for (CheckpointId id = 1; id <= 12; ++id) publisher.committed(write(id, 1 << 20));
  table_->rows_max = 8;
  run_through(publisher);
  EXPECT_EQ(marker(), 12u);
  EXPECT_EQ(table_->rows().size(), 24u);
  // The next ones may be longer again.
  table_->rows_max = 100;
  const int commits = table_->commits();
  for (CheckpointId id = 21; id <= 23; ++id) publisher.committed(write(id, 1 << 20));
  run(publisher);
  EXPECT_EQ(table_->commits(), commits + 1);
}

TEST_F(Publisher, DoesNothingAnyMoreOnceItIsInterrupted) {
  EpochPublisher& publisher = start();
  run(publisher);
  publisher.interrupt();
  publisher.committed(write(10));
  EXPECT_FALSE(publisher.step());
  EXPECT_EQ(rows(), "");
}

}  // namespace
}  // namespace levada
