// golden_writer DIRECTORY: writes the golden checkpoint and savepoint of the format as it is now. Run once for
// each version of the format; what it has written is never changed.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "golden/golden_job.h"
#include "support/memory_target.h"

namespace {

using levada::testing::MemoryTable;
using levada::testing::TargetStep;

void build(levada::StreamEnvironment& env, const std::shared_ptr<MemoryTable>& table) {
  golden::build(env, 4000, [&](levada::DataStream<std::string> lines, const std::string& uid) {
    lines.sink_to(levada::testing::memory_sink<std::string>(table)).uid(uid);
  });
}

// Copies what manifests name, and not what is being written.
void copy_finished(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(from)) {
    const std::filesystem::path into = to / std::filesystem::relative(entry.path(), from);
    const std::string name = entry.path().filename().string();
    if (entry.is_directory()) {
      std::filesystem::create_directories(into);
    } else if (!name.starts_with("open-") && !name.starts_with("tmp-") && name != "LOCK") {
      std::filesystem::create_directories(into.parent_path());
      std::filesystem::copy_file(entry.path(), into);
    }
  }
}

// Two checkpoints, so that the second one keeps what had not changed; no output is published.
void write_checkpoint(const std::filesystem::path& directory) {
  const auto table = std::make_shared<MemoryTable>();
  table->fault = [](TargetStep step) {
    if (step == TargetStep::kWrite) throw levada::TargetError(levada::TargetStatus::kUnavailable, "away");
  };
  const std::filesystem::path work = directory / "work";
  levada::StreamEnvironment env({.parallelism = 2, .checkpoint = {.directory = work.string()}});
  build(env, table);
  levada::Job job = env.execute_async("golden");
  std::this_thread::sleep_for(std::chrono::milliseconds(320));
  job.checkpoint();
  std::this_thread::sleep_for(std::chrono::milliseconds(40));
  const levada::CheckpointStatus status = job.checkpoint();
  copy_finished(work, directory / "checkpoint");
  job.cancel();
  std::printf("checkpoint %s: %llu bytes, refers to %u older files\n", status.path.c_str(),
              static_cast<unsigned long long>(status.full_bytes), status.older_files);
}

void write_savepoint(const std::filesystem::path& directory) {
  const auto table = std::make_shared<MemoryTable>();
  const std::filesystem::path work = directory / "work";
  levada::StreamEnvironment env(
      {.parallelism = 2,
       .checkpoint = {.directory = work.string(), .compression = levada::Compression::kZstd}});
  build(env, table);
  levada::Job job = env.execute_async("golden");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  job.savepoint((directory / "savepoint").string());
  job.cancel();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: golden_writer DIRECTORY\n");
    return 2;
  }
  const std::filesystem::path directory = argv[1];
  std::filesystem::create_directories(directory);
  write_checkpoint(directory);
  std::filesystem::remove_all(directory / "work");
  write_savepoint(directory);
  std::filesystem::remove_all(directory / "work");
  return 0;
}
