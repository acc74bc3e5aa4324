// CanonicalTables: what a subtask with a cold tier wrote for a checkpoint, as the tables that a subtask without a tier
// would have written. So whatever keeps state, and however, it is read in one way.
//
// The tables' entries in the state files are newer than the tier's: a key they have, or say is gone, is left out
// of what the tier has. Tables are gone through one by one, by key group and namespace; what the state files have
// of one such place is in memory at once, and of the tier nothing but the block being filled.
//
// Threads:  of whoever calls; one at a time.
// Lifetime: borrows the ColdReading and the Sink. A tier is open, in the place that the reading names, from the first
//           table on.
// Failures: StateError: the disk's, the tier's, the sink's, or the state whose entries are not understood.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "levada/cold_tier.h"
#include "levada/options.h"
#include "levada/state_backend.h"

#include "checkpoint/restore.h"
#include "core/encoding_walk.h"

namespace levada {

/// What reads the tiers that a job wrote.
struct ColdReading {
  std::shared_ptr<const ColdBackend> backend = nullptr;  ///< null: there are no tiers, or nothing to read them
  ColdPlace place = {};     ///< where a tier may be opened meanwhile, nobody else's; its memory_bytes do not count
  OpaqueTypes opaque = {};  ///< of the states
  Compression compression = Compression::kNone;  ///< of what is written
};

class CanonicalTables {
 public:
  using Name = std::pair<std::string, std::string>;  ///< of a table: the node's uid and the state

  /// Takes the tables and their blocks.
  class Sink {
   public:
    virtual ~Sink() = default;
    /// Once for each schema under which entries of a state were written; returns its number for put_block().
    virtual std::uint32_t begin_table(const std::string& node, const std::string& name, const std::string& schema) = 0;
    virtual void put_block(std::uint32_t table, StateBlock&& block) = 0;
  };

  /// Of `checkpoint`'s subtask number `subtask`; all tables, or that one `only`. REQUIRES: it has a tier.
  CanonicalTables(std::shared_ptr<const RestoredCheckpoint> checkpoint, std::size_t subtask,
                  const ColdReading& reading, Sink& into, std::optional<Name> only = std::nullopt);
  ~CanonicalTables();
  CanonicalTables(const CanonicalTables&) = delete;
  CanonicalTables& operator=(const CanonicalTables&) = delete;

  /// Goes one table, key group or entry further; false: there was no more.
  bool advance();
  /// Of the blocks so far.
  std::size_t bytes() const noexcept;

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

}  // namespace levada
