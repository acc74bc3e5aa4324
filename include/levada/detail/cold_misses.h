// ColdMisses: the keys of a batch that a table does not have, looked up in its cold tier together.
//
// Threads: of the table's task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "levada/bytes.h"
#include "levada/cold_tier.h"

namespace levada::detail {

class ColdMisses {
 public:
  void clear() {
    misses_.clear();
    bytes_.clear();
  }
  bool empty() const { return misses_.empty(); }
  /// A key is appended to bytes(), then add() is called.
  Bytes& bytes() { return bytes_; }
  void add() {
    const std::size_t at = misses_.empty() ? 0 : misses_.back().at + misses_.back().bytes;
    misses_.push_back({at, bytes_.size() - at});
  }

  /// Looks up each key once. From then on found(i) and its like, i < size(), ascending by key.
  void look_up(ColdTier& tier);
  std::size_t size() const { return keys_.size(); }
  bool found(std::size_t i) const { return values_.found[i]; }
  std::string_view key(std::size_t i) const { return keys_[i]; }
  std::string_view value(std::size_t i) const { return values_.values[i]; }

 private:
  struct Miss {
    std::size_t at = 0;
    std::size_t bytes = 0;
  };

  std::vector<Miss> misses_;
  Bytes bytes_;
  std::vector<std::string_view> keys_;
  ColdValues values_;
};

}  // namespace levada::detail
