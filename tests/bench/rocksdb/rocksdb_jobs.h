// The jobs that measure state in RocksDB, and what their sides share.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "rows.h"

namespace bench {

struct ColdJob {
  std::string_view name;
  std::uint64_t keys;
  std::uint64_t rows_per_s;  ///< rows to a second of event time
  std::uint64_t rows;
  std::size_t memory;        ///< the job's budget
  bool zipf = false;         ///< Zipf's distribution with exponent 0.99 instead of an even one
  bool bare = false;         ///< measured beside bare RocksDB, else beside state in memory
  bool alone = false;        ///< beside nothing: what counts is that its memory stays within the budget
  bool text = false;         ///< keys are strings of 16 bytes
};

inline constexpr ColdJob kColdJobs[] = {
    {"rocksdb_reduce_1k", 1'000, 1'000'000, 500'000'000, std::size_t{1} << 30},
    {"rocksdb_reduce_10m", 10'000'000, 1'000'000, 40'000'000, std::size_t{6} << 30},
    {"rocksdb_tumble_1m", 1'000'000, 1'000'000, 120'000'000, std::size_t{2} << 30},
    {"rocksdb_slide_1k", 1'000, 1'000'000, 500'000'000, std::size_t{1} << 30},
    {"rocksdb_reduce_10m_zipf", 10'000'000, 1'000'000, 10'000'000, std::size_t{256} << 20, true, true},
    {"rocksdb_reduce_10m_uniform", 10'000'000, 1'000'000, 5'000'000, std::size_t{256} << 20, false, true},
    {"rocksdb_map_1m", 1'000'000, 1'000'000, 5'000'000, std::size_t{2} << 30},
    {"rocksdb_reduce_50m", 50'000'000, 1'000'000, 60'000'000, std::size_t{512} << 20, false, false, true},
    {"rocksdb_reduce_10m_string", 10'000'000, 1'000'000, 20'000'000, std::size_t{512} << 20, false, false, true, true},
};

/// Makes row i. Zipf's: the approximation of Gray and others, "Quickly Generating Billion-Record Synthetic
/// Databases", 1994; ranks are scattered over the keys.
struct ColdRows {
  explicit ColdRows(const ColdJob& job)
      : keys(job.keys),
        us_per_row(1e6 / static_cast<double>(job.rows_per_s)),
        zipf(job.zipf),
        in_turn(job.alone) {
    if (!zipf) return;
    double zeta_2 = 0;
    for (std::uint64_t i = 1; i <= keys; ++i) {
      zeta += std::pow(1.0 / static_cast<double>(i), kExponent);
      if (i == 2) zeta_2 = zeta;
    }
    eta = (1 - std::pow(2.0 / static_cast<double>(keys), 1 - kExponent)) / (1 - zeta_2 / zeta);
  }

  Row row(std::uint64_t i) const {
    const std::uint64_t random = mix(i);
    return {zipf      ? drawn(random)
            : in_turn ? i * kStride % keys
                      : ((random >> 32) * keys) >> 32,
            random & 0xffff,
            Timestamp{Duration{static_cast<std::int64_t>(static_cast<double>(i) * us_per_row)}}};
  }
  std::uint64_t drawn(std::uint64_t random) const {
    const double u = static_cast<double>(random >> 11) * 0x1p-53;
    const double at = u * zeta;
    std::uint64_t rank = 0;
    if (at >= 1) {
      rank = at < 1 + std::pow(0.5, kExponent)
                 ? 1
                 : static_cast<std::uint64_t>(static_cast<double>(keys) *
                                              std::pow(eta * u - eta + 1, 1 / (1 - kExponent)));
    }
    return mix(rank) % keys;
  }

  static constexpr double kExponent = 0.99;
  static constexpr std::uint64_t kStride = 2'654'435'761;  // prime: all keys come before one comes again
  std::uint64_t keys;
  double us_per_row;
  bool zipf;
  bool in_turn;  ///< where memory is what counts: there are as many keys as the job says
  double zeta = 0, eta = 0;
};

/// Adds what is kept of a key, so that no two keys could have changed places.
inline void add_kept(Checksum& checksum, std::uint64_t key, std::int64_t total, std::int64_t count) {
  const std::uint64_t value = mix(static_cast<std::uint64_t>(total) ^ mix(static_cast<std::uint64_t>(count)));
  checksum.add(mix(key ^ value), 0, 0);
}

struct BareOutcome {
  Checksum output;
  Checksum state;    ///< of what is in RocksDB at the end
  double cpu_s = 0, wall_s = 0;  ///< until all rows were taken
  std::uint64_t written_bytes = 0;
};

/// What this process has written to the disk.
std::uint64_t written_bytes();

/// The rolling reduce by hand: rows in batches, their keys sorted and each once, a MultiGet, a WriteBatch
/// without a log, a flush each second; block cache and write buffers within `memory_bytes`.
BareOutcome run_bare_rocksdb(const ColdJob& job, std::uint64_t rows, const std::string& directory,
                             std::size_t memory_bytes);

}  // namespace bench
