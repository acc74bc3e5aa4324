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

/// Throws StateError: a tier's files are its backend's to read.
[[noreturn]] void throw_in_cold_tier(std::string_view uid, std::string_view state);

}  // namespace levada
