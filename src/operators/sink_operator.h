// The operator around a connector's SinkWriter: rows in, nothing out; flushes before a barrier and at the
// end of input.
#pragma once

#include <memory>

#include "levada/operator.h"
#include "levada/sink.h"

namespace levada {

std::unique_ptr<Operator> make_sink_operator(std::unique_ptr<SinkWriter> writer);

}  // namespace levada
