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

bool is_upsert(const Target& target) { return target.mode == WriteMode::kUpsert; }

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
  if (!is_upsert(target)) return "SELECT " + values + " FROM ";
  const std::string keys = list(target.columns, [&](std::size_t i) {
    return target.columns[i].is_key ? "u.c" + number(i) : std::string();
  });
  return "SELECT DISTINCT ON (" + keys + ") " + values + " FROM ";
}

std::string order_and_conflict(const Target& target, std::string_view position) {
  if (!is_upsert(target)) return {};
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
         (is_upsert(target) ? " WITH ORDINALITY" : "") + " AS u(" + list(target.columns, name) +
         (is_upsert(target) ? ", n)" : ")");
}

// DELETE of the rows whose keys are in u.
std::string remove_using(const Target& target, const std::string& rows, bool with_casts) {
  std::string condition;
  for (std::size_t i = 0; i < target.columns.size(); ++i) {
    const TargetColumn& column = target.columns[i];
    if (i > 0) condition += " AND ";
    condition += "t." + column.quoted + " = u.c" + number(i);
    if (with_casts && !column.cast.empty()) condition += "::" + column.cast;
  }
  return "DELETE FROM " + target.quoted + " AS t USING " + rows + " WHERE " + condition;
}

}  // namespace

Statements::Statements(const Target& target) : may_copy_(target.may_copy) {
  const bool removes = target.mode == WriteMode::kRemove;
  from_arrays_ = removes ? remove_using(target, arrays(target), true)
                         : insert_into(target) + select(target, true) + arrays(target) +
                               order_and_conflict(target, "u.n");
  if (target.mode == WriteMode::kInsert) {
    copy_into_ = target.quoted;
    for (const TargetColumn& column : target.columns) copy_columns_.push_back(column.quoted);
    return;
  }
  const auto stage_column = [&](std::size_t i) {
    return "c" + number(i) + " " + target.columns[i].stage_type;
  };
  create_stage_ = "CREATE TEMPORARY TABLE levada_stage (" + list(target.columns, stage_column) +
                  ") ON COMMIT DROP";
  const std::string stage = std::string(kStage) + " AS u";
  // A table that is filled once keeps its rows in the order in which they came: ctid is that order.
  from_stage_ = removes ? remove_using(target, stage, false)
                        : insert_into(target) + select(target, false) + stage +
                              order_and_conflict(target, "u.ctid");
  copy_into_ = kStage;
  for (std::size_t i = 0; i < target.columns.size(); ++i) copy_columns_.push_back("c" + number(i));
}

void Statements::write(Transaction& transaction, const RowBuffer& rows) const {
  if (rows.size() > kUnnestRowsMax && may_copy_) {
    std::size_t row = 0;
    write_lines(transaction, [&](std::string& lines) { return rows.copy_lines(row, lines); });
    return;
  }
  std::vector<std::string> literals;
  for (std::size_t i = 0; i < rows.column_count(); ++i) literals.push_back(rows.array_literal(i));
  write_arrays(transaction, literals);
}

void Statements::write_arrays(Transaction& transaction,
                              const std::vector<std::string>& literals) const {
  transaction.query(from_arrays_, literals);
}

void Statements::write_lines(Transaction& transaction,
                             const std::function<bool(std::string&)>& next) const {
  if (!create_stage_.empty()) transaction.query(create_stage_);
  transaction.copy(copy_into_, copy_columns_, next);
  if (!from_stage_.empty()) transaction.query(from_stage_);
}

}  // namespace levada::postgres
