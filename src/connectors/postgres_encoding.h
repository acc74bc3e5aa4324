// Values as the text that PostgreSQL's input functions read, and that text inside array literals and
// COPY lines. No locale, no allocation beyond the output's.
//
// Threads:  pure functions.
// Failures: ValueError for what PostgreSQL cannot hold.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "connectors/postgres_types.h"
#include "levada/type_info.h"

namespace levada::postgres {

/// A value that PostgreSQL has no place for; its column is for the caller to name.
class ValueError final : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Appends the text of a value: a scalar's, or an array literal for a list. False for NULL, with nothing
/// appended.
///
///   Timestamp min, max   -infinity, infinity
///   double               shortest digits that read back as the same value; NaN, Infinity, -Infinity
bool append_text(const TypeInfo& type, const void* value, TextForm form, std::string& out);

/// Whether texts of this type contain nothing that array literals or COPY give a meaning to.
bool is_plain(const TypeInfo& type);

/// Appends `text` as an element of an array literal, quoted.
void append_array_element(std::string_view text, std::string& out);

/// Appends `text` as a field of a COPY line.
void append_copy_field(std::string_view text, std::string& out);

}  // namespace levada::postgres
