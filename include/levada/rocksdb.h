// State in RocksDB: the cold tier of keyed state on the local disk. The tables in memory stay what rows are folded
// into; entries that the budget does not hold leave for RocksDB in sorted files and come back when their keys do.
// A job whose state fits into its budget never writes to it.
//
//   StreamEnvironment env({.checkpoint = {…}, .state = levada::rocksdb::state({.directory = "/var/tmp/fast"})});
//
// Component: find_package(levada COMPONENTS rocksdb), target levada::rocksdb.
#pragma once

#include <source_location>
#include <string>

#include "levada/options.h"

namespace levada::rocksdb {

struct Options {
  /// Holds one folder a subtask; created with mode 0700. What is in these folders is a cache that a start of the
  /// job deletes: the state is in the checkpoints. On the disk of the checkpoint directory, files are shared with
  /// it; else they are copied.
  std::string directory{};
  /// The part of the state's memory that is for RocksDB's block cache, index and filters included, in 1/16.
  int cache_sixteenths = 4;
  int background_jobs = 2;  ///< compactions at a time, in threads of RocksDB
  /// RocksDB's own options for whoever knows them, as text: "level0_file_num_compaction_trigger=8;…", of the
  /// database and of the column family. They win over ours.
  std::string database_options{};
  std::string column_family_options{};
};

/// Keyed state in tables in memory over RocksDB.
///
/// Errors: GraphError at once without a directory; StateError when a job starts whose folder is in use by another,
///         or with options that RocksDB does not know.
StateBackendOptions state(Options options,
                          std::source_location where = std::source_location::current());

}  // namespace levada::rocksdb
