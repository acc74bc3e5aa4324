// The rows of the job benchmarks and the table of jobs: what the library's side and the bare side share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "levada/levada.h"

namespace bench {

using levada::Duration;
using levada::Timestamp;

/// One input row: 24 bytes.
struct Row {
  std::uint64_t key = 0;
  std::uint64_t value = 0;
  Timestamp at;
};
LEVADA_RECORD(Row, key, value, at)

/// The same with a key of 16 characters, which lie outside of the row.
struct TextRow {
  std::string key;
  std::uint64_t value = 0;
  Timestamp at;
};
LEVADA_RECORD(TextRow, key, value, at)

/// One output row of an aggregation. `total` is the sum, or the greatest value where a job asks for that.
struct Total {
  std::uint64_t key = 0;
  std::int64_t total = 0;
  std::int64_t count = 0;
};
LEVADA_RECORD(Total, key, total, count)

struct TextTotal {
  std::string key;
  std::int64_t total = 0;
  std::int64_t count = 0;
};
LEVADA_RECORD(TextTotal, key, total, count)

struct Job {
  std::string_view name;
  std::uint64_t keys;
  std::uint64_t rows_per_s;  ///< rows to a second of event time
  std::uint64_t rows;        ///< of one run, unless the command line says otherwise
  int parallelism = 1;
};

/// In the order of the table that the bench prints.
inline constexpr Job kJobs[] = {
    {"chain", 1'000, 1'000'000, 60'000'000},
    {"reduce_1k", 1'000, 1'000'000, 60'000'000},
    {"reduce_1m", 1'000'000, 1'000'000, 30'000'000},
    {"tumble_1k", 1'000, 1'000'000, 60'000'000},
    {"tumble_1m_dense", 1'000'000, 10'000'000, 40'000'000},
    {"tumble_1m", 1'000'000, 1'000'000, 20'000'000},
    {"slide_1k", 1'000, 1'000'000, 60'000'000},
    {"slide_1m", 1'000'000, 1'000'000, 30'000'000},
    {"slide_1m_max", 1'000'000, 1'000'000, 30'000'000},
    {"exchange_tumble_1k", 1'000, 1'000'000, 60'000'000, 2},
    {"exchange_tumble_1m_dense", 1'000'000, 10'000'000, 40'000'000, 2},
    {"reduce_1m_string", 1'000'000, 1'000'000, 20'000'000},
    {"tumble_1m_string", 1'000'000, 1'000'000, 20'000'000},
};

/// The job with this name; null when there is none.
const Job* find_job(std::string_view name);

/// The finaliser of SplitMix64: the generator's randomness, and the hash of the bare loops, which is then
/// as good as the library's (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
inline std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// Makes row i: keys uniform, values below 65,536, in order of time.
struct Generator {
  explicit Generator(const Job& job)
      : keys(job.keys), us_per_row(1e6 / static_cast<double>(job.rows_per_s)) {}

  std::uint64_t key_of(std::uint64_t random) const { return ((random >> 32) * keys) >> 32; }
  Timestamp time_of(std::uint64_t i) const {
    return Timestamp{Duration{static_cast<std::int64_t>(static_cast<double>(i) * us_per_row)}};
  }
  Row row(std::uint64_t i) const {
    const std::uint64_t random = mix(i);
    return {key_of(random), random & 0xffff, time_of(i)};
  }
  void text_row(std::uint64_t i, TextRow& row) const;

  std::uint64_t keys;
  double us_per_row;
};

/// 16 characters of the key: hexadecimal digits.
inline void text_key(std::uint64_t key, std::string& into) {
  static constexpr char kDigits[] = "0123456789abcdef";
  char text[16];
  for (char& c : text) {
    c = kDigits[key & 15];
    key >>= 4;
  }
  into.assign(text, sizeof text);
}

inline void Generator::text_row(std::uint64_t i, TextRow& row) const {
  const std::uint64_t random = mix(i);
  text_key(key_of(random), row.key);
  row.value = random & 0xffff;
  row.at = time_of(i);
}

/// What output rows come to, in any order.
struct Checksum {
  std::uint64_t rows = 0;
  std::uint64_t sum = 0;

  void add(std::uint64_t key, std::int64_t total, std::int64_t count) {
    ++rows;
    sum += key * 31 + static_cast<std::uint64_t>(total) * 7 + static_cast<std::uint64_t>(count);
  }
  void add(const std::string& key, std::int64_t total, std::int64_t count) {
    std::uint64_t head;
    std::memcpy(&head, key.data(), sizeof head);
    add(head, total, count);
  }
  bool operator==(const Checksum&) const = default;
};

/// The job without the library: a plain loop on the calling thread, `rows` rows.
Checksum run_bare(const Job& job, std::uint64_t rows);
/// The job as a program of the library. `checkpoint_directory` empty: without checkpoints.
Checksum run_levada(const Job& job, std::uint64_t rows, const std::string& checkpoint_directory);

}  // namespace bench
