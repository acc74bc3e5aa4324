// RowBuffer: rows on their way to a table, as the text of their columns. It is filled row by row and handed
// over whole, as one array literal a column or as COPY lines.
//
// Threads:  one thread.
// Failures: append() throws ConnectorError naming table, column and what PostgreSQL cannot hold; the row
//           is then not in the buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "connectors/postgres_encoding.h"
#include "levada/type_info.h"

namespace levada::postgres {

/// Where a column's values come from, and how they are written.
struct ColumnSource {
  std::string column;  ///< for messages: as the table has it
  std::size_t offset;  ///< of the field in its row
  const TypeInfo* type;
  TextForm form;
};

class RowBuffer {
 public:
  /// `table` is for messages.
  RowBuffer(std::string table, std::vector<ColumnSource> columns);

  void append(const void* row);
  void clear();

  std::size_t size() const noexcept { return rows_; }
  bool empty() const noexcept { return rows_ == 0; }
  std::size_t column_count() const noexcept { return columns_.size(); }
  /// Bytes of the rows' text and of the buffer's own lists.
  std::size_t bytes() const noexcept { return bytes_; }

  /// All values of a column: {1,2,NULL}.
  std::string array_literal(std::size_t column) const;

  /// Replaces `lines` by COPY lines of rows from `row` on, about 64 KiB, and moves `row` behind them;
  /// false when there are none.
  bool copy_lines(std::size_t& row, std::string& lines) const;

 private:
  struct Cells {
    std::string text;                 // of all rows, one after the other
    std::vector<std::uint64_t> ends;  // of each row's part of it; the top bit marks NULL
  };
  static constexpr std::uint64_t kNull = std::uint64_t{1} << 63;

  void append_cell(std::size_t column, const void* row);
  void drop_partial_row();

  std::string table_;
  std::vector<ColumnSource> columns_;
  std::vector<Cells> cells_;
  std::size_t rows_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace levada::postgres
