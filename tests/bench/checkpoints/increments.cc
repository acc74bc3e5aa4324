#include "increments.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <thread>

#include "support/gated_source.h"

namespace bench {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kPart = 100;  // of the keys one
constexpr int kIncrements = 30;
constexpr auto kInterval = 1s;

struct Touch {
  std::uint64_t key = 0;
  std::int64_t count = 0;
};
LEVADA_RECORD(Touch, key, count)

struct Progress {
  std::atomic<std::uint64_t> rows{0};
  std::atomic<bool> right{true};
};

using Sizes = std::map<std::string, std::uint64_t>;

Sizes files_in(const std::string& directory) {
  Sizes sizes;
  if (!std::filesystem::exists(directory)) return sizes;
  std::error_code swept;  // a file that goes meanwhile is none
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    const std::uint64_t size = entry.is_regular_file(swept) ? entry.file_size(swept) : 0;
    if (!swept) sizes[entry.path()] = size;
  }
  return sizes;
}

std::uint64_t added_bytes(const Sizes& before, const Sizes& after) {
  std::uint64_t bytes = 0;
  for (const auto& [path, size] : after) {
    if (!before.contains(path)) bytes += size;
  }
  return bytes;
}

}  // namespace

Increments measure_increments(std::uint64_t keys, const levada::StateBackendOptions& state,
                              const std::string& directory) {
  const std::uint64_t part = keys / kPart;
  const auto gate = std::make_shared<levada::testing::Gate>();
  const auto progress = std::make_shared<Progress>();
  // First all keys; then each time every hundredth, beginning at another.
  const auto touch = [keys, part](std::uint64_t i) {
    const std::uint64_t later = i - keys;
    return Touch{i < keys ? i : (later % part * kPart + later / part) % keys, 1};
  };
  levada::StreamEnvironment env({.checkpoint = {.interval = 0s, .directory = directory}, .state = state});
  gate->open(0);
  env.from_source(levada::testing::gated_source<Touch>(gate, touch))
      .uid("touches")
      .key_by(&Touch::key)
      .aggregate(levada::key().as(&Touch::key), levada::count().as(&Touch::count))
      .uid("counts")
      .for_each([progress, keys](const Touch& row) {
        const std::uint64_t number = progress->rows++;
        if (row.count != (number < keys ? 1 : 2)) progress->right = false;
      })
      .uid("sink");
  levada::Job job = env.execute_async("increments");
  const auto checkpoint_after = [&](std::uint64_t rows) {
    const Sizes before = files_in(directory);
    gate->open(rows);
    while (progress->rows < rows && !job.wait_for(1ms)) {
    }
    job.checkpoint();
    return added_bytes(before, files_in(directory));
  };
  Increments result;
  result.full_bytes = checkpoint_after(keys);
  for (std::uint64_t i = 1; i <= kIncrements; ++i) {
    std::this_thread::sleep_for(kInterval);
    result.increment_bytes.push_back(checkpoint_after(keys + i * part));
  }
  job.request_stop();
  job.wait();
  if (!progress->right) throw std::runtime_error("a key was not counted once for each of its rows");
  return result;
}

}  // namespace bench
