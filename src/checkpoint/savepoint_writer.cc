#include "levada/savepoint_writer.h"

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "levada/assert.h"
#include "levada/clock.h"
#include "levada/error.h"
#include "levada/options.h"

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/manifest_file.h"
#include "checkpoint/savepoint.h"
#include "checkpoint/state_reader.h"

namespace levada {
namespace {

constexpr std::size_t kBlockBytes = 32 * 1024;
// Of all blocks that are being filled; beyond, all leave as they are.
constexpr std::size_t kOpenBytesMax = 16 * 1024 * 1024;

void require_published(const SinkState& sink) {
  if (sink.epochs.empty()) return;
  throw StateError("output of the sink '" + sink.uid + "' still waits to be published: only its job can do so");
}

}  // namespace

void make_savepoint(std::string_view from, std::string_view into, const StateBackendOptions& state) {
  FileSystem& files = local_file_system();
  const CheckpointReader reader(files, from);
  if (!reader.verified()) reader.verify();
  for (const SinkState& sink : reader.manifest().sinks) require_published(sink);
  ColdReading cold;
  cold.backend = state.cold;
  // No job's, and nobody's who makes another savepoint.
  cold.place.job = "%savepoint";
  cold.place.name = std::to_string(detail::hash_bytes(into.data(), into.size()));
  SavepointExport savepoint(files, reader.state_path(), reader.manifest(), std::string(into), std::move(cold));
  while (!savepoint.complete()) savepoint.step();
}

void make_savepoint(std::string_view from, std::string_view into) { make_savepoint(from, into, memory_state()); }

struct SavepointWriter::Contents {
  using Place = std::pair<std::int64_t, std::uint32_t>;  // name space, key group
  struct Table {
    std::uint32_t index = 0;  // of the writer
    std::map<Place, StateBlock> open;
  };

  Contents(FileSystem& files_in, std::string path_in, SavepointOptions options)
      : files(files_in), path(std::move(path_in)), state_path(state_directory(path)) {
    manifest.id = 1;
    manifest.job_name = std::move(options.job_name);
    manifest.max_parallelism = static_cast<std::uint32_t>(options.max_parallelism);
    manifest.savepoint = true;
  }

  void begin(std::string_view uid, std::string_view state) {
    if (finished) throw StateError("the savepoint '" + path + "' is finished");
    if (!known.emplace(uid, state).second) {
      throw StateError("state '" + std::string(state) + "' of '" + std::string(uid) + "' is written twice to '" +
                       path + "'");
    }
    add_node({std::string(uid), "savepoint writer", 1});
  }
  void add_node(NodeState node) {
    for (const NodeState& there : manifest.nodes) {
      if (there.uid == node.uid) return;
    }
    manifest.nodes.push_back(std::move(node));
  }

  void put_out(Table& table, StateBlock& block) {
    open_bytes -= block.bytes.size();
    writer->put_block(table.index, block);
    block.bytes.clear();
    block.entries = 0;
  }
  void put_out(Table& table) {
    for (auto& [place, block] : table.open) {
      if (block.entries > 0) put_out(table, block);
    }
    table.open.clear();
  }

  void copy_operator_states(const RestoredCheckpoint& from, std::string_view uid,
                            std::optional<std::string_view> only);
  void copy_tables(const StateReader::Contents& from, std::string_view uid, std::optional<std::string_view> only);
  void copy_sink(const Manifest& from, std::string_view uid);
  void copy(const StateReader::Contents& source, std::string_view uid, std::optional<std::string_view> only);

  FileSystem& files;
  std::string path;
  std::string state_path;
  Manifest manifest;
  std::unique_ptr<StateFileWriter> writer;
  std::vector<Table> tables;
  std::set<std::pair<std::string, std::string>> known;
  std::size_t open_bytes = 0;
  bool finished = false;
};

SavepointWriter::SavepointWriter(std::string_view path, SavepointOptions options)
    : contents_(std::make_unique<Contents>(local_file_system(), std::string(path), std::move(options))) {
  FileSystem& files = contents_->files;
  const std::uint32_t groups = contents_->manifest.max_parallelism;
  if (groups < 1 || groups > 32768) throw StateError("max_parallelism must be from 1 to 32768");
  prepare_savepoint(files, contents_->path);
  files.create_directories(contents_->state_path);
  contents_->writer = std::make_unique<StateFileWriter>(files, contents_->state_path, "tmp-savepoint",
                                                        [](const std::string&) { return true; });
}
SavepointWriter::SavepointWriter(SavepointWriter&&) noexcept = default;
SavepointWriter& SavepointWriter::operator=(SavepointWriter&&) noexcept = default;
SavepointWriter::~SavepointWriter() = default;

std::uint32_t SavepointWriter::begin_table(std::string_view uid, const StateSpec& spec) {
  contents_->begin(uid, spec.name);
  contents_->tables.push_back({contents_->writer->begin_table(uid, spec.name, spec.schema), {}});
  return static_cast<std::uint32_t>(contents_->tables.size() - 1);
}

void SavepointWriter::put(std::uint32_t table, std::int64_t name_space, std::uint64_t hash,
                          std::string_view entry) {
  LEVADA_ASSERT(!contents_->finished, "nothing is put into a savepoint that is finished");
  const std::uint32_t group = key_group_of(hash, contents_->manifest.max_parallelism);
  Contents::Table& into = contents_->tables[table];
  StateBlock& block = into.open[{name_space, group}];
  block.name_space = name_space;
  block.key_group = group;
  ++block.entries;
  block.bytes += entry;
  contents_->open_bytes += entry.size();
  if (block.bytes.size() >= kBlockBytes) contents_->put_out(into, block);
  if (contents_->open_bytes < kOpenBytesMax) return;
  for (Contents::Table& open : contents_->tables) contents_->put_out(open);
}

void SavepointWriter::copy(const StateReader& from, std::string_view uid) {
  contents_->copy(*from.contents_, uid, std::nullopt);
}

void SavepointWriter::copy(const StateReader& from, std::string_view uid, std::string_view state) {
  contents_->copy(*from.contents_, uid, state);
}

void SavepointWriter::Contents::copy(const StateReader::Contents& source, std::string_view uid,
                                     std::optional<std::string_view> only) {
  const RestoredCheckpoint& from = *source.checkpoint;
  if (from.manifest().max_parallelism != manifest.max_parallelism) {
    throw StateError("max_parallelism is " + std::to_string(from.manifest().max_parallelism) +
                     " where state is copied from, and here " + std::to_string(manifest.max_parallelism));
  }
  const std::size_t before = known.size() + manifest.sinks.size();
  copy_operator_states(from, uid, only);
  copy_tables(source, uid, only);
  if (!only) copy_sink(from.manifest(), uid);
  if (known.size() + manifest.sinks.size() == before) {
    throw StateError("there is nothing of '" + std::string(uid) + "' to copy");
  }
  if (const NodeState* const node = from.node(uid)) {
    for (NodeState& there : manifest.nodes) {
      if (there.uid == uid) there = *node;
    }
  }
}

void SavepointWriter::Contents::copy_operator_states(const RestoredCheckpoint& from, std::string_view uid,
                                                     std::optional<std::string_view> only) {
  std::set<std::string> begun;
  for (const RestoredCheckpoint::Subtask& subtask : from.subtasks()) {
    for (const StateFileReader::OperatorState& state : subtask.state->operator_states()) {
      if (state.node != uid || (only && state.name != *only)) continue;
      if (begun.insert(state.name).second) begin(uid, state.name);
      writer->put_operator_state(uid, state.name, state.bytes);
    }
  }
}

// As it was written: entries of an older schema stay what they are, in a table of their own with the same name.
void SavepointWriter::Contents::copy_tables(const StateReader::Contents& from, std::string_view uid,
                                            std::optional<std::string_view> only) {
  for (const auto& [name, newest] : from.tables()) {
    if (name.first != uid || (only && name.second != *only)) continue;
    begin(uid, name.second);
    std::map<std::string, std::uint32_t> begun;  // by schema
    for (const std::string& schema : from.schemas(name)) {
      begun[schema] = writer->begin_table(uid, name.second, schema);
    }
    from.each_block(name, {}, [&](const std::string& schema, const RestoredBlock& block) {
      writer->put_block(begun.at(schema),
                        {block.name_space, block.key_group, block.entries, Bytes(block.bytes.rest())});
    });
  }
}

void SavepointWriter::Contents::copy_sink(const Manifest& from, std::string_view uid) {
  for (const SinkState& sink : from.sinks) {
    if (sink.uid != uid) continue;
    require_published(sink);
    manifest.sinks.push_back(sink);
    // Its markers are compared with the checkpoint's id.
    manifest.id = std::max(manifest.id, from.id);
  }
}

void SavepointWriter::finish() {
  Contents& all = *contents_;
  LEVADA_ASSERT(!all.finished, "a savepoint is finished once");
  all.finished = true;
  for (Contents::Table& table : all.tables) all.put_out(table);
  all.manifest.created = system_clock().now();
  all.manifest.subtasks.push_back({"savepoint writer", 0, all.writer->finish()});
  commit_savepoint(all.files, all.path, all.manifest);
}

}  // namespace levada
