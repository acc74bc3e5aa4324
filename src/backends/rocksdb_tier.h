// RocksDbTier: a cold tier in a RocksDB database of its own. Its memtable is not used: a run becomes one sorted
// file that is ingested, so nothing flushes, and there is no log. Files are never written again once they are
// there, so checkpoints may share them.
//
// Threads:  as the contract says. RocksDB compacts in threads of its own.
// Failures: StateError with RocksDB's words.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/options.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "levada/cold_tier.h"
#include "levada/rocksdb.h"

namespace levada::rocksdb {

/// What compactions may drop, for the filters that they ask for.
class Expiries;
/// Hears how RocksDB calls what it takes in.
class Ingestions;

/// A disk as we see it and as RocksDB does: the local one, but for tests.
struct Disk {
  FileSystem* files = nullptr;
  ::rocksdb::Env* env = nullptr;
};
Disk local_disk();

/// The backend of state(), with its databases on `disk`.
std::shared_ptr<const ColdBackend> make_backend(const Options& options, const Disk& disk);

class RocksDbTier final : public ColdTier {
 public:
  RocksDbTier(const Options& options, const Disk& disk, const ColdPlace& place, const ColdImage* image);
  /// Deletes the database of a folder, and the folder. StateError when the database is open.
  static void remove(const Disk& disk, const std::string& path);
  /// Closes the database and deletes it.
  ~RocksDbTier() override;

  void get(std::span<const std::string_view> keys, ColdValues& into) override;
  std::unique_ptr<ColdCursor> scan(std::string_view first, std::string_view last) override;
  void take_in(const ColdRun& run) override;
  void remove_ranges(const std::vector<std::pair<Bytes, Bytes>>& ranges) override;
  /// Compactions drop it.
  void expire(const ColdExpiry& expiry) override;
  void write_checkpoint(ColdFiles& into) override;

 private:
  void open(const ColdImage* image);
  void restore(const ColdImage& image);
  void remove_quietly() noexcept;
  template <class Write>
  void ingest(Write write);
  void check_bounds(const std::string& file, const std::string& first, const std::string& last) const;
  void compact_runs();

  const Disk disk_;
  std::string path_;
  std::shared_ptr<Expiries> expiries_;
  std::shared_ptr<Ingestions> ingestions_;
  ::rocksdb::Options options_;
  std::unique_ptr<::rocksdb::DB> db_;
  std::uint64_t runs_ = 0;
  std::vector<::rocksdb::Slice> slices_;
  std::vector<::rocksdb::PinnableSlice> values_;
  std::vector<::rocksdb::Status> statuses_;
};

}  // namespace levada::rocksdb
