// KeyedScope: a function's scope with the key at hand and the key's timers.
//
// Threads:  of the subtask.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "levada/detail/function_scope.h"
#include "levada/detail/key.h"
#include "levada/detail/timers.h"

namespace levada::detail {

[[noreturn]] void throw_no_timers();

/// A state with a cold tier, as the loop over rows sees it.
template <class K>
class ColdState {
 public:
  virtual ~ColdState() = default;
  /// Brings what there is of the keys of rows [first, last) into memory, which makes room for them first.
  virtual void make_ready(const KeyColumn<K>& keys, const std::uint64_t* hashes, std::size_t first,
                          std::size_t last) = 0;
  /// The same without rows.
  virtual void make_room() = 0;
};

template <class K>
struct KeyedScope : FunctionScope {
  CurrentKey<K> current;
  std::vector<ColdState<K>*> cold;  ///< the states with a cold tier
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
