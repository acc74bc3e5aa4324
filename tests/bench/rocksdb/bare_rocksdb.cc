#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "cpu_time.h"
#include "rocksdb_jobs.h"

namespace bench {
namespace {

constexpr std::size_t kBatchRows = 1024;

struct Value {
  std::int64_t total = 0, count = 0;
};

void check(const rocksdb::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

// Big-endian: what is near each other is in one block.
void put_key(std::uint64_t key, char* into) {
  for (int i = 0; i < 8; ++i) into[i] = static_cast<char>(key >> (56 - 8 * i));
}

std::uint64_t get_key(const char* from) {
  std::uint64_t key = 0;
  for (int i = 0; i < 8; ++i) key = key << 8 | static_cast<unsigned char>(from[i]);
  return key;
}

}  // namespace

BareOutcome run_bare_rocksdb(const ColdJob& job, std::uint64_t rows, const std::string& directory,
                             std::size_t memory_bytes) {
  const auto begun = std::chrono::steady_clock::now();
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = memory_bytes / 8;
  options.max_write_buffer_number = 2;
  options.compression = rocksdb::kLZ4Compression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(memory_bytes - memory_bytes / 4);
  table.cache_index_and_filter_blocks = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  rocksdb::DB* opened = nullptr;
  check(rocksdb::DB::Open(options, directory, &opened));
  const std::unique_ptr<rocksdb::DB> db(opened);

  const ColdRows source(job);
  BareOutcome outcome;
  rocksdb::WriteOptions how;
  how.disableWAL = true;
  how.memtable_insert_hint_per_batch = true;
  auto flushed = std::chrono::steady_clock::now();
  std::vector<Row> batch(kBatchRows);
  for (std::uint64_t at = 0; at < rows; at += kBatchRows) {
    const std::size_t count = std::min<std::uint64_t>(kBatchRows, rows - at);
    std::vector<std::uint64_t> keys;
    for (std::size_t i = 0; i < count; ++i) {
      batch[i] = source.row(at + i);
      keys.push_back(batch[i].key);
    }
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    std::vector<char> bytes(keys.size() * 8);
    std::vector<rocksdb::Slice> slices;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      put_key(keys[i], &bytes[i * 8]);
      slices.emplace_back(&bytes[i * 8], 8);
    }
    std::vector<rocksdb::PinnableSlice> found(keys.size());
    std::vector<rocksdb::Status> statuses(keys.size());
    db->MultiGet(rocksdb::ReadOptions(), db->DefaultColumnFamily(), keys.size(), slices.data(), found.data(),
                 statuses.data(), true);
    std::vector<Value> values(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (statuses[i].ok()) std::memcpy(&values[i], found[i].data(), sizeof(Value));
    }
    for (std::size_t i = 0; i < count; ++i) {
      const auto place = std::lower_bound(keys.begin(), keys.end(), batch[i].key) - keys.begin();
      Value& value = values[static_cast<std::size_t>(place)];
      value.total += static_cast<std::int64_t>(batch[i].value);
      ++value.count;
      outcome.output.add(batch[i].key, value.total, value.count);
    }
    rocksdb::WriteBatch writes;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      writes.Put(slices[i], {reinterpret_cast<const char*>(&values[i]), sizeof(Value)});
    }
    check(db->Write(how, &writes));
    if (std::chrono::steady_clock::now() - flushed < std::chrono::seconds(1)) continue;
    check(db->Flush(rocksdb::FlushOptions()));
    flushed = std::chrono::steady_clock::now();
  }
  check(db->Flush(rocksdb::FlushOptions()));
  outcome.cpu_s = cpu_seconds();
  outcome.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  outcome.written_bytes = written_bytes();
  const std::unique_ptr<rocksdb::Iterator> all(db->NewIterator(rocksdb::ReadOptions()));
  for (all->SeekToFirst(); all->Valid(); all->Next()) {
    Value value;
    std::memcpy(&value, all->value().data(), sizeof(Value));
    add_kept(outcome.state, get_key(all->key().data()), value.total, value.count);
  }
  check(all->status());
  return outcome;
}

}  // namespace bench
