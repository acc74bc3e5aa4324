// KeyGroupBlocks: what rows captured of a table, sorted into blocks of one key group each, as state files have them.
//
// Threads:    one at a time.
// Invariants: a block goes on when it has kBlockBytes, or when its namespace has ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "levada/detail/block_buffer.h"
#include "levada/state_backend.h"

namespace levada {

class KeyGroupBlocks {
 public:
  static constexpr std::size_t kBlockBytes = detail::BlockBuffer::kBlockBytes;
  /// May take the block's bytes; else their memory serves the next one.
  using Take = std::function<void(StateBlock&)>;

  /// Gives `take` the blocks that have come to be full.
  void add(const CapturedRows& rows, const Take& take);
  /// Gives it others, of namespaces that have ended, until those have come to `most` bytes. False: none is left.
  bool give_rest(std::size_t most, const Take& take);
  /// The memory of what is not given away yet.
  std::size_t memory_bytes() const noexcept { return memory_bytes_; }

 private:
  // Two of each key group from the first: of entries, and of keys that are gone.
  using Groups = std::vector<StateBlock>;

  void append(StateBlock& block, std::string_view entry);
  void give(StateBlock& block, const Take& take);

  std::map<std::int64_t, Groups> spaces_;
  std::vector<Groups> ended_;
  std::size_t memory_bytes_ = 0;
};

}  // namespace levada
