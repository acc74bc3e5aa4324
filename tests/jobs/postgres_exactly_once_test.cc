// Exactly once into a real PostgreSQL: insert, upsert, remove; restarts, foreign locks, refused rows.
#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include <pqxx/pqxx>

#include "jobs/servers.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "support/job_progress.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TempDir;

struct Reading {
  std::int64_t sensor = 0, value = 0;
  Timestamp at;
};
LEVADA_RECORD(Reading, sensor, value, at)

struct Total {
  std::int64_t sensor = 0;
  Timestamp start;
  std::int64_t count = 0, total = 0;
};
LEVADA_RECORD(Total, sensor, start, count, total)

struct Note {
  std::int64_t id = 0;
  std::string text;
  std::optional<std::int64_t> version;
};
LEVADA_RECORD(Note, id, text, version)

// Tables of a test's own, and its markers in a schema of its own.
class Database {
 public:
  Database() : name_("levada_eo_" + std::to_string(::getpid()) + "_" + std::to_string(++count())) {
    sql("CREATE SCHEMA " + name_);
  }
  ~Database() { sql("DROP SCHEMA " + name_ + " CASCADE"); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& schema() const { return name_; }
  pqxx::result sql(const std::string& statement) const {
    pqxx::connection connection(testing::postgres());
    pqxx::work work(connection);
    work.exec("SET LOCAL client_min_messages = error; SET LOCAL search_path = " + name_);
    pqxx::result result = work.exec(statement);
    work.commit();
    return result;
  }
  std::int64_t number(const std::string& query) const { return sql(query)[0][0].as<std::int64_t>(); }

 private:
  static int& count() {
    static int made = 0;
    return made;
  }
  const std::string name_;
};

template <class Options>
Options filled(Options options, const Database& db) {
  options.schema = db.schema();
  options.marker_schema = db.schema();
  return options;
}

EnvironmentOptions options_in(const TempDir& dir, int parallelism) {
  return {.parallelism = parallelism,
          .checkpoint = {.interval = 50ms, .directory = dir.path()},
          .restart = fixed_delay({.attempts = 20, .delay = 1ms})};
}

JobError job_error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const JobError& error) {
    return error;
  }
  ADD_FAILURE() << "no JobError was thrown";
  return JobError(JobErrorCode::kUserCode, "", -1, "");
}

constexpr std::int64_t kSensors = 50;
constexpr std::int64_t kWindow = 10'000;  // µs

Reading make_reading(std::uint64_t i) {
  const auto n = static_cast<std::int64_t>(i);
  return {n % kSensors, n % 1'000, Timestamp{Duration{n}}};
}

// Throws once when it sees each of `at`, but not before the job runs: until then a failure is its end.
class Failures {
 public:
  explicit Failures(std::set<std::int64_t> at) : at_(std::move(at)) {}
  void pass(std::int64_t value) {
    {
      const std::lock_guard lock(mutex_);
      if (at_.erase(value) == 0) return;
    }
    runs_.wait(false);
    throw std::runtime_error("planned");
  }
  void come_to(const Job& job) {
    testing::wait_for_status(job, [](const JobStatus& status) { return status.state != JobState::kStarting; });
    runs_ = true;
    runs_.notify_all();
  }

 private:
  std::atomic<bool> runs_{false};
  std::mutex mutex_;
  std::set<std::int64_t> at_;
};

TEST(PostgresExactlyOnce, InsertsEveryWindowOnceThroughRestarts) {
  const Database db;
  db.sql("CREATE TABLE totals (sensor bigint, start timestamptz, count bigint, total bigint)");
  const TempDir dir;
  constexpr std::int64_t kRows = 200'000;
  const auto failures =
      std::make_shared<Failures>(std::set<std::int64_t>{30'000, 30'001, 90'000, 150'000});
  StreamEnvironment env(options_in(dir, 2));
  env.generate<Reading>(make_reading, {.rows = kRows, .rate = 200'000},
                        event_time(&Reading::at))
      .uid("readings")
      .map([failures](const Reading& r) {
        failures->pass(r.at.time_since_epoch().count());
        return r;
      })
      .key_by(&Reading::sensor)
      .window(tumbling(Duration{kWindow}))
      .aggregate(key().as(&Total::sensor), window_start().as(&Total::start),
                 count().as(&Total::count), sum(&Reading::value).as(&Total::total))
      .uid("totals")
      .sink_to(postgres::insert<Total>(filled(
          postgres::InsertOptions<Total>{.connection = testing::postgres(), .table = "totals"}, db)))
      .uid("to totals");
  Job job = env.execute_async("windows");
  failures->come_to(job);
  job.wait();
  EXPECT_GE(job.status().restarts, 4);
  const std::int64_t windows = kRows / kWindow * kSensors;
  EXPECT_EQ(db.number("SELECT count(*) FROM totals"), windows);
  EXPECT_EQ(db.number("SELECT count(*) FROM (SELECT DISTINCT sensor, start FROM totals) t"), windows);
  EXPECT_EQ(db.number("SELECT sum(count) FROM totals"), kRows);
  EXPECT_EQ(db.number("SELECT sum(total) FROM totals"), kRows / 1'000 * (999 * 500));
  EXPECT_EQ(db.number("SELECT rows FROM sink_epoch"), windows);
  EXPECT_EQ(job.status().sinks.at(0).waiting_epochs, 0u);
}

Note make_note(std::uint64_t i, std::int64_t keys) {
  const auto n = static_cast<std::int64_t>(i);
  return {n % keys, "note\t\\" + std::to_string(n) + "\n\"{,}",
          n % 7 == 0 ? std::nullopt : std::optional<std::int64_t>(n)};
}

postgres::UpsertOptions<Note> upsert_options(const Database& db, const std::string& table) {
  return filled(postgres::UpsertOptions<Note>{.connection = testing::postgres(),
                                              .table = table,
                                              .key = {&Note::id}},
                db);
}

TEST(PostgresExactlyOnce, UpsertsTheLastRowOfEachKeyInSmallEpochsAndInLargeOnes) {
  for (const Duration interval : {Duration{20ms}, Duration{1s}}) {  // unnest, COPY
    const Database db;
    db.sql("CREATE TABLE notes (id bigint PRIMARY KEY, text text, version bigint)");
    const TempDir dir;
    constexpr std::int64_t kRows = 60'000, kKeys = 7'001;
    EnvironmentOptions options = options_in(dir, 2);
    options.checkpoint.interval = interval;
    const auto failures = std::make_shared<Failures>(std::set<std::int64_t>{20'000, 40'000});
    StreamEnvironment env(options);
    env.generate<Note>([](std::uint64_t i) { return make_note(i, kKeys); },
                       {.rows = kRows, .rate = 60'000})
        .uid("notes")
        .map([failures](const Note& note) {
          failures->pass(note.version.value_or(0));
          return note;
        })
        .sink_to(postgres::upsert<Note>(upsert_options(db, "notes")))
        .uid("to notes");
    Job job = env.execute_async("notes");
    failures->come_to(job);
    job.wait();
    EXPECT_EQ(db.number("SELECT count(*) FROM notes"), kKeys);
    std::map<std::int64_t, Note> expected;
    for (std::int64_t i = kRows - kKeys; i < kRows; ++i) {
      const Note note = make_note(static_cast<std::uint64_t>(i), kKeys);
      expected[note.id] = note;
    }
    for (const auto& row : db.sql("SELECT id, text, version FROM notes")) {
      const Note& note = expected.at(row[0].as<std::int64_t>());
      ASSERT_EQ(row[1].as<std::string>(), note.text);
      ASSERT_EQ(row[2].is_null(), !note.version.has_value());
      if (!note.version) continue;
      ASSERT_EQ(row[2].as<std::int64_t>(), *note.version);
    }
  }
}

TEST(PostgresExactlyOnce, RemovesRowsByKeyWithEitherGuarantee) {
  for (const Guarantee guarantee : {Guarantee::kExactlyOnce, Guarantee::kAtLeastOnce}) {
    for (const std::int64_t rows : {100, 6'000}) {
      const Database db;
      db.sql("CREATE TABLE notes (id bigint PRIMARY KEY, text text, version bigint); "
             "INSERT INTO notes SELECT i, 'x', 1 FROM generate_series(0, 9999) i");
      const TempDir dir;
      StreamEnvironment env(options_in(dir, 2));
      postgres::UpsertOptions<Note> options = upsert_options(db, "notes");
      options.guarantee = guarantee;
      env.generate<Note>([](std::uint64_t i) { return make_note(i, 1'000'000); },
                         {.rows = static_cast<std::uint64_t>(rows)})
          .uid("notes")
          .sink_to(postgres::remove<Note>(options))
          .uid("out of notes");
      env.execute("notes");
      EXPECT_EQ(db.number("SELECT count(*) FROM notes"), 10'000 - rows);
      EXPECT_EQ(db.number("SELECT min(id) FROM notes"), rows);
    }
  }
}

TEST(PostgresExactlyOnce, HoldsForSeveralSinksAndSeveralShards) {
  const Database db;
  db.sql("CREATE TABLE notes (id bigint PRIMARY KEY, text text, version bigint); "
         "CREATE TABLE log (id bigint, text text, version bigint)");
  const TempDir dir;
  const auto failures = std::make_shared<Failures>(std::set<std::int64_t>{10'000, 30'000});
  StreamEnvironment env(options_in(dir, 3));
  auto notes = env.generate<Note>([](std::uint64_t i) { return make_note(i, 500); },
                                  {.rows = 40'000, .rate = 80'000})
                   .uid("notes")
                   .map([failures](const Note& note) {
                     failures->pass(note.version.value_or(0));
                     return note;
                   });
  postgres::UpsertOptions<Note> upsert = upsert_options(db, "notes");
  upsert.shards = 2;
  notes.sink_to(postgres::upsert<Note>(upsert)).uid("to notes");
  notes
      .sink_to(postgres::insert<Note>(filled(
          postgres::InsertOptions<Note>{.connection = testing::postgres(), .table = "log"}, db)))
      .uid("to log");
  Job job = env.execute_async("notes");
  failures->come_to(job);
  job.wait();
  EXPECT_EQ(db.number("SELECT count(*) FROM notes"), 500);
  EXPECT_EQ(db.number("SELECT count(*) FROM log"), 40'000);
  EXPECT_EQ(db.number("SELECT count(DISTINCT text) FROM log"), 40'000);
  EXPECT_EQ(db.number("SELECT count(*) FROM sink_epoch"), 3);
  EXPECT_EQ(db.number("SELECT sum(rows) FROM sink_epoch"), 80'000);
}

TEST(PostgresExactlyOnce, WaitsForWhoeverHoldsTheMarkerAndSaysWho) {
  const Database db;
  db.sql("CREATE TABLE log (id bigint, text text, version bigint)");
  const TempDir dir;
  const auto run = [&](std::int64_t rows) {
    StreamEnvironment env(options_in(dir, 1));
    postgres::InsertOptions<Note> options = filled(
        postgres::InsertOptions<Note>{.connection = testing::postgres(), .table = "log"}, db);
    options.call_timeout = 4s;  // half of it is the lock's
    env.generate<Note>([](std::uint64_t i) { return make_note(i, 500); },
                       {.rows = static_cast<std::uint64_t>(rows)})
        .uid("notes")
        .sink_to(postgres::insert<Note>(options))
        .uid("to log");
    return env.execute_async("notes");
  };
  run(1'000).wait();
  pqxx::connection foreign(testing::postgres());
  pqxx::work work(foreign);
  work.exec("SELECT * FROM " + db.schema() + ".sink_epoch FOR UPDATE");
  Job job = run(2'000);
  std::string waiting;
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (waiting.find("holds the marker's row") == std::string::npos && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(1ms);
    const JobStatus status = job.status();
    if (!status.sinks.empty()) waiting = status.sinks[0].waiting_for;
  }
  EXPECT_THAT(waiting,
              AllOf(HasSubstr("holds the marker's row"), HasSubstr("pg_terminate_backend")));
  EXPECT_EQ(job.status().state, JobState::kStarting);
  work.commit();
  job.wait();
  EXPECT_EQ(db.number("SELECT count(*) FROM log"), 2'000);
}

TEST(PostgresExactlyOnce, EndsWithTheRowThatTheTableRefusesAndPublishesItOnceItIsTaken) {
  const Database db;
  db.sql("CREATE TABLE log (id bigint CHECK (id <> 333), text text, version bigint)");
  const TempDir dir;
  const auto run = [&] {
    StreamEnvironment env(options_in(dir, 1));
    env.generate<Note>([](std::uint64_t i) { return make_note(i, 500); }, {.rows = 1'000})
        .uid("notes")
        .sink_to(postgres::insert<Note>(filled(
            postgres::InsertOptions<Note>{.connection = testing::postgres(), .table = "log"}, db)))
        .uid("to log");
    env.execute("notes");
  };
  const JobError error = job_error_of(run);
  EXPECT_EQ(error.code(), JobErrorCode::kConnector);
  EXPECT_EQ(error.node(), "to log");
  EXPECT_THAT(error.what(), AllOf(HasSubstr("log"), HasSubstr("23514")));
  EXPECT_EQ(db.number("SELECT count(*) FROM log"), 0);
  db.sql("ALTER TABLE log DROP CONSTRAINT log_id_check");
  run();
  EXPECT_EQ(db.number("SELECT count(*) FROM log"), 1'000);
}

TEST(PostgresExactlyOnce, RefusesWhatTheColumnCannotHoldBeforeItIsLogged) {
  const Database db;
  db.sql("CREATE TABLE log (id bigint, text text, version bigint)");
  const TempDir dir;
  EnvironmentOptions options = options_in(dir, 1);
  options.restart = no_restart();
  StreamEnvironment env(options);
  env.from_values<Note>({{1, std::string("a\0b", 3), {}}})
      .uid("notes")
      .sink_to(postgres::insert<Note>(filled(
          postgres::InsertOptions<Note>{.connection = testing::postgres(), .table = "log"}, db)))
      .uid("to log");
  const JobError error = job_error_of([&] { env.execute("notes"); });
  EXPECT_THAT(error.what(), AllOf(HasSubstr("\"text\""), HasSubstr("NUL")));
}

TEST(PostgresExactlyOnce, IsFencedByALaterStartElsewhere) {
  const Database db;
  db.sql("CREATE TABLE log (id bigint, text text, version bigint)");
  const TempDir dir;
  StreamEnvironment env(options_in(dir, 1));
  env.generate<Note>([](std::uint64_t i) { return make_note(i, 500); }, {.rate = 10'000})
      .uid("notes")
      .sink_to(postgres::insert<Note>(filled(
          postgres::InsertOptions<Note>{.connection = testing::postgres(), .table = "log"}, db)))
      .uid("to log");
  Job job = env.execute_async("notes");
  while (job.status().sinks.empty() || job.status().sinks[0].publishes == 0) {
    std::this_thread::sleep_for(1ms);
  }
  db.sql("UPDATE sink_epoch SET incarnation = incarnation + 1");
  EXPECT_EQ(job_error_of([&] { job.wait(); }).code(), JobErrorCode::kFenced);
  EXPECT_EQ(db.number("SELECT count(*) FROM log"), db.number("SELECT rows FROM sink_epoch"));
}

}  // namespace
}  // namespace levada
