// A typed table of sums by key with everything that its use needs, for the benchmarks of tables and state.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/rows.h"
#include "levada/detail/typed_table.h"

namespace bench {

template <class K>
class KeyTable {
 public:
  using Table = levada::detail::TypedTable<K, Sum>;
  using KeyView = typename Table::KeyView;

  /// `keys` keys, and at least as many draws of them, at least 2^20: with few, caches would know them all.
  explicit KeyTable(std::uint64_t keys) : keys_(keys) {
    for (std::uint64_t i = 0; i < std::uint64_t{1} << 20; ++i) {
      drawn_.push_back(make_key<K>(((mix(i) >> 32) * keys) >> 32));
      hashes_.push_back(levada::hash_of(drawn_.back()));
    }
  }

  std::size_t draws() const { return drawn_.size(); }
  Table& table() { return table_; }
  auto& space() { return table_.space(0); }

  /// Each key once.
  void fill() {
    for (std::uint64_t n = 0; n < keys_; ++n) {
      const K key = make_key<K>(n);
      ++table_.at(space(), levada::hash_of(key), Table::Key::view(key, key_bytes_)).value.count;
    }
  }
  /// What an operator does with a batch. REQUIRES: first + count <= draws().
  void add_rows(std::size_t first, std::size_t count) {
    table_.visit(
        space(), hashes_.data(),
        [&](std::size_t i) -> KeyView { return Table::Key::view(drawn_[i], key_bytes_); }, first,
        first + count, [](std::size_t i, auto& entry) {
          entry.value.total += static_cast<std::int64_t>(i);
          ++entry.value.count;
        });
  }
  auto& entry_of(std::size_t i) {
    return table_.at(space(), hashes_[i], Table::Key::view(drawn_[i], key_bytes_));
  }

 private:
  std::uint64_t keys_;
  std::vector<K> drawn_;
  std::vector<std::uint64_t> hashes_;
  levada::MemoryShare share_{"state", std::size_t{4} << 30};
  Table table_{"sums", "bench", {0, kKeyGroups}, kKeyGroups, share_};
  levada::Bytes key_bytes_;
};

}  // namespace bench
