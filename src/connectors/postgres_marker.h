// The marker of an exactly-once sink in PostgreSQL: a row of <schema>.sink_epoch a shard.
//
//   CREATE TABLE levada.sink_epoch (job text, sink text, shard int, epoch bigint, incarnation bigint,
//     owner bigint, rows bigint, updated timestamptz, PRIMARY KEY (job, sink, shard))
//
// `rows` counts what was published; nothing reads it but people.
//
// Threads:  one thread.
// Failures: what Transaction throws; ConnectorError from prepare() when the table cannot be made or used.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "connectors/postgres_connection.h"
#include "levada/epoch_target.h"

namespace levada::postgres {

class MarkerTable {
 public:
  MarkerTable(std::string schema, std::string job, std::string sink, int shard);

  /// Makes the schema and the table where they are missing, and checks the rights on them.
  void prepare(Connection& connection);

  std::optional<MarkerTransaction::Claimed> claim(Transaction& transaction, const EpochOwner& self,
                                                  CheckpointId initial) const;
  std::optional<EpochMarker> read(Transaction& transaction, bool lock) const;
  bool advance(Transaction& transaction, const EpochOwner& self, CheckpointId previous,
               CheckpointId epoch, std::uint64_t rows) const;
  /// Who holds the marker's row, and what can be done about it; empty when nobody does any more.
  std::string holder(Transaction& transaction) const;

 private:
  void create(Connection& connection) const;
  std::vector<std::string> key() const;

  std::string schema_;
  std::string quoted_;  // "schema".sink_epoch; from prepare() on
  std::string job_;
  std::string sink_;
  int shard_;
};

}  // namespace levada::postgres
