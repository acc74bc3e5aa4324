// What a PostgreSQL server may answer to an exactly-once sink: errors that pass and errors that stay, a
// deadlock, an immediate restart, and a marker that somebody changed.
#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include <pqxx/pqxx>

#include "jobs/servers.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::control;
using testing::Item;
using testing::Playground;
using testing::required_env;
using testing::TempDir;

constexpr std::int64_t kRows = 500;

class PostgresFaults : public ::testing::Test {
 protected:
  // Items 0 … rows − 1, or without end; the job fails for good when `fails_` is set.
  Job start(std::int64_t rows, double rate = 0, const std::string& directory = "checkpoints",
            const ExecuteOptions& execute = {}) {
    StreamEnvironment env({.checkpoint = {.interval = 20ms, .directory = dir_ / directory},
                           .restart = no_restart()});
    env.generate<Item>([](std::uint64_t i) { return Item{static_cast<std::int64_t>(i), "x", {}}; },
                       {.rows = static_cast<std::uint64_t>(rows), .rate = rate})
        .uid("items")
        .map([this](const Item& item) {
          if (fails_) throw std::runtime_error("planned");
          return item;
        })
        .sink_to(postgres::insert<Item>({.connection = connection_,
                                         .table = place_.table(),
                                         .marker_schema = place_.marker_schema()}))
        .uid("to table");
    return env.execute_async(place_.table(), execute);
  }

  // Fails when the newest checkpoint knows of rows in the table.
  void run_until_it_fails() {
    Job job = start(0, 5'000);
    await([&] { return publishes(job) > 3; });
    fails_ = true;
    EXPECT_EQ(code_of(std::move(job)), JobErrorCode::kUserCode);
    fails_ = false;
  }

  static std::uint64_t publishes(const Job& job) {
    const JobStatus status = job.status();
    return status.sinks.empty() ? 0 : status.sinks[0].publishes;
  }

  static JobErrorCode code_of(Job job) {
    try {
      job.wait();
    } catch (const JobError& error) {
      return error.code();
    }
    ADD_FAILURE() << "the job ended well";
    return JobErrorCode::kUserCode;
  }

  template <class F>
  static void await(const F& holds) {
    const auto until = std::chrono::steady_clock::now() + 60s;
    while (!holds() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(5ms);
    ASSERT_TRUE(holds());
  }
  std::int64_t count(const std::string& what = "count(*)") const {
    return place_.number("SELECT " + what + " FROM " + place_.table());
  }
  std::string markers() const { return place_.marker_schema() + ".sink_epoch"; }
  // Without a key: what comes twice is there twice.
  void without_key() const {
    place_.sql("ALTER TABLE " + place_.table() + " DROP CONSTRAINT " + place_.table() + "_pkey");
  }
  // The first `times` statements that insert fail with this state.
  void fail_with(const std::string& sqlstate, int times) const {
    const std::string& name = place_.table();
    place_.sql("CREATE SEQUENCE IF NOT EXISTS " + name + "_calls OWNED BY " + name + ".id");
    place_.sql("CREATE OR REPLACE FUNCTION " + name + "_fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
               "IF nextval('" + name + "_calls') <= " + std::to_string(times) +
               " THEN RAISE EXCEPTION 'planned' USING ERRCODE = '" + sqlstate + "'; END IF; "
               "RETURN NULL; END $$");
    place_.sql("CREATE TRIGGER fails BEFORE INSERT ON " + name + " EXECUTE FUNCTION " + name + "_fail()");
  }
  ~PostgresFaults() override {
    place_.sql("DROP TABLE " + place_.table() + "; DROP FUNCTION IF EXISTS " + place_.table() + "_fail");
  }

  Playground place_;
  TempDir dir_;
  std::string connection_ = testing::postgres();
  std::atomic<bool> fails_{false};
};

class PassingErrors : public PostgresFaults, public ::testing::WithParamInterface<const char*> {};

TEST_P(PassingErrors, AreTriedAgainAndDoubleNothing) {
  without_key();
  fail_with(GetParam(), 2);
  Job job = start(kRows);
  job.wait();
  EXPECT_EQ(count(), kRows);
  EXPECT_EQ(count("count(DISTINCT id)"), kRows);
  EXPECT_GT(place_.number("SELECT last_value FROM " + place_.table() + "_calls"), 2);
}

// Serialization failure, deadlock, lock timeout, disk full, out of memory, too many connections, cancelled,
// shutdown of three kinds, input/output error, connection failure, a session that stood still, a standby.
INSTANTIATE_TEST_SUITE_P(OfEachClass, PassingErrors,
                         ::testing::Values("40001", "40P01", "55P03", "53100", "53200", "53300", "57014",
                                           "57P01", "57P02", "57P03", "58030", "08006", "25P03", "25006"));

class LastingErrors : public PostgresFaults, public ::testing::WithParamInterface<const char*> {};

TEST_P(LastingErrors, EndTheJobAndNothingIsThereBeforeTheCauseIsGone) {
  without_key();
  fail_with(GetParam(), 1'000'000);
  Job job = start(kRows);
  try {
    job.wait();
    FAIL() << "the job ended well";
  } catch (const JobError& error) {
    EXPECT_EQ(error.code(), JobErrorCode::kConnector);
    EXPECT_THAT(error.what(), HasSubstr(GetParam()));
  }
  EXPECT_EQ(count(), 0);
  place_.sql("DROP TRIGGER fails ON " + place_.table());
  start(kRows).wait();
  EXPECT_EQ(count(), kRows);
}

// Not supported, out of range, not null, unique, check violation, no privilege, no such column, function or
// table, bad syntax, raised by a trigger.
INSTANTIATE_TEST_SUITE_P(OfEachClass, LastingErrors,
                         ::testing::Values("0A000", "22003", "23502", "23505", "23514", "42501", "42703",
                                           "42883", "42P01", "42601", "P0001"));

// The other transaction waits longer before it looks for a deadlock, so the sink's is the one that ends.
TEST_F(PostgresFaults, ADeadlockWithACompetingWriterIsTriedAgain) {
  constexpr std::int64_t kKeys = 10;
  for (std::int64_t key = 0; key < kKeys; ++key) {
    place_.sql("INSERT INTO " + place_.table() + " (id) VALUES (" + std::to_string(key) + ")");
  }
  StreamEnvironment env({.checkpoint = {.interval = 20ms, .directory = dir_.path()}});
  env.generate<Item>(
         [](std::uint64_t i) {
           const auto n = static_cast<std::int64_t>(i);
           return Item{n % kKeys, std::to_string(n), {}};
         },
         {.rate = 2'000})
      .uid("items")
      .sink_to(postgres::upsert<Item>({.connection = testing::postgres() + " application_name=" + place_.table(),
                                       .table = place_.table(),
                                       .key = {&Item::id},
                                       .marker_schema = place_.marker_schema()}))
      .uid("to table");
  Job job = env.execute_async(place_.table());
  for (int round = 0; round < 2; ++round) {
    const auto before = publishes(job);
    await([&] { return publishes(job) > before; });
    pqxx::connection connection(testing::postgres());
    pqxx::work work(connection);
    work.exec("SET LOCAL deadlock_timeout = '30s'");
    work.exec("UPDATE " + place_.table() + " SET text = 'mine' WHERE id = " + std::to_string(kKeys - 1));
    await([&] {
      return place_.number("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                           "application_name = '" + place_.table() + "'") > 0;
    });
    work.exec("UPDATE " + place_.table() + " SET text = 'mine' WHERE id = 0");
    work.commit();
  }
  const auto before = publishes(job);
  await([&] { return publishes(job) > before + 1; });
  EXPECT_EQ(job.status().restarts, 0);
  job.request_stop();
  job.wait();
  EXPECT_EQ(count(), kKeys);
  EXPECT_EQ(count("count(*) FILTER (WHERE text = 'mine')"), 0);
  EXPECT_EQ(count("max(text::int) - min(text::int)"), kKeys - 1);
}

TEST_F(PostgresFaults, CommitsDurablyWhateverTheSessionSays) {
  const std::string& name = place_.table();
  place_.sql("CREATE FUNCTION " + name + "_fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
             "NEW.text := current_setting('synchronous_commit'); RETURN NEW; END $$; "
             "CREATE TRIGGER notes BEFORE INSERT ON " + name + " FOR EACH ROW EXECUTE FUNCTION " + name + "_fail()");
  std::int64_t rows = 0;
  for (const auto& [session, expected] : {std::pair("off", "on"), {"local", "on"}, {"remote_write", "on"},
                                          {"remote_apply", "remote_apply"}}) {
    connection_ = testing::postgres() + " options='-c synchronous_commit=" + session + "'";
    start(rows += kRows).wait();
    EXPECT_EQ(count("count(*) FILTER (WHERE text = '" + std::string(expected) + "')"), kRows) << session;
    place_.sql("UPDATE " + name + " SET text = ''");
  }
}

TEST_F(PostgresFaults, APasswordThatIsChangedWhileTheJobRunsIsWaitedForAndNotShown) {
  const std::string role = place_.table() + "_role";
  place_.sql("CREATE ROLE " + role + " SUPERUSER LOGIN PASSWORD 'open sesame'");
  connection_ = required_env("LEVADA_TEST_POSTGRES_TCP") + " user=" + role + " password='open sesame'";
  {
    Job job = start(0, 2'000);
    const auto waiting_for = [&] {
      const JobStatus status = job.status();
      return status.sinks.empty() ? std::string() : status.sinks[0].waiting_for;
    };
    await([&] { return count() > 0; });
    place_.sql("ALTER ROLE " + role + " PASSWORD 'another one'; SELECT pg_terminate_backend(pid) FROM "
               "pg_stat_activity WHERE usename = '" + role + "'");
    await([&] { return waiting_for().find("password authentication failed") != std::string::npos; });
    EXPECT_EQ(waiting_for().find("sesame"), std::string::npos) << waiting_for();
    EXPECT_EQ(job.status().state, JobState::kRunning);
    place_.sql("ALTER ROLE " + role + " PASSWORD 'open sesame'");
    const std::int64_t before = count();
    await([&] { return count() > before; });
    job.request_stop();
    job.wait();
    EXPECT_EQ(job.status().restarts, 0);
  }
  EXPECT_EQ(count(), count("max(id) + 1"));
  place_.sql("DROP OWNED BY " + role + "; DROP ROLE " + role);
}

TEST_F(PostgresFaults, AMarkerThatIsAheadIsRefusedUntilANewGeneration) {
  without_key();
  start(kRows).wait();
  place_.sql("UPDATE " + markers() + " SET epoch = epoch + (1::bigint << 32)");
  EXPECT_EQ(code_of(start(2 * kRows)), JobErrorCode::kSinkAhead);
  EXPECT_EQ(count(), kRows);
  start(2 * kRows, 0, "checkpoints", {.new_sink_generation = true}).wait();
  EXPECT_EQ(count("count(DISTINCT id)"), 2 * kRows);
}

TEST_F(PostgresFaults, ACheckpointFromBeforeANewGenerationIsRefused) {
  without_key();
  start(kRows).wait();
  const std::string kept = "cp -r '" + (dir_ / "checkpoints") + "' '" + (dir_ / "kept") + "'";
  ASSERT_EQ(std::system(kept.c_str()), 0);
  start(2 * kRows, 0, "checkpoints", {.new_sink_generation = true}).wait();
  EXPECT_EQ(count(), 2 * kRows);
  EXPECT_THAT(code_of(start(3 * kRows, 0, "kept")),
              AnyOf(JobErrorCode::kFenced, JobErrorCode::kSinkAhead));
  EXPECT_EQ(code_of(start(3 * kRows, 0, "kept")), JobErrorCode::kSinkAhead);
  EXPECT_EQ(count(), 2 * kRows);
  start(3 * kRows).wait();
  EXPECT_EQ(count(), 3 * kRows);
}

// Two that were started from copies of one directory have the same number.
TEST_F(PostgresFaults, AMarkerOfAnotherOwnerOfTheSameStartIsFenced) {
  without_key();
  start(kRows).wait();
  place_.sql("UPDATE " + markers() + " SET incarnation = incarnation + 1, owner = owner + 1");
  EXPECT_EQ(code_of(start(2 * kRows)), JobErrorCode::kFenced);
  EXPECT_EQ(count(), kRows);
  start(2 * kRows).wait();
  EXPECT_EQ(count(), 2 * kRows);
}

TEST_F(PostgresFaults, AMarkerThatIsLostIsRefused) {
  without_key();
  run_until_it_fails();
  const std::int64_t rows = count();
  EXPECT_GT(rows, 0);
  place_.sql("DELETE FROM " + markers());
  EXPECT_EQ(code_of(start(rows + kRows, 5'000)), JobErrorCode::kMarkerLost);
  EXPECT_EQ(count(), rows);
}

TEST_F(PostgresFaults, AMarkerThatWentBackFurtherThanTheLogIsRefused) {
  without_key();
  run_until_it_fails();
  const std::int64_t rows = count();
  place_.sql("UPDATE " + markers() + " SET epoch = 1");
  EXPECT_EQ(code_of(start(rows + kRows, 5'000)), JobErrorCode::kEpochLogLost);
  EXPECT_EQ(count(), rows);
}

TEST_F(PostgresFaults, AMarkerOfAnotherJobOfThatNameIsRefused) {
  without_key();
  start(kRows).wait();
  EXPECT_EQ(code_of(start(kRows, 0, "another")), JobErrorCode::kSinkAhead);
  EXPECT_EQ(count(), kRows);
}

}  // namespace
}  // namespace levada
