// Checkpoints on disk: a state file written and read, the manifest, and a whole commit with its syncs.
#include <benchmark/benchmark.h>

#include "checkpoint/job_directory.h"
#include "checkpoint/manifest.h"
#include "checkpoint/state_file.h"
#include "layers/rows.h"
#include "support/temp_dir.h"

namespace bench {
namespace {

using levada::StateFileReader;
using levada::StateFileWriter;
using levada::StateHandle;

constexpr std::size_t kBlockBytes = 32 * 1024;

// As a table hands out: blocks of random bytes.
StateHandle write_file(levada::FileSystem& files, const std::string& directory, std::int64_t blocks) {
  StateFileWriter writer(files, directory, "tmp", [](const std::string&) { return true; });
  const std::uint32_t table = writer.begin_table("totals", "windows", "{key:int64}");
  levada::Bytes bytes(kBlockBytes, '\0');
  for (std::int64_t i = 0; i < blocks; ++i) {
    for (std::size_t at = 0; at < kBlockBytes; at += 512) {
      bytes[at] = static_cast<char>(mix(static_cast<std::uint64_t>(i) + at));
    }
    writer.put_block(table, {.key_group = static_cast<std::uint32_t>(i % kKeyGroups),
                             .entries = 1000,
                             .bytes = bytes});
  }
  return writer.finish();
}

void checkpoint_write_state(benchmark::State& state) {
  const levada::testing::TempDir directory;
  levada::FileSystem& files = levada::local_file_system();
  for (auto _ : state) benchmark::DoNotOptimize(write_file(files, directory.path(), state.range(0)));
  state.SetBytesProcessed(state.iterations() * state.range(0) *
                          static_cast<std::int64_t>(kBlockBytes));
}
BENCHMARK(checkpoint_write_state)->Arg(4)->Arg(1'000)->Unit(benchmark::kMillisecond)->UseRealTime();

void checkpoint_read_state(benchmark::State& state) {
  const levada::testing::TempDir directory;
  levada::FileSystem& files = levada::local_file_system();
  const StateHandle handle = write_file(files, directory.path(), state.range(0));
  levada::Bytes bytes;
  for (auto _ : state) {
    const StateFileReader reader(files, directory.path(), handle);
    for (const auto& block : reader.tables()[0].blocks) {
      reader.read_block(block, bytes);
      benchmark::DoNotOptimize(bytes.data());
    }
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) *
                          static_cast<std::int64_t>(kBlockBytes));
}
BENCHMARK(checkpoint_read_state)->Arg(1'000)->Unit(benchmark::kMillisecond);

levada::Manifest manifest_of(std::int64_t subtasks) {
  levada::Manifest manifest{.job_name = "bench", .id = 1, .incarnation = 1, .max_parallelism = 128};
  manifest.nodes = {{"rows", "source", 2}, {"totals", "window", 2}, {"sink", "sink", 2}};
  for (std::int64_t i = 0; i < subtasks; ++i) {
    StateHandle handle;
    handle.inline_bytes = levada::Bytes(200, 'x');
    handle.length = handle.inline_bytes.size();
    manifest.subtasks.push_back({"rows → totals → sink", static_cast<std::uint32_t>(i), handle});
  }
  return manifest;
}

void checkpoint_encode_manifest(benchmark::State& state) {
  const levada::Manifest manifest = manifest_of(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(levada::encode(manifest));
}
BENCHMARK(checkpoint_encode_manifest)->Arg(4)->Arg(200);

void checkpoint_decode_manifest(benchmark::State& state) {
  const levada::Bytes bytes = levada::encode(manifest_of(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(levada::decode_manifest(bytes, "manifest"));
}
BENCHMARK(checkpoint_decode_manifest)->Arg(4)->Arg(200);

// Nothing but the manifest itself: write, sync, rename, sync, and the sweep of the one before.
void checkpoint_commit(benchmark::State& state) {
  const levada::testing::TempDir directory;
  levada::Log log({});
  levada::JobDirectory job(levada::local_file_system(), directory.path(), "bench", log);
  job.open();
  for (auto _ : state) {
    levada::Manifest manifest = manifest_of(4);
    manifest.id = job.begin_checkpoint();
    manifest.incarnation = job.incarnation();
    for (std::uint32_t i = 0; i < 4; ++i) {
      const auto writer = job.make_writer(manifest.id, 0, i);
      writer->put_operator_state("rows", "splits", "position");
      manifest.subtasks[i].state = writer->finish();
    }
    job.commit(manifest);
    job.sweep(2);
  }
}
BENCHMARK(checkpoint_commit)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace bench
