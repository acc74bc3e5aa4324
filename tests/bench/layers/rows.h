// The row of the layers' benchmarks, and what several of them share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "levada/batch.h"
#include "levada/serde.h"

namespace bench {

using levada::Batch;
using levada::BatchPtr;
using levada::Duration;
using levada::Timestamp;

constexpr std::size_t kBatchRows = 1024;
constexpr int kKeyGroups = 128;

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

/// What aggregations keep.
struct Sum {
  std::int64_t total = 0;
  std::int64_t count = 0;
};
LEVADA_RECORD(Sum, total, count)

/// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014).
inline std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// Key number n: itself, or 16 characters of it.
template <class K>
K make_key(std::uint64_t n) {
  if constexpr (std::is_same_v<K, std::string>) {
    std::string text(16, '0');
    for (char& c : text) {
      c = static_cast<char>('a' + n % 16);
      n /= 16;
    }
    return text;
  } else {
    return n;
  }
}

/// A full batch of rows with uniform keys below `keys`, their times and hashes; row i of them is row
/// `first` + i of the stream, a microsecond after the one before.
template <class R>
BatchPtr make_batch(std::uint64_t first, std::uint64_t keys, std::size_t count = kBatchRows) {
  BatchPtr batch = Batch::make(levada::batch_type<R>(), count);
  R* rows = batch->template rows<R>();
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t random = mix(first + i);
    rows[i].key = make_key<decltype(rows[i].key)>(((random >> 32) * keys) >> 32);
    rows[i].value = random & 0xffff;
    rows[i].at = Timestamp{Duration{static_cast<std::int64_t>(first + i)}};
    batch->times()[i] = rows[i].at;
    batch->hashes()[i] = levada::hash_of(rows[i].key);
  }
  batch->set_size(count);
  batch->set_has_hashes(true);
  return batch;
}

/// Many different batches, to go round: keys are not learnt by the branch predictor.
template <class R>
std::vector<BatchPtr> make_batches(std::size_t count, std::uint64_t keys) {
  std::vector<BatchPtr> batches;
  for (std::size_t i = 0; i < count; ++i) batches.push_back(make_batch<R>(i * kBatchRows, keys));
  return batches;
}

}  // namespace bench
