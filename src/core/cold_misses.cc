#include "levada/detail/cold_misses.h"

#include <algorithm>

namespace levada::detail {

void ColdMisses::look_up(ColdTier& tier) {
  keys_.clear();
  for (const Miss& miss : misses_) keys_.push_back(std::string_view(bytes_).substr(miss.at, miss.bytes));
  std::sort(keys_.begin(), keys_.end());
  keys_.erase(std::unique(keys_.begin(), keys_.end()), keys_.end());
  tier.get(keys_, values_);
}

}  // namespace levada::detail
