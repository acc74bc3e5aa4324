// Clock: the only source of time. Wall-clock time is for processing-time semantics, the monotonic clock
// for every interval and timeout. The simulated executor hands in a virtual one.
#pragma once

#include "levada/time.h"

namespace levada {

/// Threads: callable from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Wall-clock time.
  virtual Timestamp now() const = 0;
  /// Monotonic time.
  virtual SteadyTime steady_now() const = 0;
};

/// The clocks of the machine.
const Clock& system_clock();

}  // namespace levada
