// The SQL of a sink: made once for a table, then run for every set of rows within a transaction that is
// somebody else's, so that a marker can go into the same transaction.
//
// A few rows go as parameters of one statement, one array a column; many through COPY, straight into the
// table, or for an upsert into a table that lives as long as the transaction.
//
// Invariants:
//   1. Identifiers are quoted, values are only ever parameters or COPY lines.
//   2. An upsert sends its keys in order, so that two writers cannot wait for each other in a circle,
//      and of several rows of a key the last. The server decides which keys are equal.
//
// Threads:  one thread.
// Failures: what Transaction throws.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "connectors/postgres_connection.h"
#include "connectors/postgres_rows.h"
#include "levada/connectors/postgres.h"

namespace levada::postgres {

struct TargetColumn {
  std::string quoted;
  std::string parameter_element;  ///< type of the elements of its array parameter
  std::string cast;               ///< type to cast an element to; empty: it has it already
  std::string stage_type;
  bool is_key = false;
};

struct Target {
  std::string quoted;  ///< "schema"."table"
  std::vector<TargetColumn> columns;
  WriteMode mode = WriteMode::kInsert;
  /// May the rows travel by COPY (privileges, row security)?
  bool may_copy = true;
};

/// Rows from which on COPY is used. [measured] the two are equal from 2,000 to 5,000 rows an upsert; for an
/// insert COPY is 1.4 times as fast at 5,000 and 1.9 times at 20,000.
inline constexpr std::size_t kUnnestRowsMax = 2000;

class Statements {
 public:
  explicit Statements(const Target& target);

  /// Writes all rows of `rows`; their columns are the target's, in the same order.
  void write(Transaction& transaction, const RowBuffer& rows) const;

  bool may_copy() const noexcept { return may_copy_; }
  /// Writes rows that are array literals, one a column.
  void write_arrays(Transaction& transaction, const std::vector<std::string>& arrays) const;
  /// Writes COPY lines through the stage, or straight; `next` as in Transaction::copy().
  void write_lines(Transaction& transaction, const std::function<bool(std::string&)>& next) const;

  /// The statement for a few rows: $1, $2, … are arrays.
  const std::string& from_arrays() const noexcept { return from_arrays_; }
  /// CREATE of the table that COPY fills, and the statement that takes the rows from there; empty when
  /// COPY goes straight into the table.
  const std::string& create_stage() const noexcept { return create_stage_; }
  const std::string& from_stage() const noexcept { return from_stage_; }

 private:
  bool may_copy_;
  std::string from_arrays_;
  std::string create_stage_;
  std::string from_stage_;
  std::string copy_into_;
  std::vector<std::string> copy_columns_;
};

}  // namespace levada::postgres
