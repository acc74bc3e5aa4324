#include "base/thread.h"

#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include "levada/clock.h"

#include "base/mutex.h"

namespace levada {
namespace {

TEST(StartThread, RunsTheHooksAroundTheBodyOnTheNewThread) {
  std::vector<std::string> calls;
  std::vector<std::thread::id> ids;
  const auto note = [&](const char* what) {
    return [&calls, &ids, what] {
      calls.emplace_back(what);
      ids.push_back(std::this_thread::get_id());
    };
  };
  std::thread thread = start_thread("levada-0", note("start"), note("stop"), note("body"));
  const std::thread::id id = thread.get_id();
  thread.join();
  EXPECT_EQ(calls, (std::vector<std::string>{"start", "body", "stop"}));
  EXPECT_EQ(ids, (std::vector<std::thread::id>{id, id, id}));
}

TEST(StartThread, NamesTheThreadAsFarAsTheSystemLets) {
  char name[32] = {};
  start_thread("levada-worker-12345", {}, {}, [&] {
    pthread_getname_np(pthread_self(), name, sizeof name);
  }).join();
  EXPECT_STREQ(name, "levada-worker-1");
}

TEST(StartThread, ThrowsWhatTheStartHookThrowsAndRunsNothingElse) {
  bool ran = false;
  EXPECT_THROW(start_thread(
                   "levada", [] { throw std::runtime_error("no"); }, [&] { ran = true; },
                   [&] { ran = true; }),
               std::runtime_error);
  EXPECT_FALSE(ran);
}

TEST(StartThread, SurvivesAStopHookThatThrows) {
  start_thread(
      "levada", {}, [] { throw std::runtime_error("no"); }, [] {})
      .join();
}

TEST(StartThread, LeavesTheSignalsOfTheProcessToTheHost) {
  sigset_t inside;
  sigset_t before;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  start_thread("levada", {}, {}, [&] { pthread_sigmask(SIG_SETMASK, nullptr, &inside); }).join();
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (const int blocked : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD}) {
    EXPECT_EQ(sigismember(&inside, blocked), 1) << blocked;
    EXPECT_EQ(sigismember(&after, blocked), sigismember(&before, blocked)) << blocked;
  }
  for (const int own : {SIGSEGV, SIGABRT, SIGFPE}) EXPECT_EQ(sigismember(&inside, own), 0) << own;
}

TEST(CondVar, WakesAWaitingThread) {
  Mutex mutex;
  CondVar changed;
  bool ready = false;
  std::thread thread([&] {
    MutexLock lock(mutex);
    ready = true;
    changed.notify_one();
  });
  {
    MutexLock lock(mutex);
    while (!ready) EXPECT_TRUE(changed.wait_until(mutex, kNever));
  }
  thread.join();
}

TEST(CondVar, StopsWaitingAtTheDeadline) {
  Mutex mutex;
  CondVar changed;
  const SteadyTime deadline = system_clock().steady_now() + 5ms;
  MutexLock lock(mutex);
  while (changed.wait_until(mutex, deadline)) {
  }
  EXPECT_GE(system_clock().steady_now(), deadline);
}

}  // namespace
}  // namespace levada
