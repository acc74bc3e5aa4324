#include "connectors/postgres_statements.h"

#include <string_view>

namespace levada::postgres {
namespace {

constexpr std::string_view kStage = "pg_temp.levada_stage";

std::string number(std::size_t column) { return std::to_string(column + 1); }

// The pieces that `f` makes of the columns, with commas.
template <class F>
std::string list(const std::vector<TargetColumn>& columns, F f) {
  std::string text;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string piece = f(i);
    if (piece.empty()) continue;
    if (!text.empty()) text += ", ";
    text += piece;
  }
  return text;
}

std::string insert_into(const Target& target) {
  return "INSERT INTO " + target.quoted + " (" +
         list(target.columns, [&](std::size_t i) { return target.columns[i].quoted; }) + ") ";
}

// SELECT of the rows of u, whose columns are c1, c2, …; one of each key for an upsert.
std::string select(const Target& target, bool with_casts) {
  const auto value = [&](std::size_t i) {
    const std::string& cast = target.columns[i].cast;
    return "u.c" + number(i) + (with_casts && !cast.empty() ? "::" + cast : "");
  };
  const std::string values = list(target.columns, value);
  if (!target.upsert) return "SELECT " + values + " FROM ";
  const std::string keys = list(target.columns, [&](std::size_t i) {
    return target.columns[i].is_key ? "u.c" + number(i) : std::string();
  });
  return "SELECT DISTINCT ON (" + keys + ") " + values + " FROM ";
}

std::string order_and_conflict(const Target& target, std::string_view position) {
  if (!target.upsert) return {};
  const auto key = [&](std::size_t i) {
    return target.columns[i].is_key ? "u.c" + number(i) : std::string();
  };
  const auto key_name = [&](std::size_t i) {
    return target.columns[i].is_key ? target.columns[i].quoted : std::string();
  };
  const auto assignment = [&](std::size_t i) {
    const TargetColumn& column = target.columns[i];
    return column.is_key ? std::string() : column.quoted + " = EXCLUDED." + column.quoted;
  };
  const std::string assignments = list(target.columns, assignment);
  return " ORDER BY " + list(target.columns, key) + ", " + std::string(position) +
         " DESC ON CONFLICT (" + list(target.columns, key_name) + ")" +
         (assignments.empty() ? " DO NOTHING" : " DO UPDATE SET " + assignments);
}

std::string arrays(const Target& target) {
  const auto parameter = [&](std::size_t i) {
    return "pg_catalog.unnest($" + number(i) + "::" + target.columns[i].parameter_element + "[])";
  };
  const auto name = [](std::size_t i) { return "c" + number(i); };
  return "ROWS FROM (" + list(target.columns, parameter) + ")" +
         (target.upsert ? " WITH ORDINALITY" : "") + " AS u(" + list(target.columns, name) +
         (target.upsert ? ", n)" : ")");
}

}  // namespace

Statements::Statements(const Target& target) : may_copy_(target.may_copy) {
  from_arrays_ = insert_into(target) + select(target, true) + arrays(target) +
                 order_and_conflict(target, "u.n");
  if (!target.upsert) {
    copy_into_ = target.quoted;
    for (const TargetColumn& column : target.columns) copy_columns_.push_back(column.quoted);
    return;
  }
  const auto stage_column = [&](std::size_t i) {
    return "c" + number(i) + " " + target.columns[i].stage_type;
  };
  create_stage_ = "CREATE TEMPORARY TABLE levada_stage (" + list(target.columns, stage_column) +
                  ") ON COMMIT DROP";
  // A table that is filled once keeps its rows in the order in which they came: ctid is that order.
  from_stage_ = insert_into(target) + select(target, false) + std::string(kStage) +
                " AS u" + order_and_conflict(target, "u.ctid");
  copy_into_ = kStage;
  for (std::size_t i = 0; i < target.columns.size(); ++i) copy_columns_.push_back("c" + number(i));
}

void Statements::write(Transaction& transaction, const RowBuffer& rows) const {
  if (rows.size() > kUnnestRowsMax && may_copy_) {
    write_copy(transaction, rows);
  } else {
    write_arrays(transaction, rows);
  }
}

void Statements::write_arrays(Transaction& transaction, const RowBuffer& rows) const {
  std::vector<std::string> parameters;
  for (std::size_t i = 0; i < rows.column_count(); ++i) {
    parameters.push_back(rows.array_literal(i));
  }
  transaction.query(from_arrays_, parameters);
}

void Statements::write_copy(Transaction& transaction, const RowBuffer& rows) const {
  if (!create_stage_.empty()) transaction.query(create_stage_);
  std::size_t row = 0;
  transaction.copy(copy_into_, copy_columns_,
                   [&](std::string& lines) { return rows.copy_lines(row, lines); });
  if (!from_stage_.empty()) transaction.query(from_stage_);
}

}  // namespace levada::postgres
