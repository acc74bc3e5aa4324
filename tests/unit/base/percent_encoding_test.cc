#include "base/percent_encoding.h"

#include <gtest/gtest.h>

namespace levada {
namespace {

TEST(PercentEncode, KeepsWhatIsHarmlessInAPath) {
  EXPECT_EQ(percent_encode("orders-per_user.v2"), "orders-per_user.v2");
}

TEST(PercentEncode, LeavesNothingThatAPathGivesAMeaningTo) {
  EXPECT_EQ(percent_encode("."), "%2E");
  EXPECT_EQ(percent_encode(".."), "%2E.");
  EXPECT_EQ(percent_encode("../etc/passwd"), "%2E.%2Fetc%2Fpasswd");
  EXPECT_EQ(percent_encode("a b%c"), "a%20b%25c");
  EXPECT_EQ(percent_encode("caf\xc3\xa9"), "caf%C3%A9");
  EXPECT_EQ(percent_encode(std::string_view("\0", 1)), "%00");
}

}  // namespace
}  // namespace levada
