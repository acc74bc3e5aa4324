// What the server's catalogue says about a sink's table, and whether the rows fit into it.
//
// Threads:  one thread.
// Failures: ConnectorError, not retryable, that names everything that is wrong with the table at once.
#pragma once

#include <string>
#include <vector>

#include "connectors/postgres_connection.h"
#include "connectors/postgres_rows.h"
#include "connectors/postgres_statements.h"
#include "levada/connectors/postgres.h"

namespace levada::postgres {

struct CheckedTable {
  std::string shown;  ///< schema.table, for messages
  Target target;
  std::vector<ColumnSource> sources;  ///< of the target's columns, in the same order
};

/// Finds the table and checks it against the sink's rows. `settings.row` is a described struct.
CheckedTable check_table(Connection& connection, const detail::SinkSettings& settings);

/// Throws what is wrong with the settings themselves.
void check_settings(const detail::SinkSettings& settings);

}  // namespace levada::postgres
