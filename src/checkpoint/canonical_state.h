// CanonicalState: what a subtask with a cold tier wrote for a checkpoint, made into one state file as a subtask
// without a tier would have written it: a savepoint is read by all.
//
// Threads:  of whoever calls; one at a time.
// Lifetime: borrows the FileSystem and the ColdReading. Destroyed before it is complete, it leaves no file.
// Failures: StateError, as CanonicalTables'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/file_system.h"
#include "checkpoint/canonical_tables.h"
#include "checkpoint/restore.h"
#include "checkpoint/state_file.h"
#include "checkpoint/state_handle.h"

namespace levada {

class CanonicalState final : private CanonicalTables::Sink {
 public:
  /// Writes the state of `checkpoint`'s subtask number `subtask` into the directory `into`. REQUIRES: it has a tier.
  CanonicalState(FileSystem& files, std::shared_ptr<const RestoredCheckpoint> checkpoint, std::size_t subtask,
                 const ColdReading& reading, std::string into);

  /// Goes on for about a megabyte, or for many entries that are not written; returns the bytes written.
  std::size_t step();
  bool complete() const noexcept { return complete_; }
  /// REQUIRES: complete().
  const StateHandle& handle() const noexcept { return handle_; }

 private:
  std::uint32_t begin_table(const std::string& node, const std::string& name, const std::string& schema) override;
  void put_block(std::uint32_t table, StateBlock&& block) override;

  StateFileWriter writer_;
  CanonicalTables tables_;
  StateHandle handle_;
  bool complete_ = false;
};

}  // namespace levada
