// A process that runs out of descriptors: the job ends with an error, or it runs, but the
// host goes on.
#include <gtest/gtest.h>

#include <string>

#include <sys/resource.h>

#include "jobs/servers.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "support/child_process.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using testing::ChildExit;
using testing::Item;
using testing::Playground;
using testing::TempDir;

constexpr int kFinished = 0, kRefused = 1;

int run_job(const Playground& place, const TempDir& dir) {
  StreamEnvironment env({.parallelism = 2,
                         .checkpoint = {.interval = 10ms, .directory = dir.path(), .tolerable_failure = 1s},
                         .restart = fixed_delay({.attempts = 2, .delay = 1ms})});
  env.generate<Item>([](std::uint64_t i) { return Item{static_cast<std::int64_t>(i), "x", {}}; },
                     {.rows = 500, .rate = 10'000})
      .uid("items")
      .sink_to(postgres::insert<Item>({.connection = testing::postgres(),
                                       .table = place.table(),
                                       .marker_schema = place.marker_schema()}))
      .uid("to table");
  try {
    env.execute("frugal");
    return kFinished;
  } catch (const JobError& error) {
    return std::string(error.what()).empty() ? 2 : kRefused;
  }
}

ChildExit run_with_limit(int resource, rlim_t limit, const Playground& place, const TempDir& dir) {
  return testing::run_in_child([&] {
    const rlimit limits{limit, limit};
    if (::setrlimit(static_cast<__rlimit_resource>(resource), &limits) != 0) return 3;
    return run_job(place, dir);
  });
}

TEST(FewDescriptors, EndTheJobWithAnErrorOrLetItRunAndLoseNothing) {
  int finished = 0, refused = 0;
  for (rlim_t limit = 3; limit < 40; limit += 2) {
    const Playground place;
    const TempDir dir;
    const ChildExit exit = run_with_limit(RLIMIT_NOFILE, limit, place, dir);
    EXPECT_EQ(exit.signal, 0) << limit << " descriptors";
    EXPECT_TRUE(exit.code == kFinished || exit.code == kRefused) << exit.code;
    ++(exit.code == kFinished ? finished : refused);
    // With enough of them it does the rest.
    EXPECT_EQ(run_with_limit(RLIMIT_NOFILE, 1024, place, dir).code, kFinished);
    EXPECT_EQ(place.number("SELECT count(*) FROM " + place.table()), 500);
  }
  EXPECT_GT(finished, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace levada
