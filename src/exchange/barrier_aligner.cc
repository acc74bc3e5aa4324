#include "exchange/barrier_aligner.h"

#include <algorithm>
#include <string>

#include "levada/assert.h"

namespace levada {

std::optional<Barrier> BarrierAligner::deliver(std::size_t channel, const Barrier& barrier) {
  if (aligning_ && barrier.checkpoint > current_.checkpoint) release();
  if (!aligning_) {
    if (barrier.checkpoint <= last_seen_) return std::nullopt;
    aligning_ = true;
    current_ = barrier;
    last_seen_ = barrier.checkpoint;
  }
  if (barrier.checkpoint < current_.checkpoint) return std::nullopt;
  LEVADA_ASSERT(!delivered_[channel],
                "a channel delivers each barrier once: " + std::to_string(barrier.checkpoint));
  delivered_[channel] = true;
  ++delivered_count_;
  if (align_ && delivered_count_ < delivered_.size()) return std::nullopt;
  const Barrier aligned = current_;
  release();
  return aligned;
}

void BarrierAligner::abort(CheckpointId checkpoint) {
  last_seen_ = std::max(last_seen_, checkpoint);
  if (aligning_ && current_.checkpoint <= checkpoint) release();
}

void BarrierAligner::release() {
  std::fill(delivered_.begin(), delivered_.end(), false);
  delivered_count_ = 0;
  aligning_ = false;
}

}  // namespace levada
