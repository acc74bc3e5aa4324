// kill -9 at each fail point there is, and at those of a recovery five times in a row: a job with
// exactly-once sinks into PostgreSQL and files, and one at least once, comes to its end with every row.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

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

struct Pace {
  std::int64_t rows_per_second = 0;
  Duration interval{};  // of checkpoints
};
constexpr Pace kQuick{20'000, 20ms};
// More rows than fit into one epoch of arrays, and fewer however long a checkpoint takes.
constexpr Pace kLargeEpochs{20'000, 500ms}, kSmallEpochs{500, 20ms};
// After all that were made before a kill.
constexpr std::int64_t kRowsAtTheEnd = 3'000;

// The job, each time in a process of its own.
class Victim {
 public:
  explicit Victim(Pace pace) : pace_(pace) {
    if (made_ == MAP_FAILED) throw std::runtime_error("mmap failed");
    new (made_) std::atomic<std::int64_t>(0);
    inserted_.sql("ALTER TABLE " + inserted_.table() + " DROP CONSTRAINT " + inserted_.table() + "_pkey");
  }
  ~Victim() { ::munmap(made_, sizeof *made_); }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  // Without end, until it is killed; `fail` as LEVADA_FAIL has it.
  ChildExit run(const std::string& fail) {
    return run_in_child([&] {
      ::setenv("LEVADA_FAIL", fail.c_str(), 1);
      reset_fail_points();
      Job job = execute(0, pace_);
      job.wait_for(60s);
      return 1;
    });
  }
  ChildExit run_to_the_end() {
    rows_ = *made_ + kRowsAtTheEnd;
    return run_in_child([&] {
      ::unsetenv("LEVADA_FAIL");
      reset_fail_points();
      execute(rows_, kQuick).wait();
      return 0;
    });
  }

  // What is wrong in the end, or nothing.
  std::string problem() const {
    const auto count = [this](const Playground& place, const char* what) {
      return inserted_.number("SELECT " + std::string(what) + " FROM " + place.table());
    };
    if (count(inserted_, "count(DISTINCT id)") != rows_) return "rows are missing in the table";
    if (count(inserted_, "count(*)") != rows_) return "rows are twice in the table";
    if (count(upserted_, "count(*)") != rows_) return "rows are missing at least once";
    std::set<std::string> lines;
    std::int64_t line_count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir_ / "files")) {
      if (!entry.path().string().ends_with(".jsonl")) continue;
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line); ++line_count) lines.insert(line);
    }
    if (static_cast<std::int64_t>(lines.size()) != rows_) return "rows are missing in the files";
    return line_count == rows_ ? "" : "rows are twice in the files";
  }

 private:
  Job execute(std::int64_t rows, Pace pace) {
    StreamEnvironment env({.parallelism = 2,
                           .checkpoint = {.interval = pace.interval, .directory = dir_ / "checkpoints"}});
    auto items = env.generate<Item>(
                        [this](std::uint64_t i) {
                          const auto n = static_cast<std::int64_t>(i);
                          if (n >= *made_) *made_ = n + 1;
                          return Item{n, "item " + std::to_string(n) + std::string(20, '.'), {}};
                        },
                        {.rows = static_cast<std::uint64_t>(rows),
                         .rate = static_cast<double>(pace.rows_per_second)})
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
    items.sink_to(files::sink<Item>({.directory = dir_ / "files", .roll_interval = 100ms})).uid("files");
    return env.execute_async("victim");
  }

  const Pace pace_;
  Playground inserted_, upserted_;
  TempDir dir_;
  // How many rows its processes have made, which share this.
  std::atomic<std::int64_t>* const made_ = static_cast<std::atomic<std::int64_t>*>(
      ::mmap(nullptr, sizeof *made_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::int64_t rows_ = 0;  // in the end
};

Pace pace_for(std::string_view point) {
  if (point == "postgres.lines.sent") return kLargeEpochs;
  return point == "postgres.rows.sent" ? kSmallEpochs : kQuick;
}

std::string kill_at(std::string_view point, int nth) {
  return std::string(point) + ":" + std::to_string(nth) + ":kill";
}

void expect_killed(Victim& victim, const std::string& fail) {
  const ChildExit exit = victim.run(fail);
  EXPECT_EQ(exit.signal, SIGKILL) << fail << " was not reached; exit code " << exit.code;
}

void expect_a_good_end(Victim& victim) {
  EXPECT_EQ(victim.run_to_the_end().code, 0);
  EXPECT_EQ(victim.problem(), "");
}

TEST(KillAtEachFailPoint, LosesAndDoublesNothing) {
  EXPECT_GE(kFailPoints.size(), 40u);
  for (const FailPoint& point : kFailPoints) {
    SCOPED_TRACE(point.name);
    Victim victim(pace_for(point.name));
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
    Victim victim(kQuick);
    expect_killed(victim, kill_at("target.publish.committed", 2));
    for (std::size_t i = 0; i < 5; ++i) {
      expect_killed(victim, kill_at(points[(first + i) % points.size()], 1));
    }
    expect_a_good_end(victim);
  }
}

}  // namespace
}  // namespace levada
