// Planted bugs: one-line faults in the real code that a test switches on, to see that it would have
// found them.
//
//   if (!LEVADA_PLANTED("manifest.not_synced")) file->sync();
//
// The name must be in planted_bugs.inc, else the line does not compile. The environment variable
// LEVADA_PLANT plants one from the start. Without LEVADA_FAILPOINTS the macro is `false` and nothing of
// it is left.
//
// Threads:  asked from any thread; planted while nothing runs.
// Failures: plant_bug() throws std::invalid_argument for a name that is not in the table; in LEVADA_PLANT
//           it ends the process before main().
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <string_view>

namespace levada {

/// Every planted bug there is, whether the build has them or not.
inline constexpr auto kPlantedBugs = std::to_array<std::string_view>({
#define LEVADA_PLANTED_BUG(name) name,
#include "base/planted_bugs.inc"
#undef LEVADA_PLANTED_BUG
});

#ifdef LEVADA_FAILPOINTS

/// Plants one bug in place of the one before; empty: none.
void plant_bug(std::string_view name);

namespace detail {

void planted_bug_is_not_in_planted_bugs_inc();

// Not a constant expression when the name is unknown: the function above is never defined.
consteval std::size_t planted_bug_index(std::string_view name) {
  for (std::size_t i = 0; i < kPlantedBugs.size(); ++i) {
    if (kPlantedBugs[i] == name) return i;
  }
  planted_bug_is_not_in_planted_bugs_inc();
  return 0;
}

inline constexpr std::size_t kNoPlantedBug = ~std::size_t{0};
extern std::atomic<std::size_t> planted_bug;

}  // namespace detail

#define LEVADA_PLANTED(name)                                                              \
  (::levada::detail::planted_bug.load(std::memory_order_relaxed) == []() consteval {      \
    return ::levada::detail::planted_bug_index(name);                                     \
  }())

#else

#define LEVADA_PLANTED(name) false

#endif

}  // namespace levada
