#include "connectors/postgres_lines.h"

#include <algorithm>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

namespace levada::postgres {
namespace {

// The server takes no value of more than 1 GB.
constexpr std::size_t kValueBytesMax = std::size_t{1} << 30;
constexpr std::string_view kNullCell = "\\N";

// Takes back what append_copy_field() did.
void append_unescaped(std::string_view cell, std::string& out) {
  for (std::size_t i = 0; i < cell.size(); ++i) {
    if (cell[i] != '\\' || i + 1 == cell.size()) {
      out += cell[i];
      continue;
    }
    switch (cell[++i]) {
      case 't': out += '\t'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      default: out += cell[i];
    }
  }
}

}  // namespace

LineWriter::LineWriter(std::string table, std::vector<ColumnSource> columns)
    : table_(std::move(table)), columns_(std::move(columns)) {}

void LineWriter::append(const void* row, std::string& out) {
  for (const ColumnSource& column : columns_) {
    if (&column != columns_.data()) out += '\t';
    try {
      append_cell(column, row, out);
    } catch (const ValueError& e) {
      throw ConnectorError("PostgreSQL: table " + table_ + ", column \"" + column.column +
                               "\" cannot hold " + e.what(),
                           false);
    }
  }
}

void LineWriter::append_cell(const ColumnSource& column, const void* row, std::string& out) {
  const void* value = static_cast<const char*>(row) + column.offset;
  if (is_plain(*column.type)) {
    if (!append_text(*column.type, value, column.form, out)) out += kNullCell;
    return;
  }
  scratch_.clear();
  if (!append_text(*column.type, value, column.form, scratch_)) {
    out += kNullCell;
    return;
  }
  if (scratch_.size() > kValueBytesMax) throw ValueError("a value of more than 1 GB");
  append_copy_field(scratch_, out);
}

LineArrays::LineArrays(const std::vector<ColumnSource>& columns) : arrays_(columns.size(), "{") {
  for (const ColumnSource& column : columns) plain_.push_back(is_plain(*column.type));
}

void LineArrays::add(std::string_view line) {
  bytes_ += line.size();
  std::size_t column = 0;
  for (std::size_t begin = 0; begin <= line.size();) {
    const std::size_t end = std::min(line.find('\t', begin), line.size());
    const std::string_view cell = line.substr(begin, end - begin);
    LEVADA_ASSERT(column < arrays_.size(), "a line has as many cells as the table has columns");
    std::string& array = arrays_[column];
    if (rows_ > 0) array += ',';
    if (cell == kNullCell) {
      array += "NULL";
    } else if (plain_[column]) {
      array += cell;
    } else {
      scratch_.clear();
      append_unescaped(cell, scratch_);
      append_array_element(scratch_, array);
    }
    ++column;
    begin = end + 1;
  }
  LEVADA_ASSERT(column == arrays_.size(), "a line has as many cells as the table has columns");
  ++rows_;
}

std::vector<std::string> LineArrays::take() {
  std::vector<std::string> taken = std::exchange(
      arrays_, std::vector<std::string>(plain_.size(), "{"));
  for (std::string& array : taken) array += '}';
  rows_ = bytes_ = 0;
  return taken;
}

}  // namespace levada::postgres
