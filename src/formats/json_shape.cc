#include "formats/json_shape.h"

#include <string>

#include "levada/error.h"

namespace levada::formats {
namespace {

void check_value(const TypeInfo& type, const std::string& path) {
  switch (type.kind) {
    case TypeKind::kOpaque:
      throw FormatError("JSON cannot hold field \"" + path +
                        "\": describe its type with LEVADA_RECORD, or use std::vector, "
                        "std::optional, std::string, a number, Timestamp or Duration");
    case TypeKind::kOptional: return check_value(*type.element, path);
    case TypeKind::kList: return check_value(*type.element, path + "[]");
    case TypeKind::kRecord:
      if (type.fields.size() > kJsonFieldsMax) {
        throw FormatError("JSON reads at most " + std::to_string(kJsonFieldsMax) + " fields; " +
                          std::string(type.name) + " has " + std::to_string(type.fields.size()));
      }
      for (const FieldInfo& field : type.fields) {
        check_value(*field.type, (path.empty() ? "" : path + ".") + std::string(field.name));
      }
      return;
    default: return;
  }
}

}  // namespace

void check_json_shape(const TypeInfo& type) {
  if (type.kind != TypeKind::kRecord) {
    throw FormatError(
        "a JSON record is an object: the row must be a struct described by "
        "LEVADA_RECORD, not " +
        std::string(type.name));
  }
  check_value(type, "");
}

}  // namespace levada::formats
