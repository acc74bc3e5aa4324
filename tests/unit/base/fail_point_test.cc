#include "base/fail_point.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include "support/child_process.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using testing::ChildExit;
using testing::run_in_child;

TEST(FailPoints, AreListedSortedAndOnlyOnceWithAPhaseEach) {
  EXPECT_TRUE(
      std::is_sorted(kFailPoints.begin(), kFailPoints.end(),
                     [](const FailPoint& a, const FailPoint& b) { return a.name < b.name; }));
  std::set<std::string_view> names;
  std::set<Phase> phases;
  for (const FailPoint& point : kFailPoints) {
    EXPECT_TRUE(names.insert(point.name).second) << point.name;
    phases.insert(point.phase);
  }
  EXPECT_EQ(phases.size(), 8u) << "every phase has a point";
}

#ifdef LEVADA_FAILPOINTS

// Passes one point `times` times in a process that was started with LEVADA_FAIL=`spec`.
ChildExit pass_in_child(const char* spec, int times) {
  return run_in_child([&] {
    ::setenv("LEVADA_FAIL", spec, 1);
    reset_fail_points();
    for (int i = 0; i < times; ++i) LEVADA_FAILPOINT("checkpoint.manifest.renamed", kManifest);
    return 0;
  });
}

TEST(FailPoint, KillsItsProcessAtTheNthPassing) {
  EXPECT_EQ(pass_in_child("checkpoint.manifest.renamed:3:kill", 2).code, 0);
  EXPECT_EQ(pass_in_child("checkpoint.manifest.renamed:3:kill", 3).signal, SIGKILL);
}

TEST(FailPoint, DoesNothingWhenAnotherOneIsArmedOrNone) {
  EXPECT_EQ(pass_in_child("checkpoint.manifest.synced:1:kill", 5).code, 0);
  EXPECT_EQ(pass_in_child("", 5).code, 0);
}

TEST(FailPoint, ThrowsAtTheNthPassingOnly) {
  arm_fail_points("checkpoint.acked:2:throw,runtime.row.polled:1:throw");
  const auto pass = [] { LEVADA_FAILPOINT("checkpoint.acked"); };
  EXPECT_NO_THROW(pass());
  EXPECT_THROW(pass(), std::runtime_error);
  EXPECT_NO_THROW(pass());
  EXPECT_THROW(LEVADA_FAILPOINT("runtime.row.polled"), std::runtime_error);
  reset_fail_points();
  EXPECT_NO_THROW(LEVADA_FAILPOINT("runtime.row.polled"));
}

TEST(FailPoint, PausesForTheGivenTime) {
  arm_fail_points("checkpoint.acked:1:sleep=20");
  const auto start = std::chrono::steady_clock::now();
  LEVADA_FAILPOINT("checkpoint.acked");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(20));
  reset_fail_points();
}

TEST(FailPoint, FreezesItsProcessUntilItIsContinued) {
  const pid_t child = testing::start_child([] {
    ::setenv("LEVADA_FAIL", "checkpoint.acked:2:stop", 1);
    reset_fail_points();
    for (int i = 0; i < 3; ++i) LEVADA_FAILPOINT("checkpoint.acked");
    return 7;
  });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  EXPECT_TRUE(WIFSTOPPED(status));
  ::kill(child, SIGCONT);
  EXPECT_EQ(testing::wait_for(child).code, 7);
}

TEST(FailPoint, RefusesASpecThatDoesNotParse) {
  for (const char* spec : {"checkpoint.acked", "checkpoint.acked:1", "checkpoint.ackd:1:kill",
                           "checkpoint.acked:0:kill", "checkpoint.acked:x:kill",
                           "checkpoint.acked:1:maim", "checkpoint.acked:1:sleep=",
                           "checkpoint.acked:1:kill,"
                           "?"}) {
    EXPECT_THROW(arm_fail_points(spec), std::invalid_argument) << spec;
  }
  // From the environment: at the first point passed, so that no campaign runs without its faults.
  EXPECT_EQ(pass_in_child("checkpoint.manifest.renamd:1:kill", 1).code, 99);
}

std::string first_word(const std::string& path) {
  std::ifstream file(path);
  std::string bytes(16, '?');
  file.read(bytes.data(), 16);
  EXPECT_EQ(file.gcount(), 16);
  return bytes.c_str();
}

TEST(Phase, IsInItsFileAlsoAfterAKill) {
  const testing::TempDir directory;
  const std::string path = directory / "phase";
  const ChildExit exit = run_in_child([&] {
    ::setenv("LEVADA_PHASE_FILE", path.c_str(), 1);
    const PhaseScope restore(Phase::kRestore);
    {
      const PhaseScope manifest(Phase::kManifest);
      if (first_word(path) != "manifest") return 1;
    }
    if (first_word(path) != "restore") return 2;
    set_phase(Phase::kFlush);
    ::kill(::getpid(), SIGKILL);
    return 3;
  });
  EXPECT_EQ(exit.signal, SIGKILL) << exit.code;
  EXPECT_EQ(first_word(path), "flush");
}

#else

TEST(FailPoint, IsAbsentFromThisBuild) {
  const ChildExit exit = run_in_child([] {
    ::setenv("LEVADA_FAIL", "checkpoint.acked:1:kill", 1);
    LEVADA_FAILPOINT("checkpoint.acked");
    return 0;
  });
  EXPECT_EQ(exit.code, 0);
}

#endif

}  // namespace
}  // namespace levada
