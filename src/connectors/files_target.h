// The target of the files sink. One publish is one file, and its rename from a hidden name is the commit. Before
// it the marker's file says which epoch is about to be renamed; that epoch is published when its hidden file is
// gone, whatever readers have done since with what they saw. So publishing again what a crash cut short neither
// loses nor doubles anything.
//
// Invariants:
// 1. A finished file is whole: written under a hidden name and synced before the rename.
// 2. The hidden file of the epoch that the marker's file announces is there, durably, before it is announced, and
//    leaves only by the rename, or after the announcement was taken back.
// 3. While the target lives it holds a lock beside the marker: two processes never publish side by side.
//
// Threads:  of its publisher.
// Failures: a full or failing disk is unavailable, after the announcement unknown.
#pragma once

#include <memory>
#include <string>

#include "levada/epoch_target.h"

namespace levada::files {

std::unique_ptr<EpochTarget> make_target(std::string directory, const EpochTargetContext& context);

/// What the names of finished files end with.
inline constexpr const char* kSuffix = ".jsonl";

}  // namespace levada::files
