// StatePace: how a task shares its time between rows and its state: when it has a snapshot go on that a barrier began,
// and how much of what there is to settle after one it does at a time. A task that falls behind its input leaves its
// state until it has caught up, so that rows wait for little.
//
// Threads: of the task.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "levada/time.h"

namespace levada {

class StatePace {
 public:
  /// At the input, which had more than was taken, or not.
  void note_look(bool behind) {
    looks_behind_ = behind ? looks_behind_ + 1 : 0;
    caught_up_ = caught_up_ || !behind;
  }

  /// Rows wait though the task keeps up otherwise: whoever scans its tables should leave it the memory for a moment.
  bool rows_wait() const { return keeps_up_ && looks_behind_ >= kWaiting; }

  /// A snapshot has begun, for which the task stood still since `stood`: rows come first, for a moment.
  void begin_snapshot(SteadyTime stood, SteadyTime now) {
    keeps_up_ = std::exchange(caught_up_, false) || looks_behind_ < kAlwaysBehind;
    state_again_ = now + std::min<SteadyTime::duration>((now - stood) * kRows, kRowsAtFirst);
  }

  /// It is the turn of the state. A task that is not busy has nothing else to do.
  bool turn_of_state(bool busy, SteadyTime now) {
    keeps_up_ = keeps_up_ || !busy || looks_behind_ == 0;
    return !busy || now >= state_again_;
  }
  /// The turn is over.
  void state_done(SteadyTime begun, SteadyTime now) {
    state_again_ = now + (now - begun) * (keeps_up_ && looks_behind_ > 0 ? kRowsWhenBehind : kRows);
  }

 private:
  // So many looks at its input, and all since the barrier before, had more for it: the task does not keep up. One that
  // makes up for a stall does.
  static constexpr std::uint64_t kAlwaysBehind = 256;
  // One look that had more may have met rows that have just come.
  static constexpr std::uint64_t kWaiting = 2;
  // How much longer than on its state a busy task works on rows, before its state's next turn.
  static constexpr int kRows = 4;
  static constexpr int kRowsWhenBehind = 16;  // of one that keeps up
  static constexpr Duration kRowsAtFirst{1000};

  SteadyTime state_again_{};        // when busy
  std::uint64_t looks_behind_ = 0;  // since the input had no more
  bool caught_up_ = false;          // since the barrier before there was such a look
  bool keeps_up_ = true;            // it has had no more for a moment before or since the newest snapshot began
};

}  // namespace levada
