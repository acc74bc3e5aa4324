// Rows as COPY lines: the form in which they wait in the epoch log. Written once, when the row comes; sent
// as they are by COPY, or, a few of them, taken apart again into array literals.
//
// Threads:  one thread.
// Failures: LineWriter throws ConnectorError naming table, column and what PostgreSQL cannot hold.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "connectors/postgres_rows.h"

namespace levada::postgres {

class LineWriter {
 public:
  /// `table` is for messages.
  LineWriter(std::string table, std::vector<ColumnSource> columns);

  /// Appends the line of a row, without its end.
  void append(const void* row, std::string& out);

 private:
  void append_cell(const ColumnSource& column, const void* row, std::string& out);

  std::string table_;
  std::vector<ColumnSource> columns_;
  std::string scratch_;
};

/// Lines taken apart: array literals, one a column.
class LineArrays {
 public:
  explicit LineArrays(const std::vector<ColumnSource>& columns);

  void add(std::string_view line);
  std::size_t rows() const noexcept { return rows_; }
  std::size_t bytes() const noexcept { return bytes_; }
  /// The arrays; empty again afterwards.
  std::vector<std::string> take();

 private:
  std::vector<bool> plain_;
  std::vector<std::string> arrays_;  // without the closing brace
  std::size_t rows_ = 0;
  std::size_t bytes_ = 0;
  std::string scratch_;
};

}  // namespace levada::postgres
