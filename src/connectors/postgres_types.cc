#include "connectors/postgres_types.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace levada::postgres {
namespace {

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Whether a column holds every value of a number of this kind. numeric may have a precision: the server
// refuses what is beyond it, and loses nothing.
bool holds_number(std::string_view column, TypeKind kind) {
  switch (kind) {
    case TypeKind::kInt8:
    case TypeKind::kUint8:
    case TypeKind::kInt16:
      return is_one_of(column, {"int2", "int4", "int8", "numeric", "float4", "float8"});
    case TypeKind::kUint16:
    case TypeKind::kInt32:
      return is_one_of(column, {"int4", "int8", "numeric", "float8"});
    case TypeKind::kUint32:
    case TypeKind::kInt64:
      return is_one_of(column, {"int8", "numeric"});
    case TypeKind::kUint64:
      return column == "numeric";
    case TypeKind::kFloat:
      return is_one_of(column, {"float4", "float8", "numeric"});
    case TypeKind::kDouble:
      return is_one_of(column, {"float8", "numeric"});
    default:
      return false;
  }
}

std::optional<TextForm> string_form(const ColumnType& column) {
  if (column.name == "bytea") return TextForm::kHexBytes;
  if (column.is_enum ||
      is_one_of(column.name,
                {"text", "varchar", "bpchar", "citext", "uuid", "json", "jsonb", "name"})) {
    return TextForm::kAsIs;
  }
  return std::nullopt;
}

// A time column with fewer than six decimals would round.
std::optional<TextForm> time_form(const ColumnType& column) {
  if (column.modifier >= 0 && column.modifier < 6) return std::nullopt;
  if (column.name == "timestamptz") return TextForm::kTimeWithZone;
  if (column.name == "timestamp") return TextForm::kTimeOfUtc;
  return std::nullopt;
}

std::optional<TextForm> when(bool fits) {
  if (!fits) return std::nullopt;
  return TextForm::kAsIs;
}

std::optional<TextForm> scalar_form(const TypeInfo& field, const ColumnType& column) {
  switch (field.kind) {
    case TypeKind::kBool:
      return when(column.name == "bool");
    case TypeKind::kString:
      return string_form(column);
    case TypeKind::kTimestamp:
      return time_form(column);
    case TypeKind::kDuration:
      return when(column.name == "interval" && column.modifier == -1);
    default:
      return when(holds_number(column.name, field.kind));
  }
}

}  // namespace

const TypeInfo& value_type(const TypeInfo& type) {
  return type.kind == TypeKind::kOptional ? *type.element : type;
}

std::optional<TextForm> text_form(const TypeInfo& field, const ColumnType& column) {
  const TypeInfo& value = value_type(field);
  if (value.kind != TypeKind::kList) {
    return column.is_array ? std::nullopt : scalar_form(value, column);
  }
  return column.is_array ? scalar_form(value_type(*value.element), column) : std::nullopt;
}

std::string shown(const TypeInfo& field) {
  if (field.kind == TypeKind::kOptional) return "optional " + shown(*field.element);
  if (field.kind == TypeKind::kList) return "list of " + shown(*field.element);
  return std::string(field.name);
}

std::string parameter_element(const ColumnType& column) {
  return column.is_array ? "text" : column.cast;
}

}  // namespace levada::postgres
