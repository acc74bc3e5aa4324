// Whole jobs into files: exactly once through restarts, and the weaker guarantees.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>

#include "levada/connectors/files.h"
#include "levada/levada.h"
#include "support/gated_source.h"
#include "support/job_progress.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using testing::Gate;
using testing::gated_source;
using testing::PlannedFailures;
using testing::TempDir;
using testing::wait_for_checkpoints;
using testing::wait_until;

struct Item {
  std::int64_t id = 0;
  std::string text;
};
LEVADA_RECORD(Item, id, text)

Item make_item(std::uint64_t i) {
  return {static_cast<std::int64_t>(i), "line\n" + std::to_string(i)};
}

std::vector<std::filesystem::path> files_in(const std::string& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  return files;
}

// While a job runs: the files that are not finished are hidden.
std::size_t finished_files_in(const std::string& directory) {
  std::error_code not_there_yet;
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory, not_there_yet)) {
    count += entry.path().filename().string().front() == '.' ? 0 : 1;
  }
  return count;
}

// The ids of all lines of all finished files, sorted.
std::vector<std::int64_t> ids_in(const std::string& directory) {
  const auto parser = json().make_parser(type_info<Item>());
  std::vector<std::int64_t> ids;
  for (const auto& path : files_in(directory)) {
    EXPECT_TRUE(path.filename().string().ends_with(".jsonl")) << path;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      Item item;
      EXPECT_TRUE(parser->parse(line, &item)) << parser->problem();
      EXPECT_EQ(item.text, "line\n" + std::to_string(item.id));
      ids.push_back(item.id);
    }
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<std::int64_t> numbers(std::int64_t count) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

TEST(Files, HoldEveryRowOnceThroughRestarts) {
  const TempDir dir;
  PlannedFailures failures;
  const auto gate = std::make_shared<Gate>();
  StreamEnvironment env({.parallelism = 2,
                         .checkpoint = {.interval = 10ms, .directory = dir / "checkpoints"},
                         .restart = fixed_delay({.attempts = 20, .delay = 1ms})});
  env.from_source(gated_source<Item>(gate, make_item, {.rate = 100'000}))
      .uid("items")
      .map([&failures](const Item& item) {
        failures.throw_if_due();
        return item;
      })
      .sink_to(files::sink<Item>({.directory = dir / "out", .roll_interval = 30ms}))
      .uid("to files");
  Job job = env.execute_async("job");
  for (const int checkpoints : {2, 4, 4}) {
    wait_for_checkpoints(job, checkpoints);
    failures.cause(job);
  }
  wait_until([&] { return finished_files_in(dir / "out") > 2; });
  const std::uint64_t rows = gate->end_after(2'000);
  job.wait();
  EXPECT_EQ(ids_in(dir / "out"), numbers(static_cast<std::int64_t>(rows)));
  EXPECT_GT(files_in(dir / "out").size(), 2u);
  // They roll: fewer files than checkpoints were begun, those before restarts included.
  const std::uint64_t begun = job.status().last_checkpoint->id & 0xffff'ffff;
  EXPECT_LT(files_in(dir / "out").size(), begun + 4);
}

TEST(Files, RollByBytes) {
  const TempDir dir;
  StreamEnvironment env({.checkpoint = {.interval = 5ms, .directory = dir / "checkpoints"}});
  env.generate<Item>(make_item, {.rate = 200'000})
      .uid("items")
      .sink_to(files::sink<Item>({.directory = dir / "out", .roll_bytes = 400'000, .roll_interval = 1h}))
      .uid("to files");
  Job job = env.execute_async("job");
  wait_until([&] { return finished_files_in(dir / "out") >= 4; });
  job.stop_with_savepoint(dir / "last");
  EXPECT_GE(files_in(dir / "out").size(), 4u);
  const std::vector<std::int64_t> ids = ids_in(dir / "out");
  EXPECT_EQ(ids, numbers(static_cast<std::int64_t>(ids.size())));
  int small = 0;
  for (const auto& path : files_in(dir / "out")) {
    small += std::filesystem::file_size(path) < 300'000 ? 1 : 0;
  }
  EXPECT_LE(small, 1) << "only the last may be";
}

TEST(Files, AreFinishedEarlyForASavepoint) {
  const TempDir dir;
  StreamEnvironment env(
      {.checkpoint = {.interval = 10ms, .directory = dir / "checkpoints", .timeout = 2min}});
  env.generate<Item>(make_item, {.rate = 50'000})
      .uid("items")
      .sink_to(files::sink<Item>({.directory = dir / "out", .roll_interval = 1h}))
      .uid("to files");
  Job job = env.execute_async("job");
  job.savepoint(dir / "saved");
  job.stop_with_savepoint(dir / "last");
  const std::vector<std::int64_t> ids = ids_in(dir / "out");
  EXPECT_EQ(ids, numbers(static_cast<std::int64_t>(ids.size())));
}

TEST(Files, AreFinishedEarlyWhenTheLogIsFull) {
  const TempDir dir;
  StreamEnvironment env({.checkpoint = {.interval = 10ms, .directory = dir / "checkpoints"},
                         .epoch_log = {.bytes = 300'000}});
  env.generate<Item>(make_item, {.rows = 50'000})
      .uid("items")
      .sink_to(files::sink<Item>({.directory = dir / "out", .roll_interval = 1h}))
      .uid("to files");
  Job job = env.execute_async("job");
  ASSERT_TRUE(job.wait_for(4min)) << "it waits for room that only a file that is finished makes";
  EXPECT_EQ(ids_in(dir / "out"), numbers(50'000));
}

TEST(Files, AreWrittenWithoutCheckpointsToo) {
  const TempDir dir;
  StreamEnvironment env({.parallelism = 2});
  env.generate<Item>(make_item, {.rows = 10'000, .splits = 2})
      .sink_to(files::sink<Item>({.directory = dir / "out",
                                  .roll_bytes = 100'000,
                                  .guarantee = Guarantee::kAtLeastOnce}));
  env.execute("job");
  EXPECT_EQ(ids_in(dir / "out"), numbers(10'000));
  EXPECT_GT(files_in(dir / "out").size(), 3u);
}

TEST(Files, MayBeReadByWhoeverTheUmaskLets) {
  const TempDir dir;
  const mode_t before = ::umask(022);
  StreamEnvironment env;
  env.from_values<Item>({{1, "line\n1"}})
      .sink_to(files::sink<Item>({.directory = dir.path(), .guarantee = Guarantee::kNone}));
  env.execute("job");
  ::umask(before);
  struct stat found {};
  ASSERT_EQ(::stat(files_in(dir.path()).at(0).c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0644u);
}

TEST(Files, SayThatTheDirectoryCannotBeUsed) {
  const TempDir dir;
  std::ofstream(dir / "taken") << "a file";
  StreamEnvironment env({.checkpoint = {.interval = 1s, .directory = dir / "checkpoints"}});
  env.from_values<Item>({{1, ""}})
      .uid("items")
      .sink_to(files::sink<Item>({.directory = dir / "taken"}))
      .uid("to files");
  try {
    env.execute("job");
    FAIL() << "no JobError was thrown";
  } catch (const JobError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr(dir / "taken"));
    EXPECT_EQ(error.node(), "to files");
  }
}

}  // namespace
}  // namespace levada
