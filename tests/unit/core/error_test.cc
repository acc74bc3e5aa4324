#include "levada/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(GraphError, TellsEveryProblemWithItsLine) {
  const std::source_location here = std::source_location::current();
  const GraphError error({{"uid 'a' is given twice", here}, {"nobody reads 'b'", here}});
  EXPECT_EQ(error.problems().size(), 2u);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("2 problems"), HasSubstr("uid 'a' is given twice"),
                                  HasSubstr("nobody reads 'b'"), HasSubstr("error_test.cc:13")));
}

TEST(JobError, NamesNodeAndSubtaskWhenThereAreSome) {
  const JobError error(JobErrorCode::kUserCode, "parse", 2, "bad row",
                       std::make_exception_ptr(StateError("cause")));
  EXPECT_STREQ(error.what(), "node 'parse', subtask 2: bad row");
  EXPECT_EQ(error.code(), JobErrorCode::kUserCode);
  EXPECT_THROW(std::rethrow_exception(error.cause()), StateError);
  EXPECT_STREQ(JobError(JobErrorCode::kState, "parse", -1, "x").what(), "node 'parse': x");
  EXPECT_STREQ(JobError(JobErrorCode::kState, "", -1, "x").what(), "x");
}

TEST(ConnectorError, TellsWhetherToTryAgain) {
  EXPECT_TRUE(ConnectorError("gone", true).retryable());
  EXPECT_FALSE(ConnectorError("wrong password", false).retryable());
}

}  // namespace
}  // namespace levada
