// TypeInfo: the shape of a value at run time. Formats (JSON) and connectors (SQL columns) walk it to read
// and write rows without knowing their C++ type. LEVADA_RECORD (serde.h) makes one for a struct.
//
// Threads:  immutable; made once per type at first use.
// Lifetime: for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace levada {

enum class TypeKind : std::uint8_t {
  kBool,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kFloat,
  kDouble,
  kString,
  kTimestamp,  ///< std::chrono::sys_time<std::chrono::microseconds>
  kDuration,   ///< std::chrono::microseconds
  kOptional,   ///< std::optional of `element`
  kList,       ///< std::vector of `element`
  kRecord,     ///< a struct described by LEVADA_RECORD
  kOpaque,     ///< has a Serde, but formats and columns cannot look into it
};

struct TypeInfo;

/// A field of a described struct.
struct FieldInfo {
  std::string_view name;
  const TypeInfo* type;
  std::size_t offset;  ///< bytes from the start of the struct
};

/// The shape of one C++ type. Pointers passed to its functions point to a value of that type.
struct TypeInfo {
  TypeKind kind;
  std::string_view name;             ///< of a record: as written in LEVADA_RECORD; else the kind's name
  std::size_t size_bytes;            ///< sizeof
  const TypeInfo* element;           ///< kOptional, kList
  std::span<const FieldInfo> fields; ///< kRecord
  /// kOptional: engages it (keeping an engaged value) and returns the value; kList: appends an element.
  void* (*emplace)(void* value);
  /// kOptional: disengages; kList: removes all elements.
  void (*clear)(void* value);
  /// kOptional: the value or null (index 0); kList: element `index`, null past the end.
  const void* (*at)(const void* value, std::size_t index);
};

/// "int64", "string", "Order": for messages.
std::string_view to_string(TypeKind kind);

/// The schema as text, by field name, e.g. `{user:int64,amount:int64,tags:[string],note:string?}`.
std::string schema_of(const TypeInfo& type);

}  // namespace levada
