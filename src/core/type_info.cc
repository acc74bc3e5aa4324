#include "levada/type_info.h"

namespace levada {

std::string_view to_string(TypeKind kind) {
  switch (kind) {
    case TypeKind::kBool:
      return "bool";
    case TypeKind::kInt8:
      return "int8";
    case TypeKind::kInt16:
      return "int16";
    case TypeKind::kInt32:
      return "int32";
    case TypeKind::kInt64:
      return "int64";
    case TypeKind::kUint8:
      return "uint8";
    case TypeKind::kUint16:
      return "uint16";
    case TypeKind::kUint32:
      return "uint32";
    case TypeKind::kUint64:
      return "uint64";
    case TypeKind::kFloat:
      return "float";
    case TypeKind::kDouble:
      return "double";
    case TypeKind::kString:
      return "string";
    case TypeKind::kTimestamp:
      return "timestamp";
    case TypeKind::kDuration:
      return "duration";
    case TypeKind::kOptional:
      return "optional";
    case TypeKind::kList:
      return "list";
    case TypeKind::kRecord:
      return "record";
    case TypeKind::kOpaque:
      return "opaque";
  }
  return "?";
}

// The same words as Serde<T>::schema(), wherever the type can be looked into.
std::string schema_of(const TypeInfo& type) {
  switch (type.kind) {
    case TypeKind::kDuration:
      return "duration(1/1000000)";
    case TypeKind::kOptional:
      return schema_of(*type.element) + "?";
    case TypeKind::kList:
      return "[" + schema_of(*type.element) + "]";
    case TypeKind::kRecord:
      break;
    default:
      return std::string(to_string(type.kind));
  }
  std::string text = "{";
  for (const FieldInfo& field : type.fields) {
    if (text.size() > 1) text += ',';
    text.append(field.name).append(":").append(schema_of(*field.type));
  }
  return text + "}";
}

}  // namespace levada
