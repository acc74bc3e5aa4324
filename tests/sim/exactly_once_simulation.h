// One seed of the exactly-once simulation: a job (source with splits → exchange by key → exactly-once sink)
// from its first start to its end, through several incarnations, on a simulated executor, disk, clock and
// PostgreSQL. Everything that goes wrong is drawn from the seed; each seed has its own few kinds of faults.
//
// Checked at every commit of the database and every removal of a file: per key the visible rows are the
// first n of the source, in order; a transaction shows whole epochs, in order, that a manifest names; no
// incarnation shows anything once a later one has taken the marker over; no file goes that a retained
// manifest names; no two instances run that see one another's lock; no start refuses without a reason. At the end nothing
// fails any more, and the job must finish with all rows visible. Then perhaps a savepoint is restored: refused
// where that would publish rows again, and published again under a new sink generation, which is what that is for.
//
// Threads: one.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace levada::testing {

/// What can go wrong.
enum class SimulatedFault {
  kKill,
  kPowerLoss,
  kDeathInFileOperation,
  kDeathAroundCommit,
  kDiskError,
  kDamagedRead,
  kShortRead,
  kWallClockJump,
  kPause,
  kRefusedConnection,
  kConflict,
  kCut,
  kReplyLost,
  kOrphan,
  kLockTimeout,
  kIdleSessionEnded,
  kFailover,
  kZombieKeepsLock,
  kZombieLosesLock,
  kZombieInCall,
  kMarkerRemoved,
  kLogDamaged,
  kSmallLog,
  kRescale,
  kCount,
};
inline constexpr auto kSimulatedFaults = static_cast<std::size_t>(SimulatedFault::kCount);
std::string_view to_string(SimulatedFault fault);

struct ExactlyOnceRun {
  /// What was wrong; empty: nothing.
  std::string wrong;
  std::uint64_t trace = 0;
  std::uint64_t steps = 0;
  std::array<std::uint32_t, kSimulatedFaults> hits{};
  std::uint32_t checkpoints = 0;
  std::uint32_t publishes = 0;
  std::uint32_t incarnations = 0;
  std::uint32_t savepoints = 0;  ///< taken, and read back
  std::uint32_t generations = 0;  ///< new ones, from a savepoint
  /// A failover lost more than the retained checkpoints still have, the marker was removed or the log damaged, and
  /// the job said so.
  bool refused = false;
  std::uint32_t faults() const noexcept {
    std::uint32_t sum = 0;
    for (const std::uint32_t n : hits) sum += n;
    return sum;
  }
};

/// `say` gets what happens, line by line; may be empty.
ExactlyOnceRun simulate_exactly_once(std::uint64_t seed,
                                     const std::function<void(const std::string&)>& say = {});

}  // namespace levada::testing
