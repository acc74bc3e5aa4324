// The PostgreSQL sink on a real server: every column type and awkward value, few rows (arrays) and many
// (COPY), upserts whose keys repeat, and the server's notices.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "base/mutex.h"
#include "jobs/servers.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "support/owned_descriptors.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using levada::testing::OwnedDescriptors;
using levada::testing::Playground;
using levada::testing::postgres;
using levada::testing::TempDir;
using ::testing::HasSubstr;

struct Everything {
  std::int64_t id = 0;
  bool yes = false;
  std::int16_t small = 0;
  std::int32_t middle = 0;
  double real = 0;
  std::string text;
  Timestamp at;
  std::optional<std::int64_t> maybe;
};
LEVADA_RECORD(Everything, id, yes, small, middle, real, text, at, maybe)

struct Score {
  std::string name;
  std::int64_t points = 0;
};
LEVADA_RECORD(Score, name, points)

// Values that an encoding could spoil: quotes, separators, escapes, line ends, "null", the empty string.
const char* const kTexts[] = {"",     "plain", "it's",        "back\\slash \\N \\.", "tab\tline\nreturn\r",
                              "NULL", "{a,b}", "\"quoted\"", "ünïcödé 漢字 🐙",       " spaces "};

Everything row_of(std::uint64_t i) {
  const auto n = static_cast<std::int64_t>(i);
  Everything row{.id = n,
                 .yes = n % 2 == 1,
                 .small = static_cast<std::int16_t>(n % 7 - 3),
                 .middle = static_cast<std::int32_t>(n * 1'000'003 % 2'000'000'000 - 1'000'000'000),
                 .real = static_cast<double>(n) / 3,
                 .text = kTexts[i % std::size(kTexts)],
                 .at = Timestamp{Duration{1'700'000'000'123'456 + n}},
                 .maybe = {}};
  if (n % 3 == 0) row.maybe = -n;
  if (n == 4) row.at = Timestamp{Duration{-1}};
  if (n == 5) row.real = std::numeric_limits<double>::quiet_NaN();
  if (n == 6) row.real = std::numeric_limits<double>::infinity();
  if (n == 7) row.maybe = INT64_MIN;
  return row;
}

class PostgresSink : public ::testing::Test {
 protected:
  void SetUp() override {
    place.sql("DROP TABLE " + place.table());
    place.sql("CREATE TABLE " + place.table() +
              " (id bigint, yes boolean, small smallint, middle integer, real double precision, "
              "text text, at timestamptz, maybe bigint)");
  }

  void insert(std::uint64_t rows) {
    StreamEnvironment env;
    env.generate<Everything>(row_of, {.rows = rows})
        .sink_to(postgres::insert<Everything>({.connection = postgres(),
                                               .table = place.table(),
                                               .guarantee = Guarantee::kAtLeastOnce}));
    env.execute("inserts");
  }

  // How many rows of the table are not what row_of makes of their id.
  void expect_rows(std::int64_t rows) {
    EXPECT_EQ(place.number("SELECT count(DISTINCT id) FROM " + place.table()), rows);
    EXPECT_EQ(place.number("SELECT count(*) FROM " + place.table()), rows);
    pqxx::connection connection(postgres());
    pqxx::work work(connection);
    for (const auto& got : work.exec(
             "SELECT id, yes, small, middle, real::text, text, "
             "(extract(epoch FROM at) * 1000000)::bigint, maybe FROM " + place.table())) {
      const auto id = got[0].as<std::int64_t>();
      const Everything row = row_of(static_cast<std::uint64_t>(id));
      EXPECT_EQ(got[1].as<bool>(), row.yes) << id;
      EXPECT_EQ(got[2].as<int>(), row.small) << id;
      EXPECT_EQ(got[3].as<int>(), row.middle) << id;
      const double real = std::strtod(got[4].c_str(), nullptr);
      EXPECT_TRUE(real == row.real || (std::isnan(real) && std::isnan(row.real))) << id;
      EXPECT_EQ(got[5].as<std::string>(), row.text) << id;
      EXPECT_EQ(got[6].as<std::int64_t>(), row.at.time_since_epoch().count()) << id;
      EXPECT_EQ(got[7].is_null(), !row.maybe.has_value()) << id;
      if (row.maybe) {
        EXPECT_EQ(got[7].as<std::int64_t>(), *row.maybe) << id;
      }
    }
  }

  Playground place;
};

TEST_F(PostgresSink, InsertsEveryTypeInASmallBatch) {
  insert(200);
  expect_rows(200);
}

TEST_F(PostgresSink, InsertsTheSameInLargeBatchesByCopy) {
  insert(12'345);
  expect_rows(12'345);
}

TEST_F(PostgresSink, ColumnsMayHaveOtherNamesAndTheTableOthersBeside) {
  place.sql("ALTER TABLE " + place.table() + " RENAME COLUMN text TO \"The Text\"");
  place.sql("ALTER TABLE " + place.table() + " ADD COLUMN more text DEFAULT 'more'");
  StreamEnvironment env;
  env.generate<Everything>(row_of, {.rows = 3})
      .sink_to(postgres::insert<Everything>({.connection = postgres(),
                                             .table = place.table(),
                                             .columns = {{&Everything::text, "The Text"}},
                                             .guarantee = Guarantee::kAtLeastOnce}));
  env.execute("renames");
  EXPECT_EQ(place.number("SELECT count(*) FROM " + place.table() +
                         " WHERE more = 'more' AND \"The Text\" = 'plain'"),
            1);
}

class PostgresUpsert : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  void SetUp() override {
    place.sql("DROP TABLE " + place.table());
    place.sql("CREATE TABLE " + place.table() + " (name text PRIMARY KEY, points bigint)");
  }
  void upsert(std::uint64_t rows, LogSink log = {}) {
    StreamEnvironment env({.log = std::move(log)});
    // Each of 100 names many times, also within a batch: the last row counts.
    env.generate<Score>([](std::uint64_t i) {
         return Score{"name " + std::to_string(i % 100), static_cast<std::int64_t>(i)};
       }, {.rows = rows})
        .sink_to(postgres::upsert<Score>({.connection = postgres(),
                                          .table = place.table(),
                                          .key = {&Score::name},
                                          .guarantee = Guarantee::kAtLeastOnce}));
    env.execute("upserts");
  }
  Playground place;
};

TEST_P(PostgresUpsert, TheLastRowOfAKeyCounts) {
  const auto rows = static_cast<std::int64_t>(GetParam());
  upsert(GetParam());
  EXPECT_EQ(place.number("SELECT count(*) FROM " + place.table()), 100);
  EXPECT_EQ(place.number("SELECT min(points) FROM " + place.table()), rows - 100);
  EXPECT_EQ(place.number("SELECT max(points) FROM " + place.table()), rows - 1);
  upsert(200);
  EXPECT_EQ(place.number("SELECT max(points) FROM " + place.table()), 199) << "and again over it";
}

TEST_P(PostgresUpsert, NoticesOfTheServerGoToTheLogSinkAndNowhereElse) {
  place.sql("CREATE FUNCTION " + place.table() + "_loud() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE NOTICE 'how loud: %', NEW.name; RETURN NEW; END $$");
  place.sql("CREATE TRIGGER loud BEFORE INSERT ON " + place.table() +
            " FOR EACH ROW EXECUTE FUNCTION " + place.table() + "_loud()");
  TempDir dir;
  Mutex mutex;
  std::string logged;
  OwnedDescriptors owned(dir.path() + "/printed");
  upsert(GetParam(), [&](LogLevel, std::string_view text) {
    MutexLock lock(mutex);
    logged += text;
  });
  owned.give_back();
  EXPECT_EQ(owned.bytes(), 0u);
  EXPECT_THAT(logged, HasSubstr("how loud: name 7"));
  place.sql("DROP TABLE " + place.table() + "; DROP FUNCTION " + place.table() + "_loud");
}

INSTANTIATE_TEST_SUITE_P(ArraysAndCopy, PostgresUpsert, ::testing::Values(500u, 9'000u));

}  // namespace
}  // namespace levada
