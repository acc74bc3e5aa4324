// The operator of an exactly-once sink: encodes rows into its subtask's segment of the epoch log, and
// seals the segment behind every barrier. It never waits for the target: when too much is not published
// yet it takes no more rows, but lets barriers through.
//
// Threads: of its task.
#pragma once

#include <memory>

#include "checkpoint/epoch_sinks.h"
#include "levada/operator.h"

namespace levada {

/// `sink` and `background` outlive the operator.
std::unique_ptr<Operator> make_epoch_sink_operator(EpochSink& sink, BackgroundQueue& background);

}  // namespace levada
