#include "backends/rocksdb_tier.h"

#include <rocksdb/cache.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>

#include <cstdarg>
#include <cstdio>
#include <utility>

#include "base/file_system.h"
#include "base/mutex.h"
#include "levada/detail/cold_queue.h"
#include "levada/error.h"

namespace levada::rocksdb {
namespace {

namespace rdb = ::rocksdb;

constexpr double kBloomBitsPerKey = 10;
constexpr std::uint64_t kFilterPartBytes = 32 << 10;
constexpr std::string_view kManifestPrefix = "MANIFEST-";
constexpr std::string_view kTableSuffix = ".sst";
// Runs that may wait for their compaction before the next one waits for it.
constexpr std::uint64_t kRunsMax = 24;

void check(const rdb::Status& status, std::string_view doing, const std::string& path) {
  if (status.ok()) return;
  throw StateError("RocksDB cannot " + std::string(doing) + " '" + path + "': " + status.ToString());
}

rdb::Slice slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view view(const rdb::Slice& bytes) { return {bytes.data(), bytes.size()}; }

// RocksDB's own messages, for the log sink: what it warns of.
class Messages final : public rdb::Logger {
 public:
  explicit Messages(std::function<void(LogLevel, std::string_view)> log)
      : rdb::Logger(rdb::InfoLogLevel::WARN_LEVEL), log_(std::move(log)) {}
  using rdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    Logv(rdb::InfoLogLevel::HEADER_LEVEL, format, arguments);
  }
  void Logv(const rdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (!log_ || level < rdb::InfoLogLevel::WARN_LEVEL || level == rdb::InfoLogLevel::HEADER_LEVEL) return;
    char text[1024];
    std::vsnprintf(text, sizeof text, format, arguments);
    log_(level == rdb::InfoLogLevel::WARN_LEVEL ? LogLevel::kWarning : LogLevel::kError,
         std::string("RocksDB: ") + text);
  }

 private:
  std::function<void(LogLevel, std::string_view)> log_;
};

// Drops what has expired by the time its compaction began.
class ExpiryFilter final : public rdb::CompactionFilter {
 public:
  explicit ExpiryFilter(std::vector<ColdExpiry> expiries) : expiries_(std::move(expiries)) {}
  const char* Name() const override { return "levada.expiry"; }
  bool Filter(int, const rdb::Slice& key, const rdb::Slice& value, std::string*, bool*) const override {
    if (key.size() < detail::kColdPrefixBytes) return false;
    const std::uint32_t table = detail::cold_table(view(key));
    for (const ColdExpiry& expiry : expiries_) {
      if (expiry.table == table) return expiry.expired(view(value), expiry.before_us);
    }
    return false;
  }

 private:
  const std::vector<ColdExpiry> expiries_;
};

}  // namespace

class Expiries final : public rdb::CompactionFilterFactory {
 public:
  const char* Name() const override { return "levada.expiries"; }
  std::unique_ptr<rdb::CompactionFilter> CreateCompactionFilter(
      const rdb::CompactionFilter::Context&) override {
    MutexLock lock(mutex_);
    if (expiries_.empty()) return nullptr;
    return std::make_unique<ExpiryFilter>(expiries_);
  }
  void set(const ColdExpiry& expiry) {
    MutexLock lock(mutex_);
    for (ColdExpiry& known : expiries_) {
      if (known.table != expiry.table) continue;
      known = expiry;
      return;
    }
    expiries_.push_back(expiry);
  }

 private:
  Mutex mutex_;
  std::vector<ColdExpiry> expiries_ LEVADA_GUARDED_BY(mutex_);
};

class Ingestions final : public rdb::EventListener {
 public:
  void OnExternalFileIngested(rdb::DB*, const rdb::ExternalFileIngestionInfo& info) override {
    const std::string& path = info.internal_file_path;
    newest_ = path.substr(path.rfind('/'));
  }
  /// The name of the last one, as RocksDB lists it.
  const std::string& newest() const noexcept { return newest_; }

 private:
  std::string newest_;  // runs are taken in one at a time
};

namespace {

rdb::Options make_options(const Options& options, const Disk& disk, const ColdPlace& place,
                          std::shared_ptr<Expiries> expiries) {
  rdb::Options made;
  made.env = disk.env;
  made.compaction_filter_factory = std::move(expiries);
  made.create_if_missing = true;
  made.info_log = std::make_shared<Messages>(place.log);
  made.max_background_jobs = options.background_jobs;
  made.write_buffer_size = 64 << 10;  // not used
  made.avoid_flush_during_shutdown = true;
  made.max_open_files = 512;
  made.skip_stats_update_on_db_open = true;
  made.verify_sst_unique_id_in_manifest = false;  // files that were taken in have none, of which it warns
  made.stats_dump_period_sec = 0;
  made.stats_persist_period_sec = 0;
  made.max_manifest_file_size = 4 << 20;
  made.level0_file_num_compaction_trigger = 4;
  // They slow down writes, of which there are none: runs that wait for a compaction are seen to in ingest().
  made.level0_slowdown_writes_trigger = made.level0_stop_writes_trigger = 1 << 30;
  made.soft_pending_compaction_bytes_limit = made.hard_pending_compaction_bytes_limit = 0;
  made.target_file_size_base = 32 << 20;
  made.max_bytes_for_level_base = 128 << 20;
  made.compression = rdb::kLZ4Compression;
  rdb::BlockBasedTableOptions table;
  // In one piece: the few threads of a tier seldom wait for each other, and a part of a cache that is cut up for many
  // is too small for filters.
  table.block_cache = rdb::NewLRUCache(std::max<std::size_t>(place.memory_bytes, 1 << 20), 0);
  table.cache_index_and_filter_blocks = true;
  // Else a file's filter is one block of a megabyte or two, and read as a whole for a key when they do not all fit.
  table.index_type = rdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.metadata_block_size = kFilterPartBytes;
  table.filter_policy.reset(rdb::NewBloomFilterPolicy(kBloomBitsPerKey));
  table.format_version = 5;
  made.table_factory.reset(rdb::NewBlockBasedTableFactory(table));

  rdb::ConfigOptions how;
  how.ignore_unknown_options = false;
  rdb::DBOptions database(made);
  rdb::ColumnFamilyOptions family(made);
  check(rdb::GetDBOptionsFromString(how, database, options.database_options, &database), "use the options",
        options.database_options);
  check(rdb::GetColumnFamilyOptionsFromString(how, family, options.column_family_options, &family),
        "use the options", options.column_family_options);
  return rdb::Options(database, family);
}

class Cursor final : public ColdCursor {
 public:
  Cursor(rdb::DB& db, std::string path, std::string_view first, std::string_view last)
      : path_(std::move(path)), last_(last), bound_(last_) {
    rdb::ReadOptions how;
    how.iterate_upper_bound = &bound_;
    how.readahead_size = 256 << 10;
    how.fill_cache = false;
    at_.reset(db.NewIterator(how));
    at_->Seek(slice(first));
  }
  bool valid() override {
    if (at_->Valid()) return true;
    check(at_->status(), "read", path_);
    return false;
  }
  std::string_view key() override { return view(at_->key()); }
  std::string_view value() override { return view(at_->value()); }
  void next() override { at_->Next(); }
  void seek(std::string_view key) override { at_->Seek(slice(key)); }

 private:
  std::string path_;
  Bytes last_;
  rdb::Slice bound_;
  std::unique_ptr<rdb::Iterator> at_;
};

}  // namespace

Disk local_disk() { return {&local_file_system(), rdb::Env::Default()}; }

RocksDbTier::RocksDbTier(const Options& options, const Disk& disk, const ColdPlace& place, const ColdImage* image)
    : disk_(disk),
      path_(join_path(join_path(options.directory, place.job), place.name)),
      expiries_(std::make_shared<Expiries>()),
      ingestions_(std::make_shared<Ingestions>()),
      options_(make_options(options, disk, place, expiries_)) {
  options_.listeners.push_back(ingestions_);
  remove(disk_, path_);
  try {
    open(image);
  } catch (...) {
    remove_quietly();
    throw;
  }
}

void RocksDbTier::open(const ColdImage* image) {
  disk_.files->create_directories(path_);
  if (image != nullptr) restore(*image);
  rdb::DB* db = nullptr;
  check(rdb::DB::Open(options_, path_, &db), "open", path_);
  db_.reset(db);
}

RocksDbTier::~RocksDbTier() {
  rdb::CancelAllBackgroundWork(db_.get(), true);
  db_->Close();
  db_.reset();
  remove_quietly();
}

void RocksDbTier::remove_quietly() noexcept {
  try {
    remove(disk_, path_);
  } catch (...) {
    // The next start does.
  }
}

void RocksDbTier::remove(const Disk& disk, const std::string& path) {
  FileSystem& files = *disk.files;
  if (!files.exists(path)) return;
  rdb::Options options;
  options.env = disk.env;
  check(rdb::DestroyDB(path, options), "delete what an earlier start left in", path);
  if (!files.exists(path)) return;
  // What that does not know: runs that were not taken in, files of a restore that was cut short.
  for (const std::string& name : files.list(path)) files.remove(join_path(path, name));
  files.remove_directory(path);
}

void RocksDbTier::restore(const ColdImage& image) {
  std::string manifest;
  for (const std::string& name : image.names()) {
    const std::string path = join_path(path_, name);
    if (name.ends_with(kTableSuffix)) {
      image.link(name, path);
      continue;
    }
    if (name.starts_with(kManifestPrefix)) manifest = name;
    const auto file = disk_.files->create(path);  // a copy: these grow
    file->append(image.read(name));
    file->close();
  }
  if (manifest.empty()) throw StateError("the checkpoint of '" + path_ + "' has no manifest of RocksDB");
  const auto current = disk_.files->create(join_path(path_, "CURRENT"));
  current->append(manifest + "\n");
  current->close();
}

void RocksDbTier::get(std::span<const std::string_view> keys, ColdValues& into) {
  const std::size_t count = keys.size();
  into.values.resize(count);
  into.found.assign(count, false);
  slices_.clear();
  for (const std::string_view key : keys) slices_.push_back(slice(key));
  values_.clear();
  values_.resize(count);
  statuses_.resize(count);
  db_->MultiGet(rdb::ReadOptions(), db_->DefaultColumnFamily(), count, slices_.data(), values_.data(),
                statuses_.data(), true);
  for (std::size_t i = 0; i < count; ++i) {
    if (statuses_[i].IsNotFound()) continue;
    check(statuses_[i], "read", path_);
    into.values[i].assign(values_[i].data(), values_[i].size());
    into.found[i] = true;
  }
}

std::unique_ptr<ColdCursor> RocksDbTier::scan(std::string_view first, std::string_view last) {
  return std::make_unique<Cursor>(*db_, path_, first, last);
}

template <class Write>
void RocksDbTier::ingest(Write write) {
  const std::string file = join_path(path_, "run-" + std::to_string(++runs_));
  rdb::SstFileWriter writer(rdb::EnvOptions(), options_, db_->DefaultColumnFamily());
  check(writer.Open(file), "create", file);
  write(writer, file);
  rdb::ExternalSstFileInfo written;
  check(writer.Finish(&written), "write", file);
  rdb::IngestExternalFileOptions how;
  how.move_files = true;
  how.write_global_seqno = false;  // else files would be written again, hard links of them included
  how.allow_blocking_flush = false;
  check(db_->IngestExternalFile({file}, how), "take in", file);
  const bool ranges = written.num_range_del_entries > 0;
  check_bounds(file, ranges ? written.smallest_range_del_key : written.smallest_key,
               ranges ? written.largest_range_del_key : written.largest_key);
  std::uint64_t waiting = 0;
  if (db_->GetIntProperty("rocksdb.num-files-at-level0", &waiting) && waiting > kRunsMax) compact_runs();
}

// RocksDB reads a run's first and last key when it takes it in, and does not look whether it could (7.8): with wrong
// bounds its entries would not be found. One that a compaction has taken away already, within this moment, is not seen.
void RocksDbTier::check_bounds(const std::string& file, const std::string& first, const std::string& last) const {
  std::vector<rdb::LiveFileMetaData> files;
  db_->GetLiveFilesMetaData(&files);
  for (const rdb::LiveFileMetaData& known : files) {
    if (known.name != ingestions_->newest()) continue;
    if (known.smallestkey == first && known.largestkey == last) return;
    throw StateError("RocksDB could not read '" + file + "' when it took it in");
  }
}

// Compactions do not keep up: the next run waits for one. It is no error when RocksDB has begun it already.
void RocksDbTier::compact_runs() {
  std::vector<rdb::LiveFileMetaData> files;
  db_->GetLiveFilesMetaData(&files);
  std::vector<std::string> runs;
  for (const rdb::LiveFileMetaData& file : files) {
    if (file.level == 0) runs.push_back(file.name);
  }
  rdb::CompactionOptions how;
  how.compression = rdb::kDisableCompressionOption;  // as the column family says
  if (!runs.empty()) static_cast<void>(db_->CompactFiles(how, runs, 1));
}

void RocksDbTier::take_in(const ColdRun& run) {
  ingest([&](rdb::SstFileWriter& writer, const std::string& file) {
    for (const std::uint32_t i : run.sorted()) {
      const ColdRun::Entry& entry = run.entries()[i];
      const rdb::Slice key = slice(run.key(entry));
      check(entry.removed ? writer.Delete(key) : writer.Put(key, slice(run.value(entry))), "write", file);
    }
  });
}

void RocksDbTier::remove_ranges(const std::vector<std::pair<Bytes, Bytes>>& ranges) {
  ingest([&](rdb::SstFileWriter& writer, const std::string& file) {
    for (const auto& [first, last] : ranges) {
      check(writer.DeleteRange(slice(first), slice(last)), "write", file);
    }
  });
}

void RocksDbTier::expire(const ColdExpiry& expiry) { expiries_->set(expiry); }

void RocksDbTier::write_checkpoint(ColdFiles& into) {
  check(db_->DisableFileDeletions(), "read", path_);
  // The guard of a function: files may be deleted again however it ends.
  const std::unique_ptr<rdb::DB, void (*)(rdb::DB*)> enabled(
      db_.get(), [](rdb::DB* db) { db->EnableFileDeletions(false); });
  std::vector<std::string> names;
  std::uint64_t manifest_bytes = 0;
  check(db_->GetLiveFiles(names, &manifest_bytes, false), "read", path_);
  for (std::string& name : names) {
    name.erase(0, 1);  // the slash
    const std::string path = join_path(path_, name);
    if (name.ends_with(kTableSuffix)) {
      into.link(name, path);
    } else if (name.starts_with(kManifestPrefix)) {
      Bytes bytes;
      disk_.files->open(path)->read(0, manifest_bytes, bytes);
      into.write(name, bytes);
    }
  }
}

namespace {

class Backend final : public ColdBackend {
 public:
  Backend(const Options& options, const Disk& disk) : options_(options), disk_(disk) {}
  std::size_t cache_sixteenths() const override {
    return static_cast<std::size_t>(options_.cache_sixteenths);
  }
  void clear(const std::string& job) const override {
    const std::string path = join_path(options_.directory, job);
    if (!disk_.files->exists(path)) return;
    for (const std::string& name : disk_.files->list(path)) RocksDbTier::remove(disk_, join_path(path, name));
  }
  std::unique_ptr<ColdTier> open(const ColdPlace& place, const ColdImage* image) const override {
    return std::make_unique<RocksDbTier>(options_, disk_, place, image);
  }

 private:
  const Options options_;
  const Disk disk_;
};

}  // namespace

std::shared_ptr<const ColdBackend> make_backend(const Options& options, const Disk& disk) {
  return std::make_shared<const Backend>(options, disk);
}

StateBackendOptions state(Options options, std::source_location where) {
  std::vector<GraphProblem> problems;
  if (options.directory.empty()) problems.push_back({"rocksdb::state: give it a directory", where});
  if (options.cache_sixteenths < 1 || options.cache_sixteenths > 12) {
    problems.push_back({"rocksdb::state: cache_sixteenths is from 1 to 12, not " +
                            std::to_string(options.cache_sixteenths),
                        where});
  }
  if (!problems.empty()) throw GraphError(std::move(problems));
  return {.cold = make_backend(options, local_disk())};
}

}  // namespace levada::rocksdb
