// Opens the cold tier of a subtask with what the tiers of a checkpoint had, whatever the parallelism was.
//
// Threads:  of the task.
// Failures: what the backend throws.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "levada/cold_tier.h"
#include "levada/operator.h"

#include "checkpoint/restore.h"

namespace levada {

/// The tier of one subtask in a checkpoint, and the key groups it had.
struct ColdPart {
  const ColdImage* image = nullptr;
  KeyGroupRange range;
};

/// A tier that has the entries of `tables` in the key groups of `range`. A single part of exactly that range is
/// taken over as it is; others are read through.
std::unique_ptr<ColdTier> restore_cold_tier(const ColdBackend& backend, const ColdPlace& place,
                                            const std::vector<ColdPart>& parts, KeyGroupRange range,
                                            const std::vector<std::uint32_t>& tables);

/// The same with what a checkpoint has of some nodes' tables; `restored` null: empty. `backend` null: null, and a
/// StateError when the checkpoint has anything in a cold tier.
std::unique_ptr<ColdTier> restore_cold_tier(const ColdBackend* backend, const ColdPlace& place,
                                            const RestoredCheckpoint* restored,
                                            const std::vector<std::string>& nodes, KeyGroupRange range);

}  // namespace levada
