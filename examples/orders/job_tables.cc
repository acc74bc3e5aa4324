#include "job_tables.h"

#include <utility>

#include <pqxx/pqxx>

namespace orders {
namespace {

constexpr const char* kTotalsColumns =
    "\"user\" bigint not null, window_start timestamptz not null, orders bigint not null, "
    "total bigint not null, smallest bigint not null, largest bigint not null";

constexpr const char* kLateColumns =
    "\"user\" bigint not null, item bigint not null, amount bigint not null, "
    "ts timestamptz not null, \"partition\" int not null, \"offset\" bigint not null";

std::string microseconds(const std::string& column) {
  return "(extract(epoch from " + column + ") * 1000000)::bigint";
}

bool has_markers(pqxx::work& work) {
  return !work.exec("select to_regclass('levada.sink_epoch')")[0][0].is_null();
}

std::vector<TotalsRow> read_totals(pqxx::work& work, const std::string& from) {
  const pqxx::result result = work.exec("select \"user\", " + microseconds("window_start") +
                                        ", orders, total, smallest, largest from " + from);
  std::vector<TotalsRow> rows;
  rows.reserve(result.size());
  for (const pqxx::row& row : result) {
    rows.push_back({row[0].as<std::int64_t>(),
                    row[1].as<std::int64_t>(),
                    {row[2].as<std::int64_t>(), row[3].as<std::int64_t>(),
                     row[4].as<std::int64_t>(), row[5].as<std::int64_t>()}});
  }
  return rows;
}

std::vector<LateRow> read_late(pqxx::work& work, const std::string& table) {
  const pqxx::result result =
      work.exec("select \"user\", item, amount, " + microseconds("ts") +
                ", \"partition\", \"offset\" from " + work.quote_name(table));
  std::vector<LateRow> rows;
  rows.reserve(result.size());
  for (const pqxx::row& row : result) {
    rows.push_back(
        {{row[0].as<std::int32_t>(), row[1].as<std::int32_t>(), row[2].as<std::int32_t>(), 0},
         row[3].as<std::int64_t>(),
         row[4].as<std::int32_t>(),
         row[5].as<std::int64_t>()});
  }
  return rows;
}

}  // namespace

JobTables::JobTables(std::string conninfo, TableNames names)
    : conninfo_(std::move(conninfo)), names_(std::move(names)) {
  pqxx::connection connection(conninfo_);
  pqxx::work work(connection);
  work.exec("create table " + work.quote_name(names_.totals) + " (" + kTotalsColumns +
            ", primary key (\"user\", window_start))");
  work.exec("create table " + work.quote_name(names_.late) + " (" + kLateColumns + ")");
  if (!names_.log.empty()) {
    work.exec("create table " + work.quote_name(names_.log) + " (" + kTotalsColumns +
              ", seq bigint not null generated always as identity)");
  }
  work.commit();
}

Tables JobTables::read() const {
  pqxx::connection connection(conninfo_);
  pqxx::work work(connection);
  Tables tables;
  tables.totals = read_totals(work, work.quote_name(names_.totals));
  tables.late = read_late(work, names_.late);
  if (!names_.log.empty()) {
    tables.log = read_totals(work, work.quote_name(names_.log) + " order by seq");
  }
  return tables;
}

std::map<std::string, Marker> JobTables::read_markers() const {
  pqxx::connection connection(conninfo_);
  pqxx::work work(connection);
  std::map<std::string, Marker> markers;
  if (!has_markers(work)) return markers;
  for (const pqxx::row& row :
       work.exec("select sink, epoch, rows from levada.sink_epoch where job = " +
                 work.quote(names_.totals) + " for share")) {
    markers[row[0].as<std::string>()] = {row[1].as<std::int64_t>(), row[2].as<std::int64_t>()};
  }
  return markers;
}

std::vector<std::int64_t> JobTables::read_incarnations() const {
  pqxx::connection connection(conninfo_);
  pqxx::work work(connection);
  std::vector<std::int64_t> incarnations;
  if (!has_markers(work)) return incarnations;
  for (const pqxx::row& row :
       work.exec("select incarnation from levada.sink_epoch where job = " + work.quote(names_.totals))) {
    incarnations.push_back(row[0].as<std::int64_t>());
  }
  return incarnations;
}

void JobTables::drop() const {
  pqxx::connection connection(conninfo_);
  pqxx::work work(connection);
  for (const std::string& name : {names_.totals, names_.late, names_.log}) {
    if (!name.empty()) work.exec("drop table " + work.quote_name(name));
  }
  // Its markers: the job has the name of its first table.
  if (has_markers(work)) {
    work.exec("delete from levada.sink_epoch where job = " + work.quote(names_.totals));
  }
  work.commit();
}

}  // namespace orders
