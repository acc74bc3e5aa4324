#include "exchange/watermark_merger.h"

#include <algorithm>

namespace levada {

bool WatermarkMerger::merge() {
  Timestamp least = kMaxWatermark;
  Timestamp greatest = kMinWatermark;
  bool all_idle = true;
  for (const InputTime& at : inputs_) {
    greatest = std::max(greatest, at.watermark);
    if (at.idle) continue;
    all_idle = false;
    least = std::min(least, at.watermark);
  }
  const InputTime before = merged_;
  merged_.watermark = std::max(merged_.watermark, all_idle ? greatest : least);
  merged_.idle = all_idle;
  return merged_ != before;
}

}  // namespace levada
