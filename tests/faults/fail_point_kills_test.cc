// kill -9 at each fail point there is, and at those of a recovery five times in a row: a job with
// exactly-once sinks into PostgreSQL and files, and one at least once, comes to its end with every row.
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <signal.h>
#include <stdlib.h>

#include "base/fail_point.h"
#include "jobs/servers.h"
#include "levada/connectors/files.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "support/child_process.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using testing::ChildExit;
using testing::Item;
using testing::Playground;
using testing::postgres;
using testing::run_in_child;
using testing::TempDir;

// More than fit into one epoch of arrays where it lasts long, and a state too large for the manifest.
constexpr std::int64_t kRows = 6'000, kRowsPerSecond = 20'000;
constexpr Duration kShortInterval = 20ms, kLongInterval = 200ms;

// The job, each time in a process of its own.
class Victim {
 public:
  explicit Victim(Duration interval) : interval_(interval) {
    inserted_.sql("ALTER TABLE " + inserted_.table() + " DROP CONSTRAINT " + inserted_.table() + "_pkey");
  }

  // `fail`: as LEVADA_FAIL has it; empty for none.
  ChildExit run(const std::string& fail) {
    return run_in_child([&] {
      ::setenv("LEVADA_FAIL", fail.c_str(), 1);
      reset_fail_points();
      execute();
      return 0;
    });
  }

  // What is wrong in the end, or nothing.
  std::string problem() const {
    const auto count = [this](const Playground& place, const char* what) {
      return inserted_.number("SELECT " + std::string(what) + " FROM " + place.table());
    };
    if (count(inserted_, "count(DISTINCT id)") != kRows) return "rows are missing in the table";
    if (count(inserted_, "count(*)") != kRows) return "rows are twice in the table";
    if (count(upserted_, "count(*)") != kRows) return "rows are missing at least once";
    std::set<std::string> lines;
    std::int64_t line_count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir_ / "files")) {
      if (!entry.path().string().ends_with(".jsonl")) continue;
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line); ++line_count) lines.insert(line);
    }
    if (static_cast<std::int64_t>(lines.size()) != kRows) return "rows are missing in the files";
    return line_count == kRows ? "" : "rows are twice in the files";
  }

 private:
  void execute() {
    StreamEnvironment env({.parallelism = 2,
                           .checkpoint = {.interval = interval_, .directory = dir_ / "checkpoints"}});
    auto items = env.generate<Item>(
                        [](std::uint64_t i) {
                          const auto n = static_cast<std::int64_t>(i);
                          return Item{n, "item " + std::to_string(n) + std::string(20, '.'), {}};
                        },
                        {.rows = kRows, .rate = kRowsPerSecond})
                     .uid("items")
                     .key_by(&Item::id)
                     .reduce([](const Item&, const Item& item) { return item; })
                     .uid("last");
    items
        .sink_to(postgres::insert<Item>({.connection = testing::postgres(),
                                         .table = inserted_.table(),
                                         .marker_schema = inserted_.marker_schema()}))
        .uid("inserted");
    items
        .sink_to(postgres::upsert<Item>({.connection = testing::postgres(),
                                         .table = upserted_.table(),
                                         .key = {&Item::id},
                                         .guarantee = Guarantee::kAtLeastOnce}))
        .uid("upserted");
    items.sink_to(files::sink<Item>({.directory = dir_ / "files"})).uid("files");
    env.execute("victim");
  }

  const Duration interval_;
  Playground inserted_, upserted_;
  TempDir dir_;
};

std::string kill_at(std::string_view point, int nth) {
  return std::string(point) + ":" + std::to_string(nth) + ":kill";
}

void expect_killed(Victim& victim, const std::string& fail) {
  const ChildExit exit = victim.run(fail);
  EXPECT_EQ(exit.signal, SIGKILL) << fail << " was not reached; exit code " << exit.code;
}

void expect_a_good_end(Victim& victim) {
  EXPECT_EQ(victim.run("").code, 0);
  EXPECT_EQ(victim.problem(), "");
}

TEST(KillAtEachFailPoint, LosesAndDoublesNothing) {
  EXPECT_GE(kFailPoints.size(), 40u);
  for (const FailPoint& point : kFailPoints) {
    SCOPED_TRACE(point.name);
    Victim victim(point.name == "postgres.lines.sent" ? kLongInterval : kShortInterval);
    // There is something to restore then.
    if (point.phase == Phase::kRestore) expect_killed(victim, kill_at("checkpoint.manifest.committed", 3));
    expect_killed(victim, kill_at(point.name, 1));
    expect_a_good_end(victim);
  }
}

TEST(KillDuringRecovery, FiveTimesInARowLosesAndDoublesNothing) {
  std::vector<std::string_view> points;
  for (const FailPoint& point : kFailPoints) {
    if (point.phase == Phase::kRestore) points.push_back(point.name);
  }
  ASSERT_GE(points.size(), 5u);
  for (std::size_t first = 0; first < points.size(); ++first) {
    SCOPED_TRACE(points[first]);
    Victim victim(kShortInterval);
    expect_killed(victim, kill_at("target.publish.committed", 2));
    for (std::size_t i = 0; i < 5; ++i) {
      expect_killed(victim, kill_at(points[(first + i) % points.size()], 1));
    }
    expect_a_good_end(victim);
  }
}

}  // namespace
}  // namespace levada
