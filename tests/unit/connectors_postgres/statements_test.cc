#include "connectors/postgres_statements.h"

#include <gtest/gtest.h>

namespace levada::postgres {
namespace {

Target target() {
  Target made;
  made.quoted = R"("shop"."user_totals")";
  made.columns = {{R"("user")", "text", "", "text", true},
                  {R"("total")", "double precision", "", "double precision", false},
                  {R"("tags")", "text", "text[]", "text[]", false}};
  return made;
}

TEST(Statements, InsertFromOneArrayAColumn) {
  EXPECT_EQ(Statements(target()).from_arrays(),
            R"(INSERT INTO "shop"."user_totals" ("user", "total", "tags") )"
            "SELECT u.c1, u.c2, u.c3::text[] FROM "
            "ROWS FROM (pg_catalog.unnest($1::text[]), "
            "pg_catalog.unnest($2::double precision[]), pg_catalog.unnest($3::text[])) AS u(c1, c2, c3)");
  EXPECT_EQ(Statements(target()).create_stage(), "");
}

TEST(Statements, UpsertTheLastRowOfEachKeyInTheOrderOfTheKeys) {
  Target upsert = target();
  upsert.mode = WriteMode::kUpsert;
  const Statements statements(upsert);
  EXPECT_EQ(statements.from_arrays(),
            R"(INSERT INTO "shop"."user_totals" ("user", "total", "tags") )"
            "SELECT DISTINCT ON (u.c1) u.c1, u.c2, u.c3::text[] FROM "
            "ROWS FROM (pg_catalog.unnest($1::text[]), "
            "pg_catalog.unnest($2::double precision[]), pg_catalog.unnest($3::text[])) "
            "WITH ORDINALITY AS u(c1, c2, c3, n) ORDER BY u.c1, u.n DESC "
            R"(ON CONFLICT ("user") DO UPDATE SET "total" = EXCLUDED."total", "tags" = EXCLUDED."tags")");
  EXPECT_EQ(statements.create_stage(),
            "CREATE TEMPORARY TABLE levada_stage (c1 text, c2 double precision, c3 text[]) "
            "ON COMMIT DROP");
  EXPECT_EQ(statements.from_stage(),
            R"(INSERT INTO "shop"."user_totals" ("user", "total", "tags") )"
            "SELECT DISTINCT ON (u.c1) u.c1, u.c2, u.c3 FROM pg_temp.levada_stage AS u "
            "ORDER BY u.c1, u.ctid DESC "
            R"(ON CONFLICT ("user") DO UPDATE SET "total" = EXCLUDED."total", "tags" = EXCLUDED."tags")");
}

TEST(Statements, UpsertOfNothingButTheKeyLeavesOldRowsAlone) {
  Target upsert = target();
  upsert.mode = WriteMode::kUpsert;
  for (TargetColumn& column : upsert.columns) column.is_key = true;
  EXPECT_TRUE(Statements(upsert).from_arrays().ends_with(
      R"(ON CONFLICT ("user", "total", "tags") DO NOTHING)"));
}

}  // namespace
}  // namespace levada::postgres
