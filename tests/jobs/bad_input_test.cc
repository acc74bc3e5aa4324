// Bad input ends a job within 10 s with an error that names what is wrong, and nothing is lost.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "jobs/servers.h"
#include "levada/connectors/kafka.h"
#include "levada/connectors/postgres.h"
#include "support/in_time.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using levada::testing::brokers;
using levada::testing::Item;
using levada::testing::least_time;
using levada::testing::Playground;
using levada::testing::postgres;
using levada::testing::required_env;
using levada::testing::TempDir;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Input {
  std::string brokers_at = brokers();
  std::string topic{};
  std::string connection = postgres();
  std::string table{};
  std::string marker_schema{};
  std::string directory{};
  BadRecords bad_records = fail();
  bool lambda_throws = false;
};

void copy(const Input& input) {
  StreamEnvironment env({.checkpoint = {.interval = 50ms, .directory = input.directory},
                         .restart = no_restart()});
  env.from_source(kafka::source<Item>({.brokers = input.brokers_at,
                                       .topics = {input.topic},
                                       .stop_at = kafka::latest(),
                                       .on_bad_record = input.bad_records}))
      .uid("items")
      .filter([throws = input.lambda_throws](const Item&) {
        if (throws) throw std::runtime_error("the lambda had enough");
        return true;
      })
      .uid("picky")
      .sink_to(postgres::upsert<Item>({.connection = input.connection,
                                       .table = input.table,
                                       .key = {&Item::id},
                                       .marker_schema = input.marker_schema}))
      .uid("to table");
  env.execute("copy");
}

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    input.topic = place.topic();
    input.table = place.table();
    input.marker_schema = place.marker_schema();
    input.directory = dir.path();
  }

  // The text of the JobError, which came in time.
  std::string error() {
    std::string what;
    const auto took = least_time(10s, [&] {
      try {
        copy(input);
        ADD_FAILURE() << "the job did not fail";
      } catch (const JobError& failure) {
        what = failure.what();
        code = failure.code();
        node = failure.node();
      }
    });
    EXPECT_LT(took, 10s) << what;
    EXPECT_THAT(what, Not(HasSubstr("open sesame"))) << "secrets stay secret";
    return what;
  }

  // After the fault is gone the same job reads everything.
  void expect_all_is_there(std::int64_t rows) {
    input.lambda_throws = false;
    copy(input);
    EXPECT_EQ(place.number("SELECT count(*) FROM " + place.table()), rows);
  }

  Playground place;
  TempDir dir;
  Input input;
  JobErrorCode code{};
  std::string node;
};

TEST_F(BadInput, AnUnreachableBrokerIsNamed) {
  input.brokers_at = "127.0.0.1:1";
  EXPECT_THAT(error(), HasSubstr("127.0.0.1:1"));
  EXPECT_EQ(code, JobErrorCode::kConnector);
}

TEST_F(BadInput, AMissingTopicIsNamed) {
  input.topic = "no_such_topic";
  EXPECT_THAT(error(), HasSubstr("no_such_topic"));
  EXPECT_EQ(code, JobErrorCode::kConnector);
}

TEST_F(BadInput, AWrongPasswordIsSaidWithoutShowingIt) {
  std::string connection = required_env("LEVADA_TEST_POSTGRES_TCP");
  connection += " password='open sesame'";
  input.connection = connection;
  EXPECT_THAT(error(), AllOf(HasSubstr("PostgreSQL"), HasSubstr("password")));
  EXPECT_EQ(node, "to table");
}

TEST_F(BadInput, AMissingTableIsNamed) {
  input.table = "no_such_table";
  EXPECT_THAT(error(), HasSubstr("no_such_table"));
  EXPECT_EQ(node, "to table");
}

TEST_F(BadInput, AColumnOfTheWrongTypeIsNamedWithBothTypes) {
  place.sql("ALTER TABLE " + place.table() + " ALTER COLUMN text TYPE integer USING 0");
  EXPECT_THAT(error(), AllOf(HasSubstr("text"), HasSubstr("integer")));
}

TEST_F(BadInput, ACheckpointDirectoryThatCannotBeWrittenIsNamed) {
  input.directory = "/proc/levada-checkpoints";
  EXPECT_THAT(error(), HasSubstr("/proc/levada-checkpoints"));
  EXPECT_EQ(code, JobErrorCode::kState);
}

TEST_F(BadInput, ADirectoryWithoutRoomFailsTheStart) {
  place.produce(0, 10);
  const pid_t child = fork();
  if (child == 0) {
    // No file may grow: as on a full disk.
    const rlimit none{0, 0};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none);
    int status = 1;
    try {
      copy(input);
    } catch (const JobError& failure) {
      const std::string what = failure.what();
      status = failure.code() == JobErrorCode::kState && what.find(dir.path()) != what.npos ? 0 : 2;
    } catch (...) {
      status = 3;
    }
    _exit(status);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "2: another error, 1: no error";
  expect_all_is_there(10);
}

TEST_F(BadInput, AManifestWithAFlippedBitIsRefusedOrPassedOver) {
  place.produce(0, 10);
  copy(input);
  std::vector<std::filesystem::path> manifests;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path() + "/copy")) {
    if (entry.path().filename().string().starts_with("manifest-")) manifests.push_back(entry.path());
  }
  ASSERT_FALSE(manifests.empty());
  for (const auto& path : manifests) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(40);
    const char byte = static_cast<char>(file.get());
    file.seekp(40);
    file.put(static_cast<char>(byte ^ 4));
  }
  EXPECT_THAT(error(), HasSubstr("manifest"));
  EXPECT_EQ(code, JobErrorCode::kState);
}

TEST_F(BadInput, ASecondInstanceIsRefused) {
  StreamEnvironment env({.checkpoint = {.interval = 1s, .directory = dir.path()}});
  env.from_source(kafka::source<Item>({.brokers = brokers(), .topics = {place.topic()}}))
      .uid("items")
      .discard()
      .uid("out");
  Job first = env.execute_async("copy");
  while (first.status().state == JobState::kStarting) std::this_thread::sleep_for(5ms);
  EXPECT_THAT(error(), HasSubstr(dir.path()));
  EXPECT_EQ(code, JobErrorCode::kAlreadyRunning);
}

TEST_F(BadInput, ARecordThatIsNoJsonFailsTheJobAndIsNamed) {
  place.produce(0, 3);
  place.produce_text("{\"id\":oops}");
  EXPECT_THAT(error(), AllOf(HasSubstr(place.topic()), HasSubstr("3")));
  EXPECT_EQ(node, "items");
}

TEST_F(BadInput, ARecordThatIsNoJsonIsSkippedAndCountedWhenAskedFor) {
  place.produce(0, 3);
  place.produce_text("{\"id\":oops}");
  place.produce(3, 3);
  StreamEnvironment env;
  auto rows = env.from_source(kafka::source<Item>({.brokers = brokers(),
                                                   .topics = {place.topic()},
                                                   .stop_at = kafka::latest(),
                                                   .on_bad_record = skip_and_count()}))
                  .uid("items")
                  .collect();
  Job job = env.execute_async("skips");
  job.wait();
  EXPECT_EQ(rows.rows().size(), 6u);
  EXPECT_EQ(job.status().nodes.front().bad_records, 1u);
}

TEST_F(BadInput, ALambdaThatThrowsIsNamedAndNothingIsLost) {
  place.produce(0, 20);
  input.lambda_throws = true;
  EXPECT_THAT(error(), HasSubstr("the lambda had enough"));
  EXPECT_EQ(code, JobErrorCode::kUserCode);
  EXPECT_EQ(node, "picky");
  expect_all_is_there(20);
}

}  // namespace
}  // namespace levada
