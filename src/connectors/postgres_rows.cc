#include "connectors/postgres_rows.h"

#include <string_view>
#include <utility>

#include "levada/error.h"

namespace levada::postgres {
namespace {

constexpr std::size_t kLinesBytes = 64 * 1024;
// The server takes no value of more than 1 GB.
constexpr std::size_t kValueBytesMax = std::size_t{1} << 30;

}  // namespace

RowBuffer::RowBuffer(std::string table, std::vector<ColumnSource> columns)
    : table_(std::move(table)), columns_(std::move(columns)), cells_(columns_.size()) {}

void RowBuffer::append(const void* row) {
  std::size_t column = 0;
  try {
    for (; column < columns_.size(); ++column) append_cell(column, row);
  } catch (const ValueError& e) {
    drop_partial_row();
    throw ConnectorError("PostgreSQL: table " + table_ + ", column \"" + columns_[column].column +
                             "\" cannot hold " + e.what(),
                         false);
  }
  ++rows_;
}

void RowBuffer::append_cell(std::size_t column, const void* row) {
  const ColumnSource& source = columns_[column];
  Cells& cells = cells_[column];
  const std::size_t before = cells.text.size();
  const void* value = static_cast<const char*>(row) + source.offset;
  const bool is_null = !append_text(*source.type, value, source.form, cells.text);
  const std::size_t size = cells.text.size() - before;
  cells.ends.push_back(cells.text.size() | (is_null ? kNull : 0));
  bytes_ += size + sizeof(std::uint64_t);
  if (size > kValueBytesMax) throw ValueError("a value of more than 1 GB");
}

void RowBuffer::drop_partial_row() {
  bytes_ = 0;
  for (Cells& cells : cells_) {
    cells.ends.resize(rows_);
    cells.text.resize(rows_ > 0 ? cells.ends.back() & ~kNull : 0);
    bytes_ += cells.text.size() + cells.ends.size() * sizeof(std::uint64_t);
  }
}

void RowBuffer::clear() {
  for (Cells& cells : cells_) {
    cells.text.clear();
    cells.ends.clear();
  }
  rows_ = 0;
  bytes_ = 0;
}

std::string RowBuffer::array_literal(std::size_t column) const {
  const Cells& cells = cells_[column];
  const bool plain = is_plain(*columns_[column].type);
  std::string literal;
  literal.reserve(cells.text.size() + rows_ * (plain ? 1 : 3) + 2);
  literal += '{';
  std::size_t begin = 0;
  for (std::size_t row = 0; row < rows_; ++row) {
    if (row > 0) literal += ',';
    const std::size_t end = cells.ends[row] & ~kNull;
    const std::string_view text(cells.text.data() + begin, end - begin);
    if ((cells.ends[row] & kNull) != 0) {
      literal += "NULL";
    } else if (plain) {
      literal += text;
    } else {
      append_array_element(text, literal);
    }
    begin = end;
  }
  literal += '}';
  return literal;
}

bool RowBuffer::copy_lines(std::size_t& row, std::string& lines) const {
  lines.clear();
  for (; row < rows_ && lines.size() < kLinesBytes; ++row) {
    for (std::size_t column = 0; column < cells_.size(); ++column) {
      if (column > 0) lines += '\t';
      const Cells& cells = cells_[column];
      const std::size_t begin = row > 0 ? cells.ends[row - 1] & ~kNull : 0;
      const std::size_t end = cells.ends[row] & ~kNull;
      if ((cells.ends[row] & kNull) != 0) {
        lines += "\\N";
      } else {
        append_copy_field({cells.text.data() + begin, end - begin}, lines);
      }
    }
    lines += '\n';
  }
  return !lines.empty();
}

}  // namespace levada::postgres
