// A checkpoint and a savepoint of each version of the format load for ever, and a job goes on with them as it
// would have gone on then.
#include <algorithm>
#include <filesystem>
#include <mutex>

#include <gmock/gmock.h>

#include "base/file_system.h"
#include "checkpoint/content_hash.h"
#include "golden/golden_job.h"
#include "levada/state_reader.h"
#include "support/memory_target.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using testing::MemoryTable;
using testing::TempDir;

const std::filesystem::path kData = GOLDEN_DATA;

// Names and contents of all files beneath.
std::string hash_of_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  Bytes all;
  for (const auto& file : files) {
    put_string(all, std::filesystem::relative(file, directory).string());
    put_string(all, local_file_system().read_file(file.string()));
  }
  ContentHasher hasher;
  hasher.add(all);
  const ContentHash hash = hasher.hash();
  return std::to_string(hash.high) + " " + std::to_string(hash.low);
}

std::string hash_of_lines(const std::vector<std::string>& lines) {
  Bytes all;
  for (const std::string& line : lines) put_string(all, line);
  return std::to_string(lines.size()) + " " + std::to_string(detail::hash_bytes(all.data(), all.size()));
}

// What the job makes of all its rows, sorted.
std::vector<std::string> lines_of_a_fresh_run(int parallelism) {
  std::mutex mutex;
  std::vector<std::string> lines;
  StreamEnvironment env({.parallelism = parallelism});
  golden::build(env, 0, [&](DataStream<std::string> stream, const std::string& uid) {
    stream
        .for_each([&](const std::string& line) {
          const std::lock_guard lock(mutex);
          lines.push_back(line);
        })
        .uid(uid);
  });
  env.execute("fresh");
  std::sort(lines.begin(), lines.end());
  return lines;
}

// A copy that a job may write to, private as the job wants it.
std::string private_copy(const TempDir& dir, const std::string& name) {
  const std::string copy = dir / "copy";
  std::filesystem::copy(kData / name, copy, std::filesystem::copy_options::recursive);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(copy)) {
    std::filesystem::permissions(entry.path(), std::filesystem::perms::owner_all);
  }
  std::filesystem::permissions(copy, std::filesystem::perms::owner_all);
  return copy;
}

std::vector<std::string> lines_of(const std::string& job, const EnvironmentOptions& options,
                                  const ExecuteOptions& execute, RestoreReport& report, const std::string& path) {
  const auto table = std::make_shared<MemoryTable>();
  StreamEnvironment env(options);
  golden::build(env, 0, [&](DataStream<std::string> stream, const std::string& uid) {
    stream.sink_to(testing::memory_sink<std::string>(table)).uid(uid);
  });
  report = env.check_restore(path, execute);
  env.execute(job, execute);
  std::vector<std::string> lines = testing::rows_of<std::string>(*table);
  std::sort(lines.begin(), lines.end());
  return lines;
}

void expect_all_restored(const RestoreReport& report) {
  EXPECT_FALSE(report.refused()) << report.text();
  for (const RestoreItem& item : report.items) EXPECT_EQ(item.verdict, RestoreVerdict::kRestored) << report.text();
}

TEST(Golden, IsNeverChanged) {
  EXPECT_EQ(hash_of_files(kData / "v1"), "HASH_V1");
}

TEST(Golden, TheJobItselfDoesTheSame) {
  for (const int parallelism : {1, 3}) {
    EXPECT_EQ(hash_of_lines(lines_of_a_fresh_run(parallelism)), "HASH_ALL");
  }
}

// None of its output was published: all of it comes from the log and from what is computed on.
TEST(Golden, AJobGoesOnWithACheckpointOfVersion1) {
  for (const int parallelism : {1, 2, 3}) {
    const TempDir dir;
    const std::string path = private_copy(dir, "v1/checkpoint");
    RestoreReport report;
    const auto lines = lines_of("golden", {.parallelism = parallelism, .checkpoint = {.directory = path}}, {},
                                report, path + "/golden");
    expect_all_restored(report);
    EXPECT_EQ(hash_of_lines(lines), "HASH_ALL") << parallelism;
  }
}

// All output before it was published; what comes after it is the rest.
TEST(Golden, AJobGoesOnWithASavepointOfVersion1) {
  const std::vector<std::string> all = lines_of_a_fresh_run(2);
  for (const int parallelism : {1, 2, 3}) {
    const TempDir dir;
    RestoreReport report;
    const std::string path = (kData / "v1/savepoint").string();
    const auto lines = lines_of("another", {.parallelism = parallelism, .checkpoint = {.directory = dir.path()}},
                                {.restore = path}, report, path);
    expect_all_restored(report);
    EXPECT_EQ(hash_of_lines(lines), "HASH_REST") << parallelism;
    EXPECT_TRUE(std::includes(all.begin(), all.end(), lines.begin(), lines.end()));
  }
}

TEST(Golden, CanBeReadWithoutAJob) {
  for (const char* name : {"v1/checkpoint/golden", "v1/savepoint"}) {
    const StateReader reader((kData / name).string());
    reader.verify();
    std::map<std::string, std::string> schemas;
    for (const StateInfo& state : reader.states()) schemas[state.uid + "/" + state.name] = state.schema;
    const std::map<std::string, std::string> expected = {
        {"readings/splits", ""},
        {"sums/rolling",
         "string -> {sensor:string,number:int64,value:double,limit:int32?,tags:[string],at:timestamp}?"},
        {"stats/rolling", "string -> (int64,int64,min double,max int64,mean {sum:double,count:int64},)"},
        {"sliding/watermark", ""},
        {"sliding/windows", "(string,bool,) -> (int64,string?,double,)"},
        {"tumbling/watermark", ""},
        {"tumbling/windows",
         "int64 -> {sensor:string,number:int64,value:double,limit:int32?,tags:[string],at:timestamp}?"}};
    EXPECT_EQ(schemas, expected);
    std::size_t entries = 0;
    reader.read<std::string, std::optional<golden::Reading>>(
        "sums", "rolling", [&](const std::string& sensor, const std::optional<golden::Reading>& sum) {
          EXPECT_EQ(sum->sensor, sensor);
          ++entries;
        });
    EXPECT_GE(entries, golden::kSensors);
    reader.read_json("sliding", "windows", [&](const JsonEntry&) { ++entries; });
    EXPECT_GT(entries, 2 * golden::kSensors);
  }
}

}  // namespace
}  // namespace levada
