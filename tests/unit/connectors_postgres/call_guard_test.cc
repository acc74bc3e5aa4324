#include "connectors/postgres_call_guard.h"

#include <array>
#include <cerrno>
#include <chrono>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace levada::postgres {
namespace {

class CallGuardTest : public ::testing::Test {
 protected:
  CallGuardTest() {
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()) != 0) ends_ = {-1, -1};
  }
  ~CallGuardTest() override {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }

  std::array<int, 2> ends_{};
};

TEST_F(CallGuardTest, EndsACallThatTakesTooLong) {
  CallGuard guard(ends_[0]);
  const CallGuard::Scope bounded(guard, 20ms);
  char byte = 0;
  EXPECT_EQ(::read(ends_[0], &byte, 1), 0);  // without the guard it would wait for ever
  EXPECT_TRUE(guard.expired());
}

TEST_F(CallGuardTest, LeavesACallAloneThatReturnsInTime) {
  CallGuard guard(ends_[0]);
  for (int i = 0; i < 3; ++i) {
    const CallGuard::Scope bounded(guard, 30s);
    ASSERT_EQ(::write(ends_[1], "x", 1), 1);
    char byte = 0;
    EXPECT_EQ(::read(ends_[0], &byte, 1), 1);
  }
  EXPECT_FALSE(guard.expired());
}

TEST_F(CallGuardTest, TakesAShorterLimitAfterALongerOne) {
  CallGuard guard(ends_[0]);
  { const CallGuard::Scope bounded(guard, 1h); }
  const CallGuard::Scope bounded(guard, 20ms);
  char byte = 0;
  EXPECT_EQ(::read(ends_[0], &byte, 1), 0);
  EXPECT_TRUE(guard.expired());
}

TEST_F(CallGuardTest, NeverTouchesADescriptorThatIsUsedAnew) {
  CallGuard guard(ends_[0]);
  const CallGuard::Scope bounded(guard, 20ms);
  std::array<int, 2> others{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, others.data()), 0);
  const int old = ends_[0];
  ASSERT_EQ(::dup2(others[0], old), old);
  char byte = 0;
  EXPECT_EQ(::read(ends_[1], &byte, 1), 0);  // the guarded socket is shut down
  EXPECT_EQ(::recv(old, &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);  // the new one under the old number is not
  ::close(others[0]);
  ::close(others[1]);
}

}  // namespace
}  // namespace levada::postgres
