// Schema: the text of Serde<T>::schema() as a tree: how a value is encoded, by field name.
//
// Threads:  plain data, pure functions.
// Failures: none: a text that is not of the grammar is opaque as a whole.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "levada/type_info.h"

namespace levada {

struct Schema {
  enum class Shape : std::uint8_t {
    kNumber,
    kString,
    kTimestamp,
    kDuration,
    kOptional,
    kList,
    kArray,
    kTuple,
    kRecord,
    kNamed,   ///< a type with a Serde of its own that is encoded as its one part
    kOpaque,  ///< encoded as only its Serde knows
  };

  Shape shape = Shape::kOpaque;
  TypeKind number = TypeKind::kOpaque;  ///< kNumber; kDuration: of its count
  std::uint64_t length = 0;             ///< kArray
  std::string name;                     ///< kNamed, kOpaque; kDuration: its unit, "1/1000000"
  std::vector<Schema> parts;            ///< the element, the parts, the fields
  std::vector<std::string> fields;      ///< kRecord: the names of the parts

  bool operator==(const Schema&) const = default;
};

/// The tree of any text; to_text() gives the same text back.
Schema parse_schema(std::string_view text);
/// The schemas of a table, "key -> value": the last one is that of the value. One opaque one when the text
/// is not of the grammar.
std::vector<Schema> parse_table_schema(std::string_view text);
std::string to_text(const Schema& schema);

/// Bytes of a number.
std::size_t size_of(TypeKind number);

}  // namespace levada
