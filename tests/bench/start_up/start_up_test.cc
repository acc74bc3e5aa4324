#include <gtest/gtest.h>

#include "start_up_job.h"

namespace bench {
namespace {

// A quiet machine takes less than 10 ms for either.
constexpr double kMostMs = 200;

class StartUpTest : public ::testing::TestWithParam<int> {};

TEST_P(StartUpTest, FirstRowAndStopComeAtOnce) {
  const StartUpTimes times = median_start_up(GetParam(), 11);
  EXPECT_GT(times.first_row.count(), 0);
  EXPECT_LT(times.first_row.count(), kMostMs);
  EXPECT_GT(times.stop.count(), 0);
  EXPECT_LT(times.stop.count(), kMostMs);
}

INSTANTIATE_TEST_SUITE_P(Parallelism, StartUpTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace bench
