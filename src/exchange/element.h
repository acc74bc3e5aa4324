// Element: what travels through a channel.
#pragma once

#include <cstdint>

#include "levada/batch.h"
#include "levada/operator.h"
#include "levada/state_backend.h"

namespace levada {

/// The in-band mark of a checkpoint.
struct Barrier {
  CheckpointId checkpoint = 0;
  /// Sources emit nothing after it: the job stops when the checkpoint is complete.
  bool stop = false;
  /// With `stop`: the last watermark goes before it, so that all windows and timers fire.
  bool drain = false;
  /// The newest checkpoint of this attempt that was committed when this one began, 0: none. No file that it
  /// names is removed while this one is under way: snapshots may refer to them.
  CheckpointId base = 0;
};

/// A batch with the event time after it, or a control message. A batch's time holds for the rows up to
/// and including the batch.
struct Element {
  enum class Kind : std::uint8_t { kBatch, kTime, kBarrier, kEnd };
  Kind kind = Kind::kTime;
  bool has_time = false;  ///< kBatch: `time` follows the rows
  BatchPtr batch;
  InputTime time;
  Barrier barrier;
};

}  // namespace levada
