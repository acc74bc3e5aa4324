// Fail points: named places at which a test can kill the process, make it throw, or make it slow.
//
//   LEVADA_FAILPOINT("checkpoint.manifest.renamed");
//
// The name must be in fail_points.inc, else the line does not compile; a phase may follow
// (…, kManifest) and must then be the table's. Without LEVADA_FAILPOINTS the macro and everything
// behind it is absent. With it, the environment variable LEVADA_FAIL arms points, separated by
// commas:
//   name:nth:kill        SIGKILL to the process itself at the nth passing (from 1)
//   name:nth:throw       std::runtime_error at the nth passing
//   name:nth:stop        SIGSTOP to the process itself: frozen there until somebody sends SIGCONT
//   name:nth:sleep=ms    a pause at the nth passing
// and LEVADA_PHASE_FILE names a file of 16 bytes that always holds the name of the current phase,
// also after a SIGKILL.
//
// Threads:  from any thread; a point that is not armed costs one relaxed load.
// Failures: std::invalid_argument at the first point passed when LEVADA_FAIL does not parse.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace levada {

/// What a job is doing, as far as a kill campaign counts it.
enum class Phase : std::uint8_t {
  kRun,
  kRestore,
  kAlign,
  kWrite,
  kManifest,
  kFlush,
  kLog,
  kPublish,
};

/// "run", "restore", "align", "write", "manifest", "flush", "log" or "publish".
constexpr std::string_view to_string(Phase phase) {
  switch (phase) {
    case Phase::kRun: return "run";
    case Phase::kRestore: return "restore";
    case Phase::kAlign: return "align";
    case Phase::kWrite: return "write";
    case Phase::kManifest: return "manifest";
    case Phase::kFlush: return "flush";
    case Phase::kLog: return "log";
    case Phase::kPublish: return "publish";
  }
  return "?";
}

struct FailPoint {
  std::string_view name;
  Phase phase;
};

/// Every fail point there is, sorted by name, whether the build has them or not.
inline constexpr auto kFailPoints = std::to_array<FailPoint>({
#define LEVADA_FAIL_POINT_ENTRY(name, phase) {name, Phase::phase},
#include "base/fail_points.inc"
#undef LEVADA_FAIL_POINT_ENTRY
});

#ifdef LEVADA_FAILPOINTS

/// Writes the phase into the file named by LEVADA_PHASE_FILE and returns the one before.
Phase set_phase(Phase phase);

/// Arms `spec`, of the form of LEVADA_FAIL, in its place, and counts passings from 1 again; for
/// tests. REQUIRES: no point is being passed. Throws std::invalid_argument when it does not parse.
void arm_fail_points(std::string_view spec);
/// Goes back to LEVADA_FAIL, which the next point passed reads anew; for tests.
void reset_fail_points();

namespace detail {

void fail_point_is_not_in_fail_points_inc();
void fail_point_has_another_phase_in_fail_points_inc();

// Not constant expressions when the name is unknown: the two functions above are never defined.
consteval std::size_t fail_point_index(std::string_view name) {
  for (std::size_t i = 0; i < kFailPoints.size(); ++i) {
    if (kFailPoints[i].name == name) return i;
  }
  fail_point_is_not_in_fail_points_inc();
  return 0;
}
consteval std::size_t fail_point_index(std::string_view name, Phase phase) {
  const std::size_t index = fail_point_index(name);
  if (kFailPoints[index].phase != phase) fail_point_has_another_phase_in_fail_points_inc();
  return index;
}

extern std::atomic<bool> fail_points_off;  // once it is known that none is armed
void pass_armed_fail_point(std::size_t index);

inline void pass_fail_point(std::size_t index) {
  if (!fail_points_off.load(std::memory_order_relaxed)) pass_armed_fail_point(index);
}

}  // namespace detail

#define LEVADA_FAILPOINT(...)                                                      \
  do {                                                                             \
    using enum ::levada::Phase;                                                    \
    constexpr auto levada_point = ::levada::detail::fail_point_index(__VA_ARGS__); \
    ::levada::detail::pass_fail_point(levada_point);                               \
  } while (false)

#else

inline Phase set_phase(Phase) {
  return Phase::kRun;
}
#define LEVADA_FAILPOINT(...) static_cast<void>(0)

#endif

/// Is in a phase for a scope.
class PhaseScope {
 public:
  explicit PhaseScope(Phase phase) : before_(set_phase(phase)) {}
  ~PhaseScope() { set_phase(before_); }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Phase before_;
};

}  // namespace levada
