// RocksDB on any FileSystem: what it needs of one, as its own interface. So databases can be on the simulated disk.
//
// Threads:  from any, as far as the FileSystem is.
// Lifetime: borrows the FileSystem; both outlive the databases.
// Failures: IOError; a SimulatedCrash becomes one, for RocksDB is no place for exceptions.
#pragma once

#include <rocksdb/env.h>

#include <memory>

#include "base/file_system.h"

namespace levada::testing {

/// Threads and clocks are those of RocksDB's default.
std::unique_ptr<::rocksdb::Env> make_rocksdb_env(FileSystem& files);

}  // namespace levada::testing
