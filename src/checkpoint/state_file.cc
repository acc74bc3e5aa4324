// The format, version 1. Numbers are little-endian; string = varint length, bytes.
//
//   state_file     := head block* index footer
//   head           := "LVSTATE" version:u8
//   block          := bytes                       one after the other, in the index's order
//   index          := count:varint operator_state*
//                     count:varint older_file*
//                     count:varint cold_file*
//                     count:varint table*
//                     count:varint block_entry*
//   operator_state := node:string name:string bytes:string
//   older_file     := length:u64 hash_high:u64 hash_low:u64
//   cold_file      := name:string length:u64 hash_high:u64 hash_low:u64     a file of the cold tier
//   table          := node:string name:string schema:string count:varint kept*
//   kept           := name_space:i64 older_file:varint      ascending by name_space
//   block_entry    := table:varint name_space:i64 removed:u8 key_group:varint entries:varint
//                     length:varint compression:u8 full_length:varint? crc32c:u32
//                     (compression = 0: as it is; 1: an LZ4 block; 2: a Zstandard frame; then full_length is
//                     there; length and crc32c are of what is stored)
//   footer         := index_length:u64 index_crc32c:u32 "LVSTATE" version:u8
//
// The file's name is "state-" <XXH3-128 of all bytes, 32 hexadecimal digits> "-" <length, decimal>.
#include "checkpoint/state_file.h"

#include <algorithm>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

#include "base/crc32c.h"
#include "base/fail_point.h"
#include "checkpoint/overlapped_file.h"

namespace levada {
namespace {

constexpr std::string_view kMagic = "LVSTATE";
constexpr char kVersion = 1;
constexpr std::size_t kHeadBytes = 8;
constexpr std::size_t kFooterBytes = 8 + 4 + kHeadBytes;
constexpr std::size_t kVerifyBytes = 1024 * 1024;

void put_head(Bytes& out) {
  out.append(kMagic);
  out += kVersion;
}

struct BlockEntry {
  std::uint32_t table = 0;
  std::int64_t name_space = 0;
  bool removed = false;
  std::uint32_t key_group = 0;
  std::uint32_t entries = 0;
  std::uint64_t length = 0;
  Compression compression = Compression::kNone;
  std::uint64_t full_length = 0;
  std::uint32_t crc = 0;
};

void put(Bytes& out, const BlockEntry& entry) {
  put_varint(out, entry.table);
  put_number(out, entry.name_space);
  put_number(out, static_cast<std::uint8_t>(entry.removed));
  put_varint(out, entry.key_group);
  put_varint(out, entry.entries);
  put_varint(out, entry.length);
  put_number(out, static_cast<std::uint8_t>(entry.compression));
  if (entry.compression != Compression::kNone) put_varint(out, entry.full_length);
  put_number(out, entry.crc);
}

std::uint32_t take_u32(View& in) {
  const std::uint64_t value = in.take_varint();
  if (value > UINT32_MAX) throw StateError("a number has more than 32 bits");
  return static_cast<std::uint32_t>(value);
}

Compression take_compression(View& in) {
  const auto value = in.take_number<std::uint8_t>();
  if (value > static_cast<std::uint8_t>(Compression::kZstd)) {
    throw StateError("a block is compressed in an unknown way");
  }
  return static_cast<Compression>(value);
}

[[noreturn]] void throw_damaged(const std::string& name, std::string_view what) {
  throw StateError("'" + name + "' is damaged: " + std::string(what));
}

}  // namespace

// ---- StateFileWriter

struct StateFileWriter::Contents {
  Bytes pending;                       // everything, while there is no file
  std::unique_ptr<WritableFile> file;  // null while everything is pending
  bool named = false;
  bool finished = false;
  std::uint64_t length = 0;
  ContentHasher hasher;

  Bytes operator_states;
  std::uint64_t operator_state_count = 0;
  StateLayout layout;
  std::vector<std::string> schemas;  // of the layout's tables
  std::vector<ColdFile> cold_files;
  Bytes blocks;
  std::uint64_t block_count = 0;
};

StateFileWriter::StateFileWriter(FileSystem& files, std::string directory,
                                 std::string temporary_name, Reserve reserve,
                                 Compression compression, BackgroundQueue* disk)
    : files_(files),
      directory_(std::move(directory)),
      temporary_path_(join_path(directory_, temporary_name)),
      reserve_(std::move(reserve)),
      compressor_(compression),
      disk_(disk),
      contents_(std::make_unique<Contents>()) {
  Bytes head;
  put_head(head);
  append(head);
}

StateFileWriter::~StateFileWriter() {
  if (!contents_->file || contents_->named) return;
  try {
    contents_->file.reset();
    files_.remove(temporary_path_);
  } catch (...) {
    // The sweep finds it.
  }
}

void StateFileWriter::put_operator_state(std::string_view node, std::string_view name,
                                         std::string_view bytes) {
  put_string(contents_->operator_states, node);
  put_string(contents_->operator_states, name);
  put_string(contents_->operator_states, bytes);
  ++contents_->operator_state_count;
}

std::uint32_t StateFileWriter::begin_table(std::string_view node, std::string_view name,
                                           std::string_view schema) {
  std::vector<StateLayout::Table>& tables = contents_->layout.tables;
  tables.push_back({std::string(node), std::string(name), {}});
  contents_->schemas.emplace_back(schema);
  return static_cast<std::uint32_t>(tables.size() - 1);
}

void StateFileWriter::put_block(std::uint32_t table, const StateBlock& block) {
  LEVADA_ASSERT(table < contents_->schemas.size(), "a block belongs to a table that was begun");
  StateLayout::Place& place = contents_->layout.tables[table].spaces[block.name_space];
  LEVADA_ASSERT(place.file == 0, "a namespace that is kept is not written");
  const Bytes* const compressed = compressor_.compress(block.bytes);
  const Bytes& stored = compressed != nullptr ? *compressed : block.bytes;
  place.bytes += stored.size();
  put(contents_->blocks,
      {.table = table,
       .name_space = block.name_space,
       .removed = block.removed,
       .key_group = block.key_group,
       .entries = block.entries,
       .length = stored.size(),
       .compression = compressed != nullptr ? compressor_.how() : Compression::kNone,
       .full_length = block.bytes.size(),
       .crc = crc32c(stored)});
  ++contents_->block_count;
  append(stored);
}

void StateFileWriter::keep(std::uint32_t table, std::int64_t name_space, const StateHandle& file,
                           std::uint64_t bytes) {
  LEVADA_ASSERT(table < contents_->schemas.size(), "a namespace belongs to a table that was begun");
  std::vector<StateLayout::File>& files = contents_->layout.files;
  std::size_t at = 1;
  while (at < files.size() && files[at].handle.file != file.file) ++at;
  if (at == files.size()) {
    if (!reserve_(file.file)) throw_given_up();
    files.push_back({.handle = file});
  }
  const bool fresh =
      contents_->layout.tables[table].spaces.try_emplace(name_space, at, bytes).second;
  LEVADA_ASSERT(fresh, "a namespace that is written is not kept");
}

void StateFileWriter::put_cold_files(std::vector<ColdFile> files) {
  contents_->cold_files = std::move(files);
}

StateLayout StateFileWriter::take_layout() noexcept { return std::move(contents_->layout); }

std::uint64_t StateFileWriter::size_bytes() const noexcept {
  return contents_->length + contents_->operator_states.size();
}

void StateFileWriter::append(std::string_view bytes) {
  contents_->hasher.add(bytes);
  contents_->length += bytes.size();
  if (contents_->file) return contents_->file->append(bytes);
  contents_->pending.append(bytes);
  if (contents_->pending.size() > kInlineBytesMax) begin_file();
}

void StateFileWriter::begin_file() {
  contents_->file = files_.create_large(temporary_path_);
  LEVADA_FAILPOINT("checkpoint.state.created", kWrite);
  if (disk_ != nullptr) contents_->file = std::make_unique<OverlappedFile>(std::move(contents_->file), *disk_);
  contents_->file->append(contents_->pending);
  contents_->pending.clear();
}

StateHandle StateFileWriter::finish() {
  LEVADA_ASSERT(!contents_->finished, "a state file is finished once");
  contents_->finished = true;
  Bytes tail;
  put_varint(tail, contents_->operator_state_count);
  tail += contents_->operator_states;
  put_layout(tail);
  put_varint(tail, contents_->block_count);
  tail += contents_->blocks;
  const std::uint64_t index_length = tail.size();
  const std::uint32_t index_crc = crc32c(tail);
  put_number(tail, index_length);
  put_number(tail, index_crc);
  put_head(tail);
  append(tail);
  if (contents_->file) {
    const StateHandle handle = finish_file();
    contents_->layout.files.front().handle = handle;
    contents_->layout.judge();
    return handle;
  }
  contents_->layout.judge();

  StateHandle handle;
  handle.length = contents_->length;
  handle.hash = contents_->hasher.hash();
  handle.inline_bytes = std::move(contents_->pending);
  return handle;
}

void StateFileWriter::put_layout(Bytes& index) const {
  const StateLayout& layout = contents_->layout;
  put_varint(index, layout.files.size() - 1);
  for (std::size_t i = 1; i < layout.files.size(); ++i) put_content(index, layout.files[i].handle);
  put_varint(index, contents_->cold_files.size());
  for (const ColdFile& file : contents_->cold_files) {
    put_string(index, file.name);
    put_content(index, file.content);
  }
  put_varint(index, layout.tables.size());
  for (std::size_t i = 0; i < layout.tables.size(); ++i) {
    const StateLayout::Table& table = layout.tables[i];
    put_string(index, table.node);
    put_string(index, table.name);
    put_string(index, contents_->schemas[i]);
    const auto kept = [](const auto& space) { return space.second.file > 0; };
    put_varint(index, static_cast<std::uint64_t>(
                          std::count_if(table.spaces.begin(), table.spaces.end(), kept)));
    for (const auto& [name_space, place] : table.spaces) {
      if (place.file == 0) continue;
      put_number(index, name_space);
      put_varint(index, place.file - 1);
    }
  }
}

void StateFileWriter::throw_given_up() const {
  throw StateError("'" + temporary_path_ + "' belongs to a checkpoint that was given up");
}

StateHandle StateFileWriter::finish_file() {
  LEVADA_FAILPOINT("checkpoint.state.written", kWrite);
  contents_->file->sync();
  LEVADA_FAILPOINT("checkpoint.state.synced", kWrite);
  contents_->file->close();
  StateHandle handle = handle_of(contents_->hasher.hash(), contents_->length);
  if (!reserve_(handle.file)) throw_given_up();
  files_.rename(temporary_path_, join_path(directory_, handle.file));
  contents_->named = true;
  LEVADA_FAILPOINT("checkpoint.state.renamed", kWrite);
  return handle;
}

// ---- StateFileReader

StateFileReader::StateFileReader(FileSystem& files, const std::string& directory,
                                 const StateHandle& handle)
    : name_(handle.is_inline() ? "a state inside the manifest"
                               : join_path(directory, handle.file)) {
  if (handle.is_inline()) {
    inline_bytes_ = handle.inline_bytes;
  } else {
    file_ = files.open(name_);
  }
  const std::uint64_t length = file_ ? file_->size() : inline_bytes_.size();
  if (length != handle.length) {
    throw_damaged(
        name_, "it has " + std::to_string(length) + " bytes, not " + std::to_string(handle.length));
  }
  try {
    read_index(length);
  } catch (const StateError& error) {
    throw_damaged(name_, error.what());
  }
}

void StateFileReader::read(std::uint64_t offset, std::uint64_t count, Bytes& into) const {
  if (file_) {
    file_->read(offset, count, into);
  } else {
    into.assign(inline_bytes_, offset, count);
  }
}

void StateFileReader::read_index(std::uint64_t length) {
  if (length < kHeadBytes + kFooterBytes) throw StateError("it is too short");
  Bytes expected_head;
  put_head(expected_head);
  Bytes part;
  read(0, kHeadBytes, part);
  if (!part.starts_with(kMagic)) throw StateError("it is not a state file");
  if (part != expected_head) {
    throw StateError("its format version " + std::to_string(static_cast<int>(part.back())) +
                     " is unknown");
  }
  read(length - kFooterBytes, kFooterBytes, part);
  View footer(part);
  const auto index_length = footer.take_number<std::uint64_t>();
  const auto index_crc = footer.take_number<std::uint32_t>();
  if (footer.rest() != expected_head) throw StateError("its end is missing");
  if (index_length > length - kHeadBytes - kFooterBytes) throw StateError("its index is too long");
  const std::uint64_t index_at = length - kFooterBytes - index_length;
  Bytes index;
  read(index_at, index_length, index);
  if (crc32c(index) != index_crc) throw StateError("the checksum of its index differs");
  parse_index(View(index), index_at);
}

void StateFileReader::parse_index(View index, std::uint64_t index_at) {
  for (std::uint64_t count = index.take_varint(); count > 0; --count) {
    OperatorState& state = operator_states_.emplace_back();
    state.node = index.take_string();
    state.name = index.take_string();
    state.bytes = index.take_string();
  }
  for (std::uint64_t count = index.take_varint(); count > 0; --count) {
    older_files_.push_back(take_file(index));
  }
  for (std::uint64_t count = index.take_varint(); count > 0; --count) {
    ColdFile& file = cold_files_.emplace_back();
    file.name = index.take_string();
    file.content = take_file(index);
    if (file.name.empty() || file.name.find('/') != std::string::npos || file.name.front() == '.') {
      throw StateError("a file of its cold tier has a name that is none");
    }
  }
  for (std::uint64_t count = index.take_varint(); count > 0; --count) {
    tables_.push_back(parse_table(index));
  }
  std::uint64_t offset = kHeadBytes;
  for (std::uint64_t count = index.take_varint(); count > 0; --count) {
    const std::uint64_t table = index.take_varint();
    if (table >= tables_.size()) throw StateError("a block belongs to no table");
    Block& block = tables_[table].blocks.emplace_back();
    block.name_space = index.take_number<std::int64_t>();
    block.removed = index.take_number<std::uint8_t>() != 0;
    block.key_group = take_u32(index);
    block.entries = take_u32(index);
    block.length = index.take_varint();
    block.compression = take_compression(index);
    block.full_length =
        block.compression == Compression::kNone ? block.length : index.take_varint();
    block.crc = index.take_number<std::uint32_t>();
    block.offset = offset;
    if (block.length > index_at - offset) throw StateError("a block is too long");
    offset += block.length;
  }
  if (!index.empty()) throw StateError("its index has bytes left over");
  if (offset != index_at) throw StateError("its blocks leave a gap");
}

StateFileReader::Table StateFileReader::parse_table(View& index) const {
  Table table;
  table.node = index.take_string();
  table.name = index.take_string();
  table.schema = index.take_string();
  for (std::uint64_t count = index.take_varint(); count > 0; --count) {
    Kept kept;
    kept.name_space = index.take_number<std::int64_t>();
    kept.file = index.take_varint();
    if (kept.file >= older_files_.size()) throw StateError("a namespace is kept in no file");
    if (!table.kept.empty() && table.kept.back().name_space >= kept.name_space) {
      throw StateError("the namespaces that it keeps are not in order");
    }
    table.kept.push_back(kept);
  }
  return table;
}

void StateFileReader::read_block(const Block& block, Bytes& into) const {
  Bytes compressed;
  Bytes& stored = block.compression == Compression::kNone ? into : compressed;
  read(block.offset, block.length, stored);
  const auto damaged = [&](const char* what) {
    throw_damaged(name_, what + std::to_string(block.offset) + " differs");
  };
  if (crc32c(stored) != block.crc) damaged("the checksum of the block at byte ");
  if (block.compression == Compression::kNone) return;
  try {
    decompress(block.compression, compressed, block.full_length, into);
  } catch (const StateError&) {
    damaged("the decompressed length of the block at byte ");
  }
}

void verify_state(FileSystem& files, const std::string& directory, const StateHandle& handle) {
  ContentHasher hasher;
  std::uint64_t length = handle.inline_bytes.size();
  std::string name = "a state inside the manifest";
  if (handle.is_inline()) {
    hasher.add(handle.inline_bytes);
  } else {
    name = join_path(directory, handle.file);
    const std::unique_ptr<ReadableFile> file = files.open(name);
    length = file->size();
    Bytes part;
    for (std::uint64_t at = 0; at < length; at += part.size()) {
      file->read(at, std::min<std::uint64_t>(kVerifyBytes, length - at), part);
      hasher.add(part);
    }
  }
  if (length != handle.length) {
    throw_damaged(
        name, "it has " + std::to_string(length) + " bytes, not " + std::to_string(handle.length));
  }
  if (hasher.hash() != handle.hash) throw_damaged(name, "its content has another hash");
}

}  // namespace levada
