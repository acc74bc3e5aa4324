// KeyedScope: a function's scope with the key at hand and the key's timers.
//
// Threads:  of the subtask.
#pragma once

#include <memory>

#include "levada/detail/function_scope.h"
#include "levada/detail/timers.h"

namespace levada::detail {

[[noreturn]] void throw_no_timers();

template <class K>
struct KeyedScope : FunctionScope {
  CurrentKey<K> current;
  std::unique_ptr<TimerQueue<K>> event_timers;  ///< null when the function has no on_timer()
  std::unique_ptr<TimerQueue<K>> processing_timers;

  void make_timers() {
    event_timers = std::make_unique<TimerQueue<K>>(kEventTimers, *context);
    processing_timers = std::make_unique<TimerQueue<K>>(kProcessingTimers, *context);
  }
  TimerQueue<K>& timers(TimeDomain domain) {
    const auto& queue = domain == TimeDomain::kEventTime ? event_timers : processing_timers;
    if (!queue) [[unlikely]] throw_no_timers();
    return *queue;
  }
  void set_timer(TimeDomain domain, Timestamp at) {
    timers(domain).set(at.time_since_epoch().count(), current);
  }
  void delete_timer(TimeDomain domain, Timestamp at) {
    timers(domain).erase(at.time_since_epoch().count(), current);
  }
};

}  // namespace levada::detail
