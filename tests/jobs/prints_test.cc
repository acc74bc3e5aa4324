// The library never prints: this program owns file descriptors 1 and 2, and nothing comes.
#include <gmock/gmock.h>

#include "base/mutex.h"
#include "levada/connectors/kafka.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "support/owned_descriptors.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using levada::testing::OwnedDescriptors;
using levada::testing::TempDir;
using ::testing::HasSubstr;

struct Item {
  std::int64_t id = 0;
};
LEVADA_RECORD(Item, id)

class Prints : public ::testing::Test {
 protected:
  EnvironmentOptions options() {
    return {.checkpoint = {.interval = 10ms, .directory = dir.path() + "/job"},
            .restart = fixed_delay({.attempts = 2, .delay = 1ms}),
            .log = [this](LogLevel, std::string_view message) {
              MutexLock lock(mutex);
              messages += message;
              messages += '\n';
            }};
  }

  // Runs a job that fails, and returns its error; nothing may be printed.
  std::string error_of(StreamEnvironment& env) {
    OwnedDescriptors owned(dir.path() + "/printed");
    std::string what;
    try {
      env.execute("quiet");
    } catch (const JobError& error) {
      what = error.what();
    }
    owned.give_back();
    EXPECT_EQ(owned.bytes(), 0u) << "something was printed";
    EXPECT_NE(what, "") << "the job did not fail";
    return what;
  }

  TempDir dir;
  Mutex mutex;
  std::string messages;
};

TEST_F(Prints, NothingWhenALambdaThrowsAndTheJobRestarts) {
  StreamEnvironment env(options());
  env.from_values<Item>({{1}}).uid("in").for_each([](const Item&) {
    throw std::runtime_error("a loud failure");
  }).uid("out");
  EXPECT_THAT(error_of(env), HasSubstr("a loud failure"));
  EXPECT_THAT(messages, HasSubstr("a loud failure"));
}

TEST_F(Prints, NothingWhenTheBrokerCannotBeReached) {
  StreamEnvironment env(options());
  env.from_source(kafka::source<Item>({.brokers = "127.0.0.1:1", .topics = {"t"}}))
      .uid("in").discard().uid("out");
  EXPECT_THAT(error_of(env), HasSubstr("127.0.0.1:1"));
  EXPECT_NE(messages, "");
}

TEST_F(Prints, NothingWhenPostgresCannotBeReached) {
  StreamEnvironment env(options());
  env.from_values<Item>({{1}}).uid("in").sink_to(
      postgres::insert<Item>({.connection = "host=127.0.0.1 port=1", .table = "t"})).uid("out");
  EXPECT_THAT(error_of(env), HasSubstr("PostgreSQL"));
  EXPECT_NE(messages, "");
}

}  // namespace
}  // namespace levada
