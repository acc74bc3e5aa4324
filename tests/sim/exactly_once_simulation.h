// One seed of the exactly-once simulation: a job (source with splits → exchange by key → perhaps a function with
// state → one or two exactly-once sinks) from its first start to its end, through several incarnations, on a
// simulated executor, disk, clock and PostgreSQL. Everything that goes wrong is drawn from the seed; each seed has
// its own few kinds of faults.
//
// Its host takes checkpoints and savepoints of it, stops it, and starts it again: as it was, from a savepoint, in
// another directory, under another name, in a new sink generation; and faults go on. A savepoint whose rows were
// published again is refused, and one that says what the target shows is not.
//
// Checked at every commit of the database and every removal of a file: per key the visible rows are the
// first n of the source, in order; a transaction shows whole epochs, in order, that a manifest names; no
// incarnation shows anything once a later one has taken the marker over; no file goes that a retained
// manifest names; no two instances run that see one another's lock. No process, attempt, request or checkpoint fails
// without a reason in what that process met. Who has finished has published and recorded all, has answered every
// request, and leaves no file, no lock and no memory of the log behind. At the end nothing fails any more, and the job
// must finish with all rows visible.
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
  /// the job said so; or a failover took what a job that had ended well had published.
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
