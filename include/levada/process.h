// Contexts: what a function of process() may ask and do while it is called.
//
//   struct Watchdog {
//     levada::ValueState<Timestamp> deadline{"deadline"};                                    // see state.h
//     void process(const Heartbeat& beat, levada::KeyedContext<std::string, Alert>& ctx);    // for each row
//     void on_timer(Timestamp at, levada::KeyedContext<std::string, Alert>& ctx);            // optional
//     void open(levada::OpenContext& ctx);                                                   // optional
//     void finish(levada::Context<Alert>& ctx);                                              // optional
//   };
//
// A row that is emitted has the event time of the row at hand; in on_timer the time of an event-time timer, and
// none when the timer is one of processing time.
//
// Timers: one per key and time, kept in checkpoints. Event-time timers fire when the watermark reaches them, in
// the order of their times; one that is set for a time that has passed fires with the next advance of event
// time, or within this one. Those of processing time fire when the clock reaches them, after a restore at once
// when it did meanwhile. At the end of input all event-time timers fire, and those of processing time do not any
// more.
//
// Threads:  of the subtask. Lifetime: of the call.
// Failures: what a function throws fails the job.
// Source:   Flink's KeyedProcessFunction, KeyedBroadcastProcessFunction and KeyedCoProcessFunction.
#pragma once

#include <string>
#include <string_view>

#include "levada/detail/keyed_scope.h"
#include "levada/detail/stateless_operator.h"
#include "levada/state.h"
#include "levada/time.h"

namespace levada {

/// What open() may ask. Unkeyed state is there, also after a restore.
class OpenContext {
 public:
  explicit OpenContext(const OperatorContext& context) : context_(context) {}

  /// The step's uid, or its name.
  const std::string& node() const noexcept { return context_.node; }
  int subtask() const noexcept { return context_.subtask; }
  int parallelism() const noexcept { return context_.parallelism; }
  /// Whether the job started from a checkpoint.
  bool restored() const noexcept { return context_.restored_checkpoint != 0; }

 private:
  const OperatorContext& context_;
};

/// The context of functions without key; emit(row) and emit(tag, row) are those of Collector.
template <class R>
class Context : public Collector<R> {
 public:
  Context(Output& out, detail::FunctionScope& scope)
      : Collector<R>(out, *scope.context->counters), scope_(scope) {}

  /// Event time of the row at hand, kNoTimestamp when it has none; in on_timer the timer's time.
  Timestamp timestamp() const noexcept { return timestamp_; }
  /// No later row has a time <= it.
  Timestamp watermark() const noexcept { return scope_.time->watermark; }
  /// Processing time when the batch of rows came; never goes back, not even over a restore.
  Timestamp now() const noexcept { return scope_.time->now; }
  int subtask() const noexcept { return scope_.context->subtask; }
  int parallelism() const noexcept { return scope_.context->parallelism; }

  /// For the engine: the row or timer at hand, and the time of what is emitted.
  void set_times(Timestamp at_hand, Timestamp emitted) {
    timestamp_ = at_hand;
    this->set_time(emitted);
  }

 private:
  detail::FunctionScope& scope_;
  Timestamp timestamp_ = kNoTimestamp;
};

/// The context of process_broadcast(): it may write BroadcastState.
template <class R>
class BroadcastContext : public Context<R> {
 public:
  using Context<R>::Context;
};

/// The context of a function with a key.
template <class K, class R>
class KeyedContext : public Context<R> {
 public:
  KeyedContext(Output& out, detail::KeyedScope<K>& scope) : Context<R>(out, scope), scope_(scope) {}

  /// The key of the row or timer at hand.
  const K& key() const { return scope_.current.key(); }
  /// In on_timer: of which time the timer is.
  TimeDomain time_domain() const noexcept { return domain_; }

  /// Sets an event-time timer for the key; once however often it is set.
  void set_timer(Timestamp at) { scope_.set_timer(TimeDomain::kEventTime, at); }
  /// Nothing happens when there is no such timer.
  void delete_timer(Timestamp at) { scope_.delete_timer(TimeDomain::kEventTime, at); }
  void set_processing_timer(Timestamp at) { scope_.set_timer(TimeDomain::kProcessingTime, at); }
  void delete_processing_timer(Timestamp at) { scope_.delete_timer(TimeDomain::kProcessingTime, at); }

  /// For the engine.
  void set_time_domain(TimeDomain domain) noexcept { domain_ = domain; }

 private:
  detail::KeyedScope<K>& scope_;
  TimeDomain domain_ = TimeDomain::kEventTime;
};

namespace detail {

template <class R>
inline constexpr bool kMayWriteBroadcast<BroadcastContext<R>> = true;

}  // namespace detail
}  // namespace levada
