// CanonicalState: what a subtask with a cold tier wrote for a checkpoint, made into one state file as a subtask
// without a tier would have written it. So whatever keeps its state, and however, a savepoint is read by all.
//
// The tables' entries in the state files are newer than the tier's: a key they have, or say is gone, is left out
// of what the tier has. Tables are gone through one by one, by key group and namespace; what the state files have
// of one such place is in memory at once, and of the tier nothing but the block being filled.
//
// Threads:  of whoever calls; one at a time.
// Lifetime: borrows the FileSystem. Destroyed before it is complete, it leaves no file.
// Failures: StateError: the disk's, the tier's, or the state whose entries are not understood.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "levada/cold_tier.h"
#include "levada/operator.h"

#include "base/file_system.h"
#include "checkpoint/restore.h"
#include "checkpoint/state_handle.h"
#include "core/encoding_walk.h"

namespace levada {

/// What reads the tiers that a job wrote.
struct ColdReading {
  std::shared_ptr<const ColdBackend> backend;  ///< null: the job has no tiers
  ColdPlace place;      ///< where a tier may be opened meanwhile: nobody else's
  OpaqueTypes opaque;   ///< of the job's states
  Compression compression = Compression::kNone;  ///< of what is written
};

class CanonicalState {
 public:
  /// Writes the state of `checkpoint`'s subtask number `subtask` into the directory `into`. REQUIRES: it has a tier.
  CanonicalState(FileSystem& files, std::shared_ptr<const RestoredCheckpoint> checkpoint, std::size_t subtask,
                 const ColdReading& reading, std::string into);
  ~CanonicalState();
  CanonicalState(const CanonicalState&) = delete;
  CanonicalState& operator=(const CanonicalState&) = delete;

  /// Goes on for about a megabyte, or for many entries that are not written; returns the bytes written.
  std::size_t step();
  bool complete() const noexcept;
  /// REQUIRES: complete().
  const StateHandle& handle() const noexcept;

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

}  // namespace levada
