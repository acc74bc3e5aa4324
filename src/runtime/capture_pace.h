// CapturePace: how a task shares its time between rows and its state, that is, the slices of a snapshot and what there
// is to settle after one. A task that falls behind its input leaves its state until it has caught up, so that rows
// wait for little. One that is always behind gets a snapshot over with: a row that is the first to change an entry
// captures it as well, and at more than the scan does.
//
// Threads: of the task.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "levada/time.h"

namespace levada {

class CapturePace {
 public:
  /// Slices of a snapshot that one which is always behind takes at once: some 200 µs.
  static constexpr int kSlicesWhenAlwaysBehind = 12;

  /// At the input, which had more than was taken, or not.
  void note_look(bool behind) {
    looks_behind_ = behind ? looks_behind_ + 1 : 0;
    caught_up_ = caught_up_ || !behind;
  }

  /// A snapshot has begun, for which the task stood still since `stood`: rows come first, for a moment.
  void begin_snapshot(SteadyTime stood, SteadyTime now) {
    keeps_up_ = std::exchange(caught_up_, false) || looks_behind_ < kAlwaysBehind;
    state_again_ = now + std::min<SteadyTime::duration>(time_for_rows(now - stood, true), kRowsAtFirst);
  }

  /// It is the turn of the state. A task that is not busy has nothing else to do.
  bool turn_of_state(bool busy, SteadyTime now) {
    keeps_up_ = keeps_up_ || !busy || looks_behind_ == 0;
    return !busy || now >= state_again_;
  }
  /// Of a snapshot, in this turn.
  int slices() const { return keeps_up_ ? 1 : kSlicesWhenAlwaysBehind; }
  /// The turn is over.
  void state_done(SteadyTime begun, SteadyTime now, bool snapshot) {
    state_again_ = now + time_for_rows(now - begun, snapshot);
  }

 private:
  // So many looks at its input, and all since the barrier before, had more for it: the task does not keep up. One that
  // makes up for a stall does.
  static constexpr std::uint64_t kAlwaysBehind = 256;
  // How much longer than on its state a busy task works on rows, before its state's next turn.
  static constexpr int kRowsWhenCaughtUp = 4;
  static constexpr int kRowsWhenBehind = 16;
  static constexpr int kRowsWhenSettling = 4;
  static constexpr Duration kRowsAtFirst{1000};
  // One that is always behind works on rows for this part of the time of a snapshot's slices.
  static constexpr int kPartWhenAlwaysBehind = 4;

  SteadyTime::duration time_for_rows(SteadyTime::duration state, bool snapshot) const {
    if (keeps_up_) return state * (looks_behind_ > 0 ? kRowsWhenBehind : kRowsWhenCaughtUp);
    return snapshot ? state / kPartWhenAlwaysBehind : state * kRowsWhenSettling;
  }

  SteadyTime state_again_{};        // when busy
  std::uint64_t looks_behind_ = 0;  // since the input had no more
  bool caught_up_ = false;          // since the barrier before there was such a look
  bool keeps_up_ = true;            // it has had no more for a moment before or since the newest snapshot began
};

}  // namespace levada
