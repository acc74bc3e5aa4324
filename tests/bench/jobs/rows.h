// The rows of the job benchmarks and the table of jobs: what the library's side and the bare side share.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

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

/// Which keys rows have.
enum class Keys {
  kUniform,
  kZipf,   ///< drawn from Zipf's distribution with exponent 1.2, the skew of much traffic
  kDrawn,  ///< uniform, but drawn the way kZipf is: what a skewed job is measured beside
};

/// What a job may cost.
struct Limit {
  double ratio = 0;                ///< to its bare loop, or to `beside`; 0: only `ns` counts
  std::string_view beside{};       ///< the job that `ratio` speaks of; empty: the bare loop
  double ns = 0;                   ///< CPU time a row on a quiet machine; 0: only the ratio counts
};

struct Job {
  std::string_view name;
  std::uint64_t keys;
  std::uint64_t rows_per_s;  ///< rows to a second of event time
  std::uint64_t rows;        ///< of one run, unless the command line says otherwise
  int parallelism = 1;
  Limit limit{};
  Keys drawn = Keys::kUniform;
};

/// In the order of the table that the bench prints.
inline constexpr Job kJobs[] = {
    {"chain", 1'000, 1'000'000, 60'000'000, 1, {.ratio = 1.30, .ns = 6.1}},
    {"reduce_1k", 1'000, 1'000'000, 60'000'000, 1, {.ratio = 1.31, .ns = 8}},
    {"reduce_1m", 1'000'000, 1'000'000, 30'000'000, 1, {.ratio = 1.50, .ns = 21}},
    {"process_1k", 1'000, 1'000'000, 60'000'000, 1, {.ratio = 1.5, .beside = "reduce_1k"}},
    {"process_1m", 1'000'000, 1'000'000, 30'000'000, 1, {.ratio = 1.5, .beside = "reduce_1m"}},
    {"tumble_1k", 1'000, 1'000'000, 60'000'000, 1, {.ratio = 0.98, .ns = 6}},
    {"tumble_1m_dense", 1'000'000, 10'000'000, 40'000'000, 1, {.ratio = 1.14, .ns = 21}},
    {"tumble_1m", 1'000'000, 1'000'000, 20'000'000, 1, {.ratio = 1.50, .ns = 30}},
    {"slide_1k", 1'000, 1'000'000, 60'000'000, 1, {.ratio = 1.00, .ns = 6}},
    {"slide_1m", 1'000'000, 1'000'000, 30'000'000, 1, {.ratio = 1.43, .ns = 60}},
    {"slide_1m_max", 1'000'000, 1'000'000, 30'000'000, 1, {.ratio = 2, .beside = "slide_1m"}},
    {"exchange_tumble_1k", 1'000, 1'000'000, 60'000'000, 2, {.ratio = 1.93, .ns = 8.5}},
    {"exchange_tumble_1m_dense", 1'000'000, 10'000'000, 40'000'000, 2, {.ns = 30}},
    {"reduce_1m_string", 1'000'000, 1'000'000, 20'000'000, 1, {.ratio = 2.5, .beside = "reduce_1m"}},
    {"tumble_1m_string", 1'000'000, 1'000'000, 20'000'000, 1, {.ratio = 2.5, .beside = "tumble_1m"}},
};

/// Not of the table: skewed keys, and each beside them the same with even ones.
inline constexpr Job kSkewedJobs[] = {
    {"zipf_reduce_1k", 1'000, 1'000'000, 60'000'000, 2, {}, Keys::kZipf},
    {"even_reduce_1k", 1'000, 1'000'000, 60'000'000, 2, {}, Keys::kDrawn},
    {"zipf_reduce_1m", 1'000'000, 1'000'000, 30'000'000, 2, {}, Keys::kZipf},
    {"even_reduce_1m", 1'000'000, 1'000'000, 30'000'000, 2, {}, Keys::kDrawn},
    {"zipf_tumble_1k", 1'000, 1'000'000, 60'000'000, 2, {}, Keys::kZipf},
    {"even_tumble_1k", 1'000, 1'000'000, 60'000'000, 2, {}, Keys::kDrawn},
    {"zipf_tumble_1m", 1'000'000, 10'000'000, 40'000'000, 2, {}, Keys::kZipf},
    {"even_tumble_1m", 1'000'000, 10'000'000, 40'000'000, 2, {}, Keys::kDrawn},
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

/// The same with keys that are looked up in a table of 2^20 draws, which costs the same whatever their
/// distribution.
struct DrawnGenerator : Generator {
  explicit DrawnGenerator(const Job& job) : Generator(job), draws(make_draws(job)) {}

  static constexpr int kDrawBits = 20;
  static std::shared_ptr<const std::vector<std::uint32_t>> make_draws(const Job& job);

  Row row(std::uint64_t i) const {
    const std::uint64_t random = mix(i);
    return {(*draws)[random >> (64 - kDrawBits)], random & 0xffff, time_of(i)};
  }

  std::shared_ptr<const std::vector<std::uint32_t>> draws;
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

struct LevadaOptions {
  std::string checkpoint_directory{};  ///< empty: without checkpoints, else one a second
  std::size_t memory = 0;              ///< budget in bytes; 0: the default
};

struct LevadaRun {
  Checksum checksum;
  std::uint64_t checkpoints = 0;  ///< complete ones
};

/// The job as a program of the library.
LevadaRun run_levada(const Job& job, std::uint64_t rows, const LevadaOptions& options);

}  // namespace bench
