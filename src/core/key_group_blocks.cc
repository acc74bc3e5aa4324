#include "core/key_group_blocks.h"

#include <algorithm>
#include <utility>

namespace levada {
namespace {

std::size_t memory_of(const Bytes& bytes) {
  const std::size_t capacity = bytes.capacity();
  return capacity == Bytes().capacity() ? 0 : capacity;
}

}  // namespace

void KeyGroupBlocks::add(const CapturedRows& rows, const Take& take) {
  Groups& groups = spaces_[rows.name_space];
  for (View left(rows.bytes); !left.empty();) {
    const CapturedRows::Entry entry = CapturedRows::take(left);
    const std::size_t at = 2 * std::size_t{entry.index} + entry.removed;
    if (at >= groups.size()) groups.resize((at | 1) + 1);
    StateBlock& block = groups[at];
    if (block.entries == 0) {
      block.name_space = rows.name_space;
      block.key_group = rows.first_key_group + entry.index;
      block.removed = entry.removed;
    }
    append(block, entry.bytes);
    if (block.bytes.size() >= kBlockBytes) give(block, take);
  }
  if (!rows.last) return;
  ended_.push_back(std::move(groups));
  spaces_.erase(rows.name_space);
}

bool KeyGroupBlocks::give_rest(std::size_t most, const Take& take) {
  for (std::size_t given = 0; !ended_.empty(); ended_.pop_back()) {
    for (Groups& groups = ended_.back(); !groups.empty(); groups.pop_back()) {
      StateBlock& block = groups.back();
      if (block.entries > 0) {
        if (given >= most) return true;
        given += block.bytes.size();
        give(block, take);
      }
      memory_bytes_ -= memory_of(block.bytes);
    }
  }
  return false;
}

void KeyGroupBlocks::append(StateBlock& block, std::string_view entry) {
  const std::size_t size = block.bytes.size() + entry.size();
  if (size > block.bytes.capacity()) {
    memory_bytes_ -= memory_of(block.bytes);
    block.bytes.reserve(std::max(size, std::min(2 * size, kBlockBytes)));
    memory_bytes_ += memory_of(block.bytes);
  }
  block.bytes += entry;
  ++block.entries;
}

void KeyGroupBlocks::give(StateBlock& block, const Take& take) {
  memory_bytes_ -= memory_of(block.bytes);
  take(block);
  block.entries = 0;
  block.bytes.clear();
  memory_bytes_ += memory_of(block.bytes);
}

}  // namespace levada
