// Small checkpoints whose content follows from a number, and what must be found of them again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/job_directory.h"
#include "checkpoint/manifest.h"
#include "checkpoint/state_file.h"

namespace levada::testing {

/// Collects warnings.
class LogLines {
 public:
  Log& log() noexcept { return log_; }
  const std::vector<std::string>& lines() const noexcept { return lines_; }

 private:
  std::vector<std::string> lines_;
  Log log_{[this](LogLevel, std::string_view text) { lines_.emplace_back(text); }};
};

inline StateBlock block_of(std::uint32_t key_group, std::string bytes,
                           std::int64_t name_space = 0) {
  return {name_space, key_group, 1, std::move(bytes)};
}

/// The bytes of block `index` in the state of checkpoint number `number`.
inline std::string block_bytes(std::uint64_t number, std::uint32_t index, std::size_t size) {
  std::string bytes = std::to_string(number) + "/" + std::to_string(index) + ":";
  while (bytes.size() < size)
    bytes += static_cast<char>('a' + (bytes.size() * number + index) % 26);
  return bytes;
}

/// Subtask 0 writes a file of three blocks, subtask 1 a state that stays inline.
inline void write_subtask(StateFileWriter& writer, std::uint64_t number, std::uint32_t subtask) {
  writer.put_operator_state("source", "offsets", "at " + std::to_string(number));
  const std::uint32_t table = writer.begin_table("window", "windows", "{key:int64}");
  const std::size_t size = subtask == 0 ? 7000 : 50;
  for (std::uint32_t i = 0; i < 3; ++i) {
    writer.put_block(table, block_of(i, block_bytes(number, i + 10 * subtask, size)));
  }
}

/// Subtask 0 once more, whose namespace 0 has not changed since `base` was taken.
inline void keep_subtask(StateFileWriter& writer, const SubtaskState& base) {
  const std::uint32_t table = writer.begin_table("window", "windows", "{key:int64}");
  writer.keep(table, 0, base.older.empty() ? base.state : base.older[0], 21'000);
}

inline Manifest manifest_of(const JobDirectory& directory, CheckpointId id) {
  Manifest manifest;
  manifest.job_name = "orders";
  manifest.id = id;
  manifest.incarnation = directory.incarnation();
  manifest.max_parallelism = 128;
  manifest.nodes = {{"source", "kafka: orders", 2}, {"window", "tumbling", 2}};
  return manifest;
}

/// Takes and commits a checkpoint whose content follows from `number`.
inline CheckpointId take_checkpoint(JobDirectory& directory, std::uint64_t number) {
  const CheckpointId id = directory.begin_checkpoint();
  try {
    Manifest manifest = manifest_of(directory, id);
    manifest.created = Timestamp{Duration{static_cast<std::int64_t>(number)}};
    for (std::uint32_t subtask = 0; subtask < 2; ++subtask) {
      const auto writer = directory.make_writer(id, 0, subtask);
      write_subtask(*writer, number, subtask);
      manifest.subtasks.push_back({"source → window", subtask, writer->finish()});
    }
    directory.commit(manifest);
  } catch (...) {
    directory.abandon(id);
    throw;
  }
  return id;
}

/// The number whose checkpoint this is, after all of its state was read back and compared; empty when
/// anything of it is another's.
inline std::optional<std::uint64_t> number_of(FileSystem& files, const std::string& state_path,
                                              const Manifest& manifest) {
  const auto number = static_cast<std::uint64_t>(manifest.created.time_since_epoch().count());
  if (manifest.subtasks.size() != 2) return std::nullopt;
  for (std::uint32_t subtask = 0; subtask < 2; ++subtask) {
    const StateFileReader reader(files, state_path, manifest.subtasks[subtask].state);
    if (reader.operator_states().size() != 1 || reader.tables().size() != 1 ||
        reader.operator_states()[0].bytes != "at " + std::to_string(number)) {
      return std::nullopt;
    }
    const auto& blocks = reader.tables()[0].blocks;
    if (blocks.size() != 3) return std::nullopt;
    for (std::uint32_t i = 0; i < 3; ++i) {
      Bytes bytes;
      reader.read_block(blocks[i], bytes);
      const std::size_t size = subtask == 0 ? 7000 : 50;
      if (bytes != block_bytes(number, i + 10 * subtask, size)) return std::nullopt;
    }
  }
  return number;
}

}  // namespace levada::testing
