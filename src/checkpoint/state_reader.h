// What StateReader holds; SavepointWriter reads it, too.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "levada/state_reader.h"

#include "checkpoint/canonical_tables.h"
#include "checkpoint/checkpoint_reader.h"

namespace levada {

/// A block and the schema under which its entries were written.
using StateBlockVisitor = std::function<void(const std::string& schema, const RestoredBlock& block)>;

struct StateReader::Contents {
  using Name = CanonicalTables::Name;

  /// Keyed states and their schemas, with what a cold tier has parts of hidden behind what they are parts of.
  std::map<Name, std::string> tables() const;
  /// The schemas under which entries of a state may have been written.
  std::set<std::string> schemas(const Name& table) const;
  /// Whether a part of it is in a cold tier.
  bool is_cold(const Name& table) const;
  /// Adds entries and bytes of a state that is in no tier, by the files' indexes.
  void count(const Name& table, StateInfo& into) const;
  /// The same of one in a tier, by reading it; false: it cannot be read.
  bool count_cold(const Name& table, StateInfo& into) const;
  /// Calls f for every block of a state. StateError when a part is in a tier that nothing here can read.
  void each_block(const Name& table, const OpaqueTypes& opaque, const StateBlockVisitor& f) const;

  CheckpointReader reader;
  std::shared_ptr<const RestoredCheckpoint> checkpoint;
  std::shared_ptr<const ColdBackend> backend;  ///< null: nothing reads tiers
};

}  // namespace levada
