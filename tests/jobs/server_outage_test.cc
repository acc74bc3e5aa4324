// Once running, a broker or database that goes away is waited for, with a status that says so; when it is
// back the job goes on, and nothing is lost or doubled.
#include <gmock/gmock.h>

#include <functional>
#include <thread>

#include "jobs/servers.h"
#include "levada/connectors/kafka.h"
#include "levada/connectors/postgres.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using levada::testing::brokers;
using levada::testing::control;
using levada::testing::Item;
using levada::testing::Playground;
using levada::testing::postgres;
using levada::testing::TempDir;

constexpr std::int64_t kFirst = 1'000, kAll = 2'000;

class ServerOutage : public ::testing::Test {
 protected:
  Job start(Duration call_timeout = 30s) {
    StreamEnvironment env({.checkpoint = {.interval = 100ms, .directory = dir.path()}});
    env.from_source(kafka::source<Item>({.brokers = brokers(), .topics = {place.topic()}}))
        .uid("items")
        .sink_to(postgres::upsert<Item>({.connection = postgres(),
                                         .table = place.table(),
                                         .key = {&Item::id},
                                         .batch_interval = 50ms,
                                         .call_timeout = call_timeout,
                                         .marker_schema = place.marker_schema()}))
        .uid("to table");
    return env.execute_async("copies");
  }

  // Its first rows are in the table: what can be reached no more is waited for from now on.
  Job start_and_publish(Duration call_timeout = 30s) {
    place.produce(0, kFirst);
    Job job = start(call_timeout);
    EXPECT_TRUE(eventually([&] { return rows() == kFirst; }));
    return job;
  }

  static bool eventually(const std::function<bool()>& holds) {
    const auto until = std::chrono::steady_clock::now() + 120s;
    while (std::chrono::steady_clock::now() < until) {
      if (holds()) return true;
      std::this_thread::sleep_for(50ms);
    }
    return false;
  }

  bool waits_for(const Job& job, std::string_view server) {
    for (const NodeStatus& node : job.status().nodes) {
      for (const std::string& reason : node.waiting_for) {
        if (reason.find(server) != reason.npos) return true;
      }
    }
    return false;
  }

  std::int64_t rows() { return place.number("SELECT count(*) FROM " + place.table()); }

  void terminate_backends() {
    place.number("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                 "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
  }

  Playground place{2};
  TempDir dir;
};

TEST_F(ServerOutage, PostgresStopsAndComesBack) {
  Job job = start_and_publish();
  control("LEVADA_TEST_POSTGRES_CTL", "stop");
  place.produce(kFirst, kAll - kFirst);
  EXPECT_TRUE(eventually([&] { return waits_for(job, "PostgreSQL"); }));
  control("LEVADA_TEST_POSTGRES_CTL", "start");
  EXPECT_TRUE(eventually([&] { return rows() == kAll; }));
  EXPECT_TRUE(eventually([&] { return !waits_for(job, "PostgreSQL"); }));
  EXPECT_EQ(job.status().restarts, 0);
  job.request_stop();
  job.wait();
}

TEST_F(ServerOutage, PostgresIsRestartedAtOnceAgainAndAgain) {
  Job job = start_and_publish();
  for (std::int64_t first = kFirst; first < kAll; first += 250) {
    place.produce(first, 250);
    control("LEVADA_TEST_POSTGRES_CTL", "kill");  // its immediate shutdown
    control("LEVADA_TEST_POSTGRES_CTL", "start");
  }
  EXPECT_TRUE(eventually([&] { return rows() == kAll; }));
  EXPECT_EQ(job.status().restarts, 0);
  job.request_stop();
  job.wait();
  EXPECT_EQ(place.number("SELECT sum(rows)::bigint FROM " + place.marker_schema() + ".sink_epoch"), kAll);
}

// When it thaws, it goes on with what the job has long given up.
TEST_F(ServerOutage, PostgresIsFrozenInTheMiddleOfAPublishAndThaws) {
  Job job = start_and_publish(1s);
  for (std::int64_t first = kFirst; first < kAll; first += 250) {
    place.produce(first, 250);
    control("LEVADA_TEST_POSTGRES_CTL", "pause");
    std::this_thread::sleep_for(2s);
    control("LEVADA_TEST_POSTGRES_CTL", "resume");
  }
  EXPECT_TRUE(eventually([&] { return rows() == kAll; }));
  EXPECT_EQ(job.status().restarts, 0);
  job.request_stop();
  job.wait();
  EXPECT_EQ(place.number("SELECT sum(rows)::bigint FROM " + place.marker_schema() + ".sink_epoch"), kAll);
}

TEST_F(ServerOutage, BackendsAreTerminatedWhileRowsAreWritten) {
  Job job = start_and_publish();
  for (std::int64_t first = kFirst; first < kAll; first += 50) {
    place.produce(first, 50);
    terminate_backends();
  }
  EXPECT_TRUE(eventually([&] { return rows() == kAll; }));
  EXPECT_EQ(job.status().restarts, 0);
  job.request_stop();
  job.wait();
}

TEST_F(ServerOutage, BackendsAreTerminatedWhileTheJobStarts) {
  place.produce(0, kAll);
  std::jthread terminates([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) terminate_backends();
  });
  Job job = start();
  std::this_thread::sleep_for(1s);
  terminates.request_stop();
  terminates.join();
  EXPECT_TRUE(eventually([&] { return rows() == kAll; }));
  EXPECT_EQ(job.status().restarts, 0);
  job.request_stop();
  job.wait();
}

TEST_F(ServerOutage, TheBrokerStopsAndComesBack) {
  Job job = start_and_publish();
  control("LEVADA_TEST_KAFKA_CTL", "stop");
  EXPECT_TRUE(eventually([&] { return waits_for(job, "Kafka"); }));
  control("LEVADA_TEST_KAFKA_CTL", "start");
  place.produce(kFirst, kAll - kFirst);
  EXPECT_TRUE(eventually([&] { return rows() == kAll; }));
  EXPECT_EQ(job.status().restarts, 0);
  job.request_stop();
  job.wait();
}

}  // namespace
}  // namespace levada
