// Exactly once through pgbouncer: consecutive transactions of a client run on different connections to the
// server, and nothing may be left on one of them.
#include <gmock/gmock.h>

#include <atomic>
#include <set>
#include <string>

#include <libpq-fe.h>

#include "jobs/servers.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "support/job_progress.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using testing::Item;
using testing::Playground;
using testing::required_env;
using testing::TempDir;

std::string pooled() { return required_env("LEVADA_TEST_PGBOUNCER"); }

// What pgbouncer says of itself; libpqxx refuses a server of its version.
std::string pool_mode() {
  PGconn* const connection = PQconnectdb((pooled() + " dbname=pgbouncer").c_str());
  PGresult* const pools = PQexec(connection, "SHOW POOLS");
  std::string mode;
  for (int row = 0; row < PQntuples(pools); ++row) {
    const std::string database = PQgetvalue(pools, row, PQfnumber(pools, "database"));
    if (database == "postgres") mode = PQgetvalue(pools, row, PQfnumber(pools, "pool_mode"));
  }
  PQclear(pools);
  PQfinish(connection);
  return mode;
}

class Pgbouncer : public ::testing::TestWithParam<Duration> {
 protected:
  Playground upserted_, inserted_;
  TempDir dir_;
};

// Small epochs go as arrays, large ones by COPY into a temporary table.
TEST_P(Pgbouncer, GivesEachRowOnceThroughRestarts) {
  inserted_.sql("ALTER TABLE " + inserted_.table() + " DROP CONSTRAINT " + inserted_.table() + "_pkey");
  constexpr std::int64_t kRows = 40'000, kKeys = 3'001;
  std::atomic<int> failures{3};
  std::atomic<bool> runs{false};  // before, a failure is the job's end
  StreamEnvironment env({.parallelism = 2,
                         .checkpoint = {.interval = GetParam(), .directory = dir_.path()},
                         .restart = fixed_delay({.attempts = 20, .delay = 1ms})});
  auto items = env.generate<Item>(
                      [](std::uint64_t i) {
                        const auto n = static_cast<std::int64_t>(i);
                        return Item{n, "item " + std::to_string(n), Timestamp{Duration{n}}};
                      },
                      {.rows = kRows, .rate = 40'000})
                   .uid("items")
                   .map([&](const Item& item) {
                     const int left = failures.load();
                     if (left > 0 && item.id > kRows / 4 * (4 - left)) {
                       runs.wait(false);
                       --failures;
                       throw std::runtime_error("planned");
                     }
                     return item;
                   });
  items
      .sink_to(postgres::insert<Item>({.connection = pooled(),
                                       .table = inserted_.table(),
                                       .marker_schema = inserted_.marker_schema(),
                                       .shards = 2}))
      .uid("to inserted");
  items
      .map([](const Item& item) { return Item{item.id % kKeys, item.text, item.ts}; })
      .sink_to(postgres::upsert<Item>({.connection = pooled(),
                                       .table = upserted_.table(),
                                       .key = {&Item::id},
                                       .marker_schema = inserted_.marker_schema()}))
      .uid("to upserted");
  Job job = env.execute_async("pooled");
  testing::wait_for_status(job, [](const JobStatus& status) { return status.state != JobState::kStarting; });
  runs = true;
  runs.notify_all();
  job.wait();
  EXPECT_GE(job.status().restarts, 3);
  EXPECT_EQ(pool_mode(), "transaction");

  EXPECT_EQ(inserted_.number("SELECT count(*) FROM " + inserted_.table()), kRows);
  EXPECT_EQ(inserted_.number("SELECT count(DISTINCT id) FROM " + inserted_.table()), kRows);
  EXPECT_EQ(upserted_.number("SELECT count(*) FROM " + upserted_.table()), kKeys);
  EXPECT_EQ(inserted_.number("SELECT count(*) FROM " + upserted_.table() + " u JOIN " + inserted_.table() +
                             " i ON i.text = u.text AND i.ts = u.ts AND i.id % " + std::to_string(kKeys) +
                             " = u.id WHERE i.id >= " + std::to_string(kRows - kKeys)),
            kKeys);
  EXPECT_EQ(inserted_.number("SELECT sum(rows) FROM " + inserted_.marker_schema() +
                             ".sink_epoch WHERE sink = 'to inserted'"),
            kRows);
}

INSTANTIATE_TEST_SUITE_P(ArraysAndCopy, Pgbouncer, ::testing::Values(Duration{20ms}, Duration{500ms}));

}  // namespace
}  // namespace levada
