// The connection to PostgreSQL is cut at any byte: while the job connects, claims its marker, publishes
// an epoch as arrays or by COPY, and around the COMMIT. Every row is there once, each time.
#include <gmock/gmock.h>

#include <string>
#include <thread>

#include "jobs/servers.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "support/postgres_proxy.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using testing::CommitCut;
using testing::Item;
using testing::Playground;
using testing::PostgresProxy;
using testing::TempDir;

Item item(std::uint64_t i) {
  const auto n = static_cast<std::int64_t>(i);
  return {n, "item " + std::to_string(n), Timestamp{Duration{n}}};
}

// An endless job that inserts item 0, 1, 2 … through the proxy.
class PostgresCut : public ::testing::Test {
 protected:
  PostgresCut() {
    place_.sql("DROP TABLE " + place_.table());
    // Without a key: what comes twice is there twice.
    place_.sql("CREATE TABLE " + place_.table() + " (id bigint, text text, ts timestamptz)");
  }

  Job start(double rows_per_s, Duration interval) {
    StreamEnvironment env({.checkpoint = {.interval = interval, .directory = dir_.path()}});
    env.generate<Item>(item, {.rate = rows_per_s})
        .uid("items")
        .sink_to(postgres::insert<Item>({.connection = proxy_.conninfo(),
                                         .table = place_.table(),
                                         .marker_schema = place_.marker_schema()}))
        .uid("to table");
    return env.execute_async("inserts");
  }

  static std::uint64_t publishes(const Job& job) {
    const JobStatus status = job.status();
    return status.sinks.empty() ? 0 : status.sinks[0].publishes;
  }

  // Returns when so many more epochs are published.
  static void await_publishes(const Job& job, std::uint64_t more) {
    const std::uint64_t wanted = publishes(job) + more;
    const auto until = std::chrono::steady_clock::now() + 60s;
    while (publishes(job) < wanted) {
      if (std::chrono::steady_clock::now() > until) throw std::runtime_error("nothing is published");
      std::this_thread::sleep_for(1ms);
    }
  }

  // The bytes that pass while an epoch is published, in both directions.
  std::uint64_t bytes_of_a_publish(const Job& job) {
    await_publishes(job, 3);
    const std::uint64_t bytes = proxy_.bytes(), before = publishes(job);
    await_publishes(job, 5);
    return (proxy_.bytes() - bytes) / (publishes(job) - before);
  }

  void await_cut(const Job& job, std::uint64_t count) {
    ASSERT_TRUE(proxy_.wait_for_cuts(count, 60s));
    await_publishes(job, 1);
  }

  // Ends the job and compares the table with what it has read.
  void finish(Job& job) {
    proxy_.cut_nowhere();
    job.request_stop();
    job.wait();
    const JobStatus status = job.status();
    EXPECT_EQ(status.restarts, 0);
    EXPECT_EQ(status.sinks.at(0).waiting_epochs, 0u);
    const std::int64_t rows = place_.number("SELECT count(*) FROM " + place_.table());
    EXPECT_GT(rows, 0);
    EXPECT_EQ(rows, place_.number("SELECT count(DISTINCT id) FROM " + place_.table()));
    EXPECT_EQ(rows, place_.number("SELECT max(id) + 1 FROM " + place_.table()));
    EXPECT_EQ(rows, place_.number("SELECT rows FROM " + place_.marker_schema() + ".sink_epoch"));
  }

  // Cuts once at each of `count` places spread over a publish.
  void cut_within_a_publish(Job& job, std::uint64_t count) {
    const std::uint64_t bytes = bytes_of_a_publish(job);
    EXPECT_GT(bytes, 1'000u);
    const std::uint64_t cuts = proxy_.cuts();
    for (std::uint64_t i = 0; i < count; ++i) {
      proxy_.cut_after_bytes(i * bytes / count);
      await_cut(job, cuts + i + 1);
    }
  }

  Playground place_;
  TempDir dir_;
  PostgresProxy proxy_{testing::postgres()};
};

TEST_F(PostgresCut, AnywhereInAPublishOfArrays) {
  Job job = start(4'000, 20ms);
  cut_within_a_publish(job, 100);
  finish(job);
}

TEST_F(PostgresCut, AnywhereInAPublishByCopy) {
  Job job = start(20'000, 200ms);
  cut_within_a_publish(job, 40);
  finish(job);
}

TEST_F(PostgresCut, AnywhereWhileItConnectsAndClaimsTheMarker) {
  Job job = start(4'000, 20ms);
  await_publishes(job, 1);
  // More than enough for all of it: the last ones come in the publish that follows.
  constexpr std::uint64_t kBytes = 3'000, kPlaces = 50;
  for (std::uint64_t i = 0; i < kPlaces; ++i) {
    const std::uint64_t cuts = proxy_.cuts();
    proxy_.cut_after_bytes(0);
    ASSERT_TRUE(proxy_.wait_for_cuts(cuts + 1, 60s));
    proxy_.cut_after_bytes(i * kBytes / kPlaces);
    await_cut(job, cuts + 2);
  }
  finish(job);
}

// Whoever may still commit holds the marker's row: the claim of the next connection waits for him.
TEST_F(PostgresCut, AroundEveryByteOfACommitAlsoWhereTheServerLearnsOfItLate) {
  Job job = start(4'000, 20ms);
  await_publishes(job, 1);
  std::vector<CommitCut> cuts;
  for (std::size_t i = 0; i < CommitCut::kRequestBytes; ++i) {
    cuts.push_back({.where = CommitCut::kBefore, .bytes = i});
  }
  for (std::size_t i = 0; i < CommitCut::kReplyBytes; ++i) {
    cuts.push_back({.where = CommitCut::kInReply, .bytes = i});
  }
  cuts.push_back({.where = CommitCut::kAfter});
  for (const auto lag : {50ms, 400ms}) {
    cuts.push_back({.where = CommitCut::kBefore, .server_lags = lag});
    cuts.push_back({.where = CommitCut::kAfter, .server_lags = lag});
  }
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    proxy_.cut_at_commit(cuts[i]);
    await_cut(job, i + 1);
  }
  finish(job);
}

}  // namespace
}  // namespace levada
