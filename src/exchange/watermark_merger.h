// WatermarkMerger: the event time of several channels or splits as one: the minimum over the active ones.
//
// Invariants: 1. The merged watermark never goes back; a channel that becomes active behind it holds it
//                where it is.
//             2. When all are idle, the merged time is idle and its watermark the greatest seen: nobody
//                is left to be waited for.
//             3. An ended one counts as idle with everything seen; when all have ended nothing is held.
#pragma once

#include <cstddef>
#include <vector>

#include "levada/operator.h"

namespace levada {

class WatermarkMerger {
 public:
  explicit WatermarkMerger(std::size_t inputs) : inputs_(inputs) {}

  /// Input `input` is now at `time`. Returns true when the merged time changed.
  bool update(std::size_t input, const InputTime& time) {
    set(input, time);
    return merge();
  }
  /// The two halves of update(), for when many inputs change at once.
  void set(std::size_t input, const InputTime& time) { inputs_[input] = time; }
  bool merge();
  const InputTime& merged() const noexcept { return merged_; }

 private:
  std::vector<InputTime> inputs_;
  InputTime merged_;
};

}  // namespace levada
