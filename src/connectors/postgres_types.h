// Which field fits into which column, and how its values are then written.
//
// Threads:  pure functions.
// Failures: none; what does not fit is returned as a sentence.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "levada/type_info.h"

namespace levada::postgres {

/// The type of a column, as the catalogue has it; a domain is the type beneath it.
struct ColumnType {
  std::string shown;            ///< as people write it, with its length or precision
  std::string name;             ///< "int8", "timestamptz"; of an array: of its elements
  std::string cast;             ///< how SQL names it, without length or precision
  bool is_array = false;
  bool is_enum = false;
  std::int32_t modifier = -1;   ///< precision or length, coded as the type does; -1: none
};

/// The value that a column gets: an optional's, or the type itself.
const TypeInfo& value_type(const TypeInfo& type);

/// Text that PostgreSQL's input functions read but that a field's own bytes are not.
enum class TextForm : std::uint8_t {
  kAsIs,
  kHexBytes,      ///< bytea
  kTimeWithZone,  ///< timestamptz
  kTimeOfUtc,     ///< timestamp
};

/// How values of `field` are written into a column of type `column`; nothing when they do not fit.
std::optional<TextForm> text_form(const TypeInfo& field, const ColumnType& column);

/// A field's type for messages: "int64", "list of string", "optional double".
std::string shown(const TypeInfo& field);

/// The type an array parameter has whose elements are cast to `column`'s type: arrays travel as text, because
/// unnest would take them apart as well.
std::string parameter_element(const ColumnType& column);

}  // namespace levada::postgres
