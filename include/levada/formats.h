// Formats: how the bytes of a record become a row and a row becomes bytes, for any described struct.
// Sources and sinks take one (`.value = json()`); custom ones may use the parsers directly.
//
// Threads:  a Format is a value and may be copied anywhere; a parser or writer belongs to one thread.
// Lifetime: a parser and a writer own what they need; the TypeInfo lives for ever.
// Failures: a record that does not parse is an expected alternative: parse() returns false and
//           problem() says why. A row type that the format cannot hold is a FormatError at once.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "levada/bytes.h"
#include "levada/type_info.h"

namespace levada {

/// Bytes behind a record that parse_padded() may read (never use).
inline constexpr std::size_t kFormatPaddingBytes = 64;

/// Assigns records to rows of one type.
///
/// Threads: of its owner; parsing reuses buffers of the parser.
class RecordParser {
 public:
  virtual ~RecordParser() = default;

  /// Assigns the record `bytes` to the row at `row`. Every described field is assigned; strings and
  /// lists keep their capacity. False: the record does not fit, problem() says why, and the row holds
  /// valid but unspecified values.
  ///
  /// Cost: as parse_padded, and one copy of `bytes`.
  virtual bool parse(std::string_view bytes, void* row) = 0;
  /// As parse(); the caller promises that kFormatPaddingBytes bytes behind `bytes` are readable.
  virtual bool parse_padded(std::string_view bytes, void* row) = 0;

  /// Why the last record was refused, e.g. `field "amount" at byte 31: expected int64, found a string`.
  virtual const std::string& problem() const = 0;
};

/// Turns rows of one type into records.
///
/// Threads: of its owner.
class RecordWriter {
 public:
  virtual ~RecordWriter() = default;
  /// Appends the record of the row at `row`.
  ///
  /// Errors: FormatError if the format has no notation for a value, such as NaN in JSON.
  virtual void write(const void* row, Bytes& out) const = 0;
};

/// A format: makes parsers and writers for row types.
///
/// Errors: both functions throw FormatError naming a field whose type the format cannot hold.
struct Format {
  std::string name;
  std::function<std::unique_ptr<RecordParser>(const TypeInfo&)> make_parser;
  std::function<std::unique_ptr<RecordWriter>(const TypeInfo&)> make_writer;
};

/// JSON (RFC 8259): one object a record, its members by field name.
///
/// Reading is strict: a missing field is refused unless it is std::optional (then reset; null resets it
/// too); numbers are not taken from strings, and must fit the field's type; unknown members are passed
/// over but must be well-formed; of a member given twice the last counts, as in JavaScript; text must be
/// UTF-8; nesting deeper than 128 is refused, as is anything behind the object.
/// Timestamp: a number of milliseconds since 1970 (a fraction gives microseconds) or an ISO-8601 string
/// such as "2026-01-31T12:00:00.000001+01:00" (without an offset: UTC). Duration: a number of
/// milliseconds. Enums: their number.
///
/// Shape:  a struct described by LEVADA_RECORD; nested ones, std::vector and std::optional of them.
/// Errors: FormatError when the parser is made, for another type or a field that JSON cannot hold.
/// Cost:   reading: that of simdjson on demand, if members come in the order of the fields.
/// Source: parsing by simdjson (Langdale, Lemire: "Parsing gigabytes of JSON per second", 2019).
Format json();

/// What a source does with a record that does not parse.
enum class BadRecordPolicy {
  kFail,          ///< the job fails with an error that names the record
  kSkipAndCount,  ///< the record is left out and counted in `bad_records`
};

/// The policy for bad records, as options hold it.
struct BadRecords {
  BadRecordPolicy policy = BadRecordPolicy::kFail;
};

/// A record that does not parse fails the job.
constexpr BadRecords fail() {
  return {BadRecordPolicy::kFail};
}
/// A record that does not parse is left out and counted.
constexpr BadRecords skip_and_count() {
  return {BadRecordPolicy::kSkipAndCount};
}

}  // namespace levada
