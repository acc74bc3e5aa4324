// What StateReader holds; SavepointWriter reads it, too.
#pragma once

#include <memory>

#include "levada/state_reader.h"

#include "checkpoint/checkpoint_reader.h"

namespace levada {

struct StateReader::Contents {
  CheckpointReader reader;
  std::shared_ptr<const RestoredCheckpoint> checkpoint;
};

}  // namespace levada
