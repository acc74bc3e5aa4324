#include "connectors/postgres_conninfo.h"

#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"

namespace levada::postgres {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

std::string error_of(const std::string& text) {
  try {
    parse_conninfo(Secret(text), 5s, 30s);
  } catch (const ConnectorError& e) {
    EXPECT_FALSE(e.retryable());
    return e.what();
  }
  return {};
}

TEST(Conninfo, AddsLimitsToTheUsersWords) {
  const Conninfo conninfo =
      parse_conninfo(Secret("host=db password=canary connect_timeout=99"), 5s, 30s);
  EXPECT_THAT(conninfo,
              AllOf(Contains(Pair("host", "db")), Contains(Pair("password", "canary")),
                    Contains(Pair("connect_timeout", "5")), Contains(Pair("client_encoding", "UTF8")),
                    Contains(Pair("tcp_user_timeout", "30000")),
                    Contains(Pair("keepalives_idle", "10"))));
  EXPECT_EQ(std::count_if(conninfo.begin(), conninfo.end(),
                          [](const auto& pair) { return pair.first == "connect_timeout"; }),
            1);
}

TEST(Conninfo, KeepsWhatTheUserSaysOfKeepalives) {
  EXPECT_THAT(parse_conninfo(Secret("keepalives_idle=77"), 5s, 30s),
              Contains(Pair("keepalives_idle", "77")));
}

TEST(Conninfo, TakesUris) {
  EXPECT_THAT(parse_conninfo(Secret("postgresql://ann:c%40n@db:5433/shop"), 5s, 30s),
              AllOf(Contains(Pair("password", "c@n")), Contains(Pair("host", "db")),
                    Contains(Pair("dbname", "shop"))));
}

TEST(Conninfo, NeverShowsTextThatDoesNotParse) {
  for (const char* text :
       {"password=canary canary", "canary", "postgresql://u:canary@[::1", "passwort=canary",
        "password='canary", "postgresql://u:can@canary@db/shop", "postgresql://u:12/canary@db/shop",
        "postgresql://u:canary/x@db/shop"}) {
    EXPECT_THAT(error_of(text), AllOf(Not(IsEmpty()), Not(HasSubstr("canary")))) << text;
  }
}

TEST(Conninfo, WarnsOnlyWhenTheServerElsewhereIsNotVerified) {
  EXPECT_THAT(transport_warning("db.example.org", "prefer"), HasSubstr("verify-full"));
  EXPECT_THAT(transport_warning("10.0.0.1", "verify-ca"), HasSubstr("verify-full"));
  EXPECT_THAT(transport_warning("db.example.org", "verify-full"), IsEmpty());
  for (const char* host : {"", "/run/postgresql", "localhost", "127.0.0.1", "::1"}) {
    EXPECT_THAT(transport_warning(host, "disable"), IsEmpty()) << host;
  }
}

}  // namespace
}  // namespace levada::postgres
