#include "connectors/postgres_table.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "levada/error.h"

namespace levada::postgres {
namespace {

using detail::SinkSettings;

ConnectorError wrong(const std::string& what) { return {"PostgreSQL: " + what, false}; }

// ---- what the catalogue has

struct Table {
  std::string oid;
  std::string schema;
  std::string name;
  std::string kind;
  bool row_security = false;
  bool may_use_schema = false;
  bool may_make_temporary = false;
  bool server_is_standby = false;

  std::string shown() const { return schema + "." + name; }
};

struct CatalogueColumn {
  std::string name;
  ColumnType type;
  bool needs_value = false;  // NOT NULL, and nothing else fills it
  bool is_computed = false;  // GENERATED ALWAYS
  bool may_insert = false;
  bool may_update = false;
  bool may_select = false;
};

std::string text(const std::optional<std::string>& value) { return value.value_or(""); }
bool flag(const std::optional<std::string>& value) { return value == "t"; }

std::pair<std::string, std::string> split_name(const SinkSettings& settings) {
  const std::size_t dot = settings.table.find('.');
  if (!settings.schema.empty() || dot == std::string::npos) {
    return {settings.schema, settings.table};
  }
  return {settings.table.substr(0, dot), settings.table.substr(dot + 1)};
}

Table find_table(Transaction& transaction, const SinkSettings& settings) {
  static const std::string kQuery =
      "SELECT c.oid, n.nspname, c.relname, c.relkind, pg_catalog.row_security_active(c.oid), "
      "pg_catalog.has_schema_privilege(n.oid, 'USAGE'), "
      "pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'), "
      "pg_catalog.pg_is_in_recovery() "
      "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
      "WHERE c.relname::text = $1 AND CASE WHEN $2 = '' THEN pg_catalog.pg_table_is_visible(c.oid) "
      "ELSE n.nspname::text = $2 END";
  const auto [schema, name] = split_name(settings);
  const std::vector<ResultRow> rows = transaction.query(kQuery, {name, schema});
  if (rows.empty()) {
    throw wrong("there is no table " + settings.table +
                (schema.empty() ? " in the schemas of the search path" : ""));
  }
  const ResultRow& row = rows.front();
  Table table{text(row[0]), text(row[1]), text(row[2]), text(row[3]),
              flag(row[4]), flag(row[5]), flag(row[6]), flag(row[7])};
  // An ordinary or a partitioned one.
  if (table.kind != "r" && table.kind != "p") throw wrong(table.shown() + " is not a table");
  return table;
}

std::vector<CatalogueColumn> read_columns(Transaction& transaction, const Table& table) {
  // b is the type itself or, of a domain, the type beneath; e the type of an array's elements.
  static const std::string kQuery =
      "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), "
      "COALESCE(e.typname, b.typname), pg_catalog.format_type(b.oid, -1), e.oid IS NOT NULL, "
      "COALESCE(e.typtype, b.typtype) = 'e', "
      "CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END, "
      "a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', "
      "a.attgenerated <> '' OR a.attidentity = 'a', "
      "pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT'), "
      "pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'UPDATE'), "
      "pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT') "
      "FROM pg_catalog.pg_attribute a "
      "JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
      "JOIN pg_catalog.pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END "
      "LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem AND b.typcategory = 'A' "
      "WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped "
      "ORDER BY a.attnum";
  std::vector<CatalogueColumn> columns;
  for (const ResultRow& row : transaction.query(kQuery, {table.oid})) {
    ColumnType type{text(row[1]), text(row[2]), text(row[3]), flag(row[4]), flag(row[5]),
                    static_cast<std::int32_t>(std::stol(text(row[6])))};
    columns.push_back({text(row[0]), std::move(type), flag(row[7]), flag(row[8]), flag(row[9]),
                       flag(row[10]), flag(row[11])});
  }
  return columns;
}

// ON CONFLICT takes a unique index on exactly these columns, whole and checked at once.
bool has_unique_index(Transaction& transaction, const Table& table,
                      const std::vector<std::string>& key) {
  static const std::string kQuery =
      "SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = $1::pg_catalog.oid AND i.indisunique "
      "AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND "
      "(SELECT pg_catalog.array_agg(a.attname::text COLLATE \"C\" ORDER BY a.attname::text COLLATE "
      "\"C\") FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND "
      "a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])) = $2::text[]";
  std::vector<std::string> names = key;
  std::sort(names.begin(), names.end());
  std::string literal = "{";
  for (const std::string& name : names) {
    if (literal.size() > 1) literal += ',';
    append_array_element(name, literal);
  }
  return !transaction.query(kQuery, {table.oid, literal + "}"}).empty();
}

// ---- the check

class TableCheck {
 public:
  TableCheck(Connection& connection, Transaction& transaction, const SinkSettings& settings)
      : connection_(connection),
        transaction_(transaction),
        settings_(settings),
        table_(find_table(transaction, settings)) {
    for (CatalogueColumn& column : read_columns(transaction, table_)) {
      std::string name = column.name;
      columns_.emplace(std::move(name), std::move(column));
    }
  }

  CheckedTable run() {
    CheckedTable checked{table_.shown(), {}, {}};
    checked.target.quoted =
        connection_.quote_name(table_.schema) + "." + connection_.quote_name(table_.name);
    checked.target.mode = settings_.mode;
    // COPY into a table of its own needs the right to make one; COPY ignores row security, or refuses.
    checked.target.may_copy = keyed() ? table_.may_make_temporary : !table_.row_security;
    if (table_.server_is_standby) problem("the server is a standby and takes no writes");
    if (!table_.may_use_schema) problem("no permission to use schema " + table_.schema);
    for (const FieldInfo& field : settings_.row->fields) {
      if (settings_.mode != WriteMode::kRemove || is_key(field)) add_column(field, checked);
    }
    if (settings_.mode == WriteMode::kRemove) {
      check_may_remove();
    } else {
      check_columns_without_field();
    }
    if (keyed()) check_key();
    if (problems_.empty()) return checked;
    throw wrong("table " + checked.shown + ": " + problems_);
  }

 private:
  bool keyed() const { return settings_.mode != WriteMode::kInsert; }

  bool is_key(const FieldInfo& field) const {
    return std::find(settings_.key.begin(), settings_.key.end(), field.offset) !=
           settings_.key.end();
  }

  std::string column_name(const FieldInfo& field) const {
    for (const auto& [offset, name] : settings_.column_names) {
      if (offset == field.offset) return name;
    }
    return std::string(field.name);
  }

  void add_column(const FieldInfo& field, CheckedTable& checked) {
    const std::string name = column_name(field);
    const auto found = columns_.find(name);
    if (found == columns_.end()) {
      problem("there is no column \"" + name + "\" for field " + std::string(field.name));
      return;
    }
    const CatalogueColumn& column = found->second;
    if (!written_.emplace(name, true).second) problem("column \"" + name + "\" has two fields");
    check_rights(column, is_key(field));
    const std::optional<TextForm> form = text_form(*field.type, column.type);
    if (!form) {
      problem("column \"" + name + "\" is " + column.type.shown + ", which does not hold field " +
              std::string(field.name) + " of type " + shown(*field.type));
      return;
    }
    checked.sources.push_back({name, field.offset, field.type, *form});
    checked.target.columns.push_back({connection_.quote_name(name),
                                      parameter_element(column.type),
                                      column.type.is_array ? column.type.cast : "",
                                      column.type.cast, is_key(field)});
  }

  void check_rights(const CatalogueColumn& column, bool key) {
    const std::string quoted = "column \"" + column.name + "\"";
    if (settings_.mode == WriteMode::kRemove) {
      if (!column.may_select) problem("no permission to select " + quoted + " of the key");
      return;
    }
    if (column.is_computed) problem(quoted + " is generated always");
    if (!column.may_insert) problem("no permission to insert into " + quoted);
    if (!keyed()) return;
    if (!key && !column.may_update) problem("no permission to update " + quoted);
    if (key && !column.may_select) problem("no permission to select " + quoted + " of the key");
  }

  void check_may_remove() {
    const std::vector<ResultRow> rows = transaction_.query(
        "SELECT pg_catalog.has_table_privilege($1::pg_catalog.oid, 'DELETE')", {table_.oid});
    if (!flag(rows.front()[0])) problem("no permission to delete from it");
  }

  void check_columns_without_field() {
    for (const auto& [name, column] : columns_) {
      if (column.needs_value && written_.find(name) == written_.end()) {
        problem("column \"" + name + "\" is NOT NULL without a default, and no field fills it");
      }
    }
  }

  void check_key() {
    std::vector<std::string> key;
    std::string shown_key;
    for (const FieldInfo& field : settings_.row->fields) {
      if (!is_key(field)) continue;
      key.push_back(column_name(field));
      if (!shown_key.empty()) shown_key += ", ";
      shown_key += key.back();
      const TypeKind kind = field.type->kind;
      if (kind == TypeKind::kOptional) {
        problem("field " + std::string(field.name) + " is optional; NULL cannot be part of the key");
      }
    }
    if (!has_unique_index(transaction_, table_, key)) {
      problem("there is no primary key or unique index on exactly (" + shown_key + ")");
    }
  }

  void problem(const std::string& what) {
    if (!problems_.empty()) problems_ += "; ";
    problems_ += what;
  }

  Connection& connection_;
  Transaction& transaction_;
  const SinkSettings& settings_;
  Table table_;
  std::map<std::string, CatalogueColumn> columns_;
  std::map<std::string, bool> written_;
  std::string problems_;
};

}  // namespace

CheckedTable check_table(Connection& connection, const SinkSettings& settings) {
  Transaction transaction(connection);
  CheckedTable checked = TableCheck(connection, transaction, settings).run();
  transaction.commit();
  return checked;
}

void check_settings(const SinkSettings& settings) {
  const std::string table = "table " + settings.table + ": ";
  if (settings.row->kind != TypeKind::kRecord) {
    throw wrong(table + "rows of type " + std::string(settings.row->name) +
                " have no columns; describe a struct with LEVADA_RECORD");
  }
  const auto has_nul = [](const std::string& name) { return name.find('\0') != std::string::npos; };
  if (settings.table.empty() || has_nul(settings.table) || has_nul(settings.schema)) {
    throw wrong("a table's name is empty or has a NUL byte in it");
  }
  if (settings.marker_schema.empty() || has_nul(settings.marker_schema)) {
    throw wrong(table + "marker_schema is empty or has a NUL byte in it");
  }
  if (settings.shards < 1) throw wrong(table + "shards must be at least 1");
  if (settings.batch_rows < 1) throw wrong(table + "batch_rows must be at least 1");
  const bool timed = settings.batch_interval > Duration{0} && settings.connect_timeout >= 1ms &&
                     settings.call_timeout >= 1ms && settings.publish_timeout >= 1ms && settings.backoff.first > Duration{0} &&
                     settings.backoff.longest >= settings.backoff.first;
  if (!timed) throw wrong(table + "intervals and timeouts must be positive");
}

}  // namespace levada::postgres
