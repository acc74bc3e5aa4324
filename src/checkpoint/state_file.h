// State files: everything one subtask wrote for one checkpoint, in one file with an index. A
// snapshot of at most kInlineBytesMax bytes never becomes a file but travels inside the manifest.
// Namespaces of tables that had not changed are not written again: the index says in which older file
// their blocks are. That is never a file that only refers to them, too.
//
// Threads:  a writer from one thread at a time; a reader from any.
// Lifetime: both borrow their FileSystem. A writer destroyed before finish() removes its file.
// Failures: StateError: the disk's, or the name of the file and what in it is damaged. Lengths read
// from
//           a file are checked against what is there before anything is allocated.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "levada/state_backend.h"

#include "base/file_system.h"
#include "checkpoint/background.h"
#include "checkpoint/block_compression.h"
#include "checkpoint/cold_files.h"
#include "checkpoint/state_handle.h"
#include "checkpoint/state_layout.h"

namespace levada {

class StateFileWriter {
 public:
  static constexpr std::size_t kInlineBytesMax = 16 * 1024;

  /// Called with the file's final name before it gets that name, and with the names of older files when
  /// they are first referred to; false: the checkpoint is not wanted any more, finish() or keep() throws.
  using Reserve = std::function<bool(const std::string& name)>;

  /// Writes `directory`/`temporary_name` once there is more than fits inline: by jobs on `disk`, which outlives the
  /// writer, while more is put; null: in put_block() and finish().
  StateFileWriter(FileSystem& files, std::string directory, std::string temporary_name,
                  Reserve reserve, Compression compression = Compression::kNone, BackgroundQueue* disk = nullptr);
  ~StateFileWriter();
  StateFileWriter(const StateFileWriter&) = delete;
  StateFileWriter& operator=(const StateFileWriter&) = delete;

  void put_operator_state(std::string_view node, std::string_view name, std::string_view bytes);
  /// Announces a table and returns its index for put_block().
  std::uint32_t begin_table(std::string_view node, std::string_view name, std::string_view schema);
  void put_block(std::uint32_t table, const StateBlock& block);
  /// Says that `file` has the blocks of a namespace, of `bytes` bytes, and has them itself.
  /// REQUIRES: put_block() is not called for that namespace.
  void keep(std::uint32_t table, std::int64_t name_space, const StateHandle& file,
            std::uint64_t bytes);
  /// Says which files the cold tier wrote for the same checkpoint.
  void put_cold_files(std::vector<ColdFile> files);
  /// Writes the index, syncs and names the file. Nothing but take_layout() and the destructor may follow.
  StateHandle finish();
  /// Where everything is. REQUIRES: finish() has returned.
  StateLayout take_layout() noexcept;

  /// Bytes put so far, without the index.
  std::uint64_t size_bytes() const noexcept;

 private:
  struct Contents;
  void append(std::string_view bytes);
  void begin_file();
  void put_layout(Bytes& index) const;
  StateHandle finish_file();
  [[noreturn]] void throw_given_up() const;

  FileSystem& files_;
  std::string directory_;
  std::string temporary_path_;
  Reserve reserve_;
  BlockCompressor compressor_;
  BackgroundQueue* const disk_;
  std::unique_ptr<Contents> contents_;
};

class StateFileReader {
 public:
  struct OperatorState {
    std::string node;
    std::string name;
    Bytes bytes;
  };
  struct Block {
    std::int64_t name_space = 0;
    bool removed = false;
    std::uint32_t key_group = 0;
    std::uint32_t entries = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  ///< as it is stored
    Compression compression = Compression::kNone;
    std::uint64_t full_length = 0;  ///< what it decompresses to, if it is true
    std::uint32_t crc = 0;          ///< of what is stored
  };
  struct Kept {
    std::int64_t name_space = 0;
    std::size_t file = 0;  ///< in older_files()
  };
  struct Table {
    std::string node;
    std::string name;
    std::string schema;
    std::vector<Block> blocks;
    std::vector<Kept> kept;  ///< by namespace
  };

  /// Opens the snapshot and reads its index, not its blocks.
  StateFileReader(FileSystem& files, const std::string& directory, const StateHandle& handle);

  const std::vector<OperatorState>& operator_states() const noexcept { return operator_states_; }
  const std::vector<Table>& tables() const noexcept { return tables_; }
  /// The files that have what this snapshot kept.
  const std::vector<StateHandle>& older_files() const noexcept { return older_files_; }
  /// What is under its tables' entries.
  const std::vector<ColdFile>& cold_files() const noexcept { return cold_files_; }
  /// For messages.
  const std::string& name() const noexcept { return name_; }
  /// Replaces `into` by the block's bytes, decompressed; StateError when its checksum differs.
  void read_block(const Block& block, Bytes& into) const;

 private:
  void read_index(std::uint64_t length);
  void parse_index(View index, std::uint64_t index_at);
  Table parse_table(View& index) const;
  void read(std::uint64_t offset, std::uint64_t count, Bytes& into) const;

  std::string name_;
  Bytes inline_bytes_;
  std::unique_ptr<ReadableFile> file_;  // null: inline
  std::vector<OperatorState> operator_states_;
  std::vector<StateHandle> older_files_;
  std::vector<ColdFile> cold_files_;
  std::vector<Table> tables_;
};

/// Reads the whole snapshot and compares length and hash; StateError naming the file when they
/// differ.
void verify_state(FileSystem& files, const std::string& directory, const StateHandle& handle);

}  // namespace levada
