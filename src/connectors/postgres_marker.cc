#include "connectors/postgres_marker.h"

#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace levada::postgres {
namespace {

constexpr const char* kColumns =
    " (job text NOT NULL, sink text NOT NULL, shard int NOT NULL, epoch bigint NOT NULL, "
    "incarnation bigint NOT NULL, owner bigint NOT NULL, rows bigint NOT NULL DEFAULT 0, "
    "updated timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), "
    "PRIMARY KEY (job, sink, shard))";

// PostgreSQL has no unsigned numbers: the same bits.
std::string number(std::uint64_t value) { return std::to_string(static_cast<std::int64_t>(value)); }

std::uint64_t number(const std::optional<std::string>& text) {
  return static_cast<std::uint64_t>(std::strtoll(text.value_or("0").c_str(), nullptr, 10));
}

// Another instance made the schema or the table at the same time.
bool was_made_meanwhile(const ServerError& error) {
  static constexpr std::array<std::string_view, 4> kStates{"23505", "42P06", "42P07", "42710"};
  for (const std::string_view state : kStates) {
    if (error.sqlstate() == state) return true;
  }
  return false;
}

}  // namespace

MarkerTable::MarkerTable(std::string schema, std::string job, std::string sink, int shard)
    : schema_(std::move(schema)), job_(std::move(job)), sink_(std::move(sink)), shard_(shard) {}

void MarkerTable::prepare(Connection& connection) {
  quoted_ = connection.quote_name(schema_) + ".sink_epoch";
  std::vector<ResultRow> found;
  const auto look = [&] {
    Transaction transaction(connection);
    found = transaction.query(
        "SELECT pg_catalog.has_table_privilege(c.oid, 'SELECT'), "
        "pg_catalog.has_table_privilege(c.oid, 'INSERT'), "
        "pg_catalog.has_table_privilege(c.oid, 'UPDATE'), "
        "pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname::text = $1 AND c.relname = 'sink_epoch' AND c.relkind IN ('r', 'p')",
        {schema_});
    transaction.commit();
  };
  look();
  if (found.empty()) {
    create(connection);
    look();
  }
  for (const auto& right : found.empty() ? ResultRow{std::nullopt} : found.front()) {
    if (right == "t") continue;
    throw ConnectorError("PostgreSQL: exactly once needs SELECT, INSERT and UPDATE on " + quoted_ +
                             " and USAGE on its schema; grant them, or set .guarantee of the sink",
                         false);
  }
}

void MarkerTable::create(Connection& connection) const {
  const std::string schema = "CREATE SCHEMA IF NOT EXISTS " + connection.quote_name(schema_);
  const std::string table = "CREATE TABLE IF NOT EXISTS " + quoted_ + kColumns;
  const auto has_schema = [&] {
    Transaction transaction(connection);
    return !transaction
                .query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname::text = $1", {schema_})
                .empty();
  }();
  try {
    Transaction transaction(connection);
    if (!has_schema) transaction.query(schema);
    transaction.query(table);
    transaction.commit();
  } catch (const ServerError& error) {
    if (was_made_meanwhile(error)) return;
    if (error.retryable()) throw;
    throw ConnectorError("PostgreSQL: exactly once needs a table for its markers, which cannot be made: " +
                             std::string(error.what()) + "; run \"" + schema + "; " + table +
                             "\" as somebody who may, or set .guarantee of the sink",
                         false);
  }
}

std::vector<std::string> MarkerTable::key() const { return {job_, sink_, std::to_string(shard_)}; }

std::optional<MarkerTransaction::Claimed> MarkerTable::claim(Transaction& transaction,
                                                             const EpochOwner& self,
                                                             CheckpointId initial) const {
  std::vector<std::string> parameters = key();
  for (const std::uint64_t value : {initial, self.incarnation, self.owner}) {
    parameters.push_back(number(value));
  }
  const auto rows = transaction.query(
      "INSERT INTO " + quoted_ +
          " AS m (job, sink, shard, epoch, incarnation, owner) "
          "VALUES ($1, $2, $3::int, $4::bigint, $5::bigint, $6::bigint) "
          "ON CONFLICT (job, sink, shard) DO UPDATE SET incarnation = EXCLUDED.incarnation, "
          "owner = EXCLUDED.owner, updated = pg_catalog.clock_timestamp() "
          "WHERE m.incarnation < EXCLUDED.incarnation OR "
          "(m.incarnation = EXCLUDED.incarnation AND m.owner = EXCLUDED.owner) "
          "RETURNING m.epoch, m.xmax = 0",
      parameters);
  if (rows.empty()) return std::nullopt;
  return MarkerTransaction::Claimed{.marker = {.epoch = number(rows.front()[0]), .owner = self},
                                    .created = rows.front()[1] == "t"};
}

std::optional<EpochMarker> MarkerTable::read(Transaction& transaction, bool lock) const {
  const auto rows = transaction.query("SELECT epoch, incarnation, owner FROM " + quoted_ +
                                          " WHERE job = $1 AND sink = $2 AND shard = $3::int" +
                                          (lock ? " FOR UPDATE" : ""),
                                      key());
  if (rows.empty()) return std::nullopt;
  const ResultRow& row = rows.front();
  return EpochMarker{.epoch = number(row[0]),
                     .owner = {.incarnation = number(row[1]), .owner = number(row[2])}};
}

bool MarkerTable::advance(Transaction& transaction, const EpochOwner& self, CheckpointId previous,
                          CheckpointId epoch, std::uint64_t rows) const {
  std::vector<std::string> parameters = key();
  for (const std::uint64_t value : {self.incarnation, self.owner, previous, epoch, rows}) {
    parameters.push_back(number(value));
  }
  return !transaction
              .query("UPDATE " + quoted_ +
                         " SET epoch = $7::bigint, rows = rows + $8::bigint, "
                         "updated = pg_catalog.clock_timestamp() "
                         "WHERE job = $1 AND sink = $2 AND shard = $3::int AND "
                         "incarnation = $4::bigint AND owner = $5::bigint AND epoch = $6::bigint "
                         "RETURNING 1",
                     parameters)
              .empty();
}

std::string MarkerTable::holder(Transaction& transaction) const {
  // The transaction that locked a row is the row's xmax, and holds the lock on its own number.
  const auto rows = transaction.query(
      "SELECT a.pid, COALESCE(a.application_name, ''), COALESCE(a.client_addr::text, 'the same machine'), "
      "COALESCE(a.state, '') FROM " + quoted_ +
          " m JOIN pg_catalog.pg_locks l ON l.locktype = 'transactionid' AND l.granted AND "
          "l.transactionid = m.xmax JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid "
          "WHERE m.job = $1 AND m.sink = $2 AND m.shard = $3::int",
      key());
  if (rows.empty()) return {};
  const ResultRow& row = rows.front();
  const std::string pid = row[0].value_or("?");
  return "server process " + pid + " ('" + row[1].value_or("") + "' from " + row[2].value_or("") +
         ", " + row[3].value_or("") + ") holds the marker's row; if nobody needs it any more, "
         "SELECT pg_terminate_backend(" + pid + ")";
}

}  // namespace levada::postgres
