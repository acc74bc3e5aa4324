#include "connectors/postgres_rows.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"
#include "levada/serde.h"

namespace levada::postgres {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Note {
  int id = 0;
  std::optional<std::string> text;
};
LEVADA_RECORD(Note, id, text)

RowBuffer note_buffer() {
  std::vector<ColumnSource> columns;
  for (const FieldInfo& field : type_info<Note>().fields) {
    columns.push_back({std::string(field.name), field.offset, field.type, TextForm::kAsIs});
  }
  return {"public.notes", columns};
}

TEST(RowBuffer, MakesOneArrayLiteralAColumn) {
  RowBuffer rows = note_buffer();
  for (const Note& note : {Note{1, "a\"b"}, Note{2, std::nullopt}, Note{3, ""}}) rows.append(&note);
  EXPECT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows.array_literal(0), "{1,2,3}");
  EXPECT_EQ(rows.array_literal(1), R"({"a\"b",NULL,""})");
}

TEST(RowBuffer, MakesCopyLines) {
  RowBuffer rows = note_buffer();
  for (const Note& note : {Note{1, "a\tb"}, Note{2, std::nullopt}}) rows.append(&note);
  std::size_t row = 0;
  std::string lines;
  ASSERT_TRUE(rows.copy_lines(row, lines));
  EXPECT_EQ(lines, "1\ta\\tb\n2\t\\N\n");
  EXPECT_FALSE(rows.copy_lines(row, lines));
}

TEST(RowBuffer, CutsManyRowsIntoSeveralPieces) {
  RowBuffer rows = note_buffer();
  const std::string text(1000, 'x');
  for (int i = 0; i < 300; ++i) {
    const Note note{i, text};
    rows.append(&note);
  }
  std::size_t row = 0;
  std::size_t pieces = 0;
  std::size_t bytes = 0;
  for (std::string lines; rows.copy_lines(row, lines); ++pieces) {
    EXPECT_EQ(lines.back(), '\n');
    bytes += lines.size();
  }
  EXPECT_GE(pieces, 4U);
  EXPECT_EQ(bytes, 300U * 1002U + 10U + 2U * 90U + 3U * 200U);
}

TEST(RowBuffer, KeepsTheRowsBeforeOneThatCannotBeWritten) {
  RowBuffer rows = note_buffer();
  const Note good{1, "good"};
  const Note bad{2, std::string(1, '\0')};
  rows.append(&good);
  const std::size_t bytes = rows.bytes();
  try {
    rows.append(&bad);
    FAIL() << "a NUL byte was taken";
  } catch (const ConnectorError& e) {
    EXPECT_FALSE(e.retryable());
    EXPECT_THAT(e.what(), AllOf(HasSubstr("public.notes"), HasSubstr("\"text\""), HasSubstr("NUL")));
  }
  EXPECT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows.bytes(), bytes);
  EXPECT_EQ(rows.array_literal(0), "{1}");
}

TEST(RowBuffer, StartsAnewWhenCleared) {
  RowBuffer rows = note_buffer();
  const Note note{1, "a"};
  rows.append(&note);
  rows.clear();
  EXPECT_TRUE(rows.empty());
  EXPECT_EQ(rows.bytes(), 0U);
  rows.append(&note);
  EXPECT_EQ(rows.array_literal(1), R"({"a"})");
}

}  // namespace
}  // namespace levada::postgres
