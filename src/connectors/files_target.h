// The target of the files sink. One publish is one file, and its rename is the commit: the marker is the
// greater of what the marker's file says and the newest finished file, so publishing again what a crash
// cut short neither loses nor doubles anything.
//
// Invariants:
// 1. A finished file is whole: written under a hidden name and synced before the rename.
// 2. The marker's file is written last; between the two the finished file itself says how far it is.
// 3. While the target lives it holds a lock beside the marker: two processes never publish side by side.
//
// Threads:  of its publisher.
// Failures: a full or failing disk is unavailable, after a rename unknown.
#pragma once

#include <memory>
#include <string>

#include "levada/epoch_target.h"

namespace levada::files {

std::unique_ptr<EpochTarget> make_target(std::string directory, const EpochTargetContext& context);

/// What the names of finished files end with.
inline constexpr const char* kSuffix = ".jsonl";

}  // namespace levada::files
