// The typed half of process(): loops over rows that call a user's function with its state and timers. Decisions
// about time are in src/operators/process_operator.cc.
//
// Threads:  of the subtask.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/detail/function_members.h"
#include "levada/detail/key.h"
#include "levada/detail/keyed_scope.h"
#include "levada/detail/paged_map.h"
#include "levada/detail/stream.h"
#include "levada/detail/unkeyed_state.h"
#include "levada/operator.h"
#include "levada/process.h"

namespace levada::detail {

/// The operator state of a function's time, in every function's checkpoint.
inline constexpr const char* kFunctionTimeState = "time";

/// The face of the typed kernel that the process operator drives.
class ProcessKernel {
 public:
  virtual ~ProcessKernel() = default;
  /// `time` is kept by the operator and changes only between calls.
  virtual void open(OperatorContext& context, const FunctionTime& time) = 0;
  virtual void restore(const RestoredState& state) = 0;
  /// Calls the function's open(); all state is there.
  virtual void begin() = 0;
  virtual void snapshot(SnapshotContext& context) = 0;
  /// The keyed state of that name in checkpoints; null when there is none.
  virtual StateLookUp* state_look_up(std::string_view name) = 0;
  /// As Operator::process().
  virtual std::size_t process(std::size_t input, const Batch& batch, std::size_t first_row,
                              Output& out) = 0;
  /// The time of the first timer, or one before it; nothing: there is none.
  virtual std::optional<Timestamp> next_timer(TimeDomain domain) const = 0;
  /// Takes the first timer and calls on_timer(), unless it had been deleted. REQUIRES: next_timer().
  virtual void fire(TimeDomain domain, Output& out) = 0;
  virtual void finish(Output& out) = 0;
};

std::unique_ptr<Operator> make_process_operator(std::unique_ptr<ProcessKernel> kernel,
                                                std::size_t inputs);

/// True when an output of a function is full, the main one or a side output.
inline bool any_full(Output& out) {
  return out.full() || std::any_of(out.sides().begin(), out.sides().end(),
                                   [](const Output& side) { return side.full(); });
}

// ---- what functions look like

template <class F, class T, class C>
concept Processes = requires(F& f, const T& row, C& context) { f.process(row, context); } ||
                    std::is_invocable_v<F&, const T&, C&>;
template <class F, class C>
concept HasOnTimer = requires(F& f, C& context) { f.on_timer(Timestamp{}, context); };
template <class F>
concept HasOpen = requires(F& f, OpenContext& context) { f.open(context); };
template <class F, class R>
concept HasFinish = requires(F& f, Context<R>& context) { f.finish(context); };

// A member of that name which does not fit would go unnoticed.
template <class F>
concept HasOnTimerOfAnyKind = std::is_member_function_pointer_v<decltype(&F::on_timer)>;
template <class F>
concept HasOpenOfAnyKind = std::is_member_function_pointer_v<decltype(&F::open)>;
template <class F>
concept HasFinishOfAnyKind = std::is_member_function_pointer_v<decltype(&F::finish)>;

template <class R, class F>
constexpr void check_open_and_finish() {
  static_assert(HasOpen<F> || !HasOpenOfAnyKind<F>, "process: open needs void open(OpenContext&)");
  static_assert(HasFinish<F, R> || !HasFinishOfAnyKind<F>,
                "process<Out>: finish needs void finish(Context<Out>&)");
}

template <class F, class T, class C>
void call_process(F& function, const T& row, C& context) {
  if constexpr (requires { function.process(row, context); }) {
    function.process(row, context);
  } else {
    function(row, context);
  }
}

// ---- kernels

/// What kernels have in common: the function, its states, their snapshots.
template <class Scope, class R, class F>
class FunctionKernel : public ProcessKernel {
 public:
  explicit FunctionKernel(const F& prototype) : function_(prototype) {}

  void open(OperatorContext& context, const FunctionTime& time) override {
    scope_.context = &context;
    scope_.time = &time;
    for_each_state(function_, [&](auto& member) { states_.push_back(bind_state(member, scope_)); });
  }
  void restore(const RestoredState& state) override {
    for (const auto& bound : states_) bound->restore(state, *scope_.context);
  }
  void begin() override {
    if constexpr (HasOpen<F>) {
      OpenContext context(*scope_.context);
      function_.open(context);
    }
  }
  void snapshot(SnapshotContext& context) override {
    for (const auto& bound : states_) bound->snapshot(context);
  }
  StateLookUp* state_look_up(std::string_view name) override {
    for (const auto& bound : states_) {
      StateLookUp* const state = bound->look_up();
      if (state != nullptr && state->name() == name) return state;
    }
    return nullptr;
  }
  std::optional<Timestamp> next_timer(TimeDomain) const override { return std::nullopt; }
  void fire(TimeDomain, Output&) override {}
  void finish(Output& out) override {
    if constexpr (HasFinish<F, R>) {
      Context<R> context(out, scope_);
      function_.finish(context);
    }
  }

 protected:
  // The loop over rows of an input without key.
  template <class T, class C, class Call>
  std::size_t run_unkeyed(const Batch& batch, std::size_t first_row, Output& out, Call call) {
    C context(out, scope_);
    const T* rows = batch.rows<T>();
    const Timestamp* times = batch.times();
    const std::size_t size = batch.size();
    std::size_t row = first_row;
    for (; row < size && !any_full(out); ++row) {
      context.set_times(times[row], times[row]);
      call(rows[row], context);
    }
    return row;
  }

  F function_;
  Scope scope_;
  std::vector<std::unique_ptr<BoundState>> states_;
};

template <class T, class R, class F>
class UnkeyedKernel : public FunctionKernel<FunctionScope, R, F> {
 public:
  using FunctionKernel<FunctionScope, R, F>::FunctionKernel;

  std::size_t process(std::size_t, const Batch& batch, std::size_t first_row, Output& out) override {
    return this->template run_unkeyed<T, Context<R>>(
        batch, first_row, out,
        [this](const T& row, Context<R>& context) { call_process(this->function_, row, context); });
  }
};

/// Two inputs without keys.
template <class T, class U, class R, class F>
class UnkeyedConnectedKernel final : public FunctionKernel<FunctionScope, R, F> {
 public:
  using FunctionKernel<FunctionScope, R, F>::FunctionKernel;

  std::size_t process(std::size_t input, const Batch& batch, std::size_t first_row, Output& out) override {
    if (input == 0) {
      return this->template run_unkeyed<T, Context<R>>(
          batch, first_row, out,
          [this](const T& row, Context<R>& context) { this->function_.process_left(row, context); });
    }
    return this->template run_unkeyed<U, Context<R>>(
        batch, first_row, out,
        [this](const U& row, Context<R>& context) { this->function_.process_right(row, context); });
  }
};

/// What kernels of keyed functions have in common.
template <class K, class R, class F>
class KeyedFunctionKernel : public FunctionKernel<KeyedScope<K>, R, F> {
 public:
  using Base = FunctionKernel<KeyedScope<K>, R, F>;
  using KeyContext = KeyedContext<K, R>;
  using Base::Base;

  void open(OperatorContext& context, const FunctionTime& time) override {
    Base::open(context, time);
    if constexpr (kTimers) this->scope_.make_timers();
  }
  void restore(const RestoredState& state) override {
    Base::restore(state);
    each_queue([&](TimerQueue<K>& queue) { queue.restore(state, *this->scope_.context); });
  }
  void snapshot(SnapshotContext& context) override {
    Base::snapshot(context);
    each_queue([&](TimerQueue<K>& queue) { queue.snapshot(context); });
  }
  std::optional<Timestamp> next_timer(TimeDomain domain) const override {
    if constexpr (kTimers) {
      return (domain == TimeDomain::kEventTime ? this->scope_.event_timers
                                               : this->scope_.processing_timers)
          ->next();
    } else {
      return std::nullopt;
    }
  }
  void fire(TimeDomain domain, Output& out) override {
    if constexpr (kTimers) {
      if (!this->scope_.timers(domain).take(timer_)) return;
      for (ColdState<K>* state : this->scope_.cold) state->make_room();
      const Timestamp at{Duration{timer_.time_us}};
      KeyContext context(out, this->scope_);
      context.set_times(at, domain == TimeDomain::kEventTime ? at : kNoTimestamp);
      context.set_time_domain(domain);
      this->scope_.current.set(timer_.key, timer_.hash);
      this->function_.on_timer(at, context);
      this->scope_.settle();
      this->scope_.current.clear();
    }
  }

 protected:
  // The loop over rows of an input with key: what rows need of the states is fetched some rows ahead.
  template <class T, class Call>
  std::size_t run_keyed(KeySelector<K, T>& selector, const Batch& batch, std::size_t first_row,
                        Output& out, Call call) {
    LEVADA_DEBUG_ASSERT(batch.has_hashes(), "keyed functions get hashed batches");
    if (first_row == 0) {
      for (const auto& state : this->states_) state->clean(kCleanSlots);
    }
    const KeyColumn<K> keys = selector.keys(batch);
    const T* rows = batch.rows<T>();
    const Timestamp* times = batch.times();
    const std::uint64_t* hashes = batch.hashes();
    const std::size_t size = batch.size();
    KeyContext context(out, this->scope_);
    std::size_t row = first_row;
    std::size_t ready = row;
    prefetch(hashes, row, std::min(row + kAhead, size));
    while (row < size) {
      if (row >= ready) {
        ready = std::min(row + kColdRows, size);
        for (ColdState<K>* state : this->scope_.cold) state->make_ready(keys, hashes, row, ready);
      }
      const std::size_t last = std::min(row + kAhead, size);
      prefetch(hashes, last, std::min(last + kAhead, size));
      for (; row < last; ++row) {
        if (any_full(out)) {
          this->scope_.current.clear();
          return row;
        }
        context.set_times(times[row], times[row]);
        this->scope_.current.set(keys[row], hashes[row]);
        call(rows[row], context);
        this->scope_.settle();
      }
    }
    this->scope_.current.clear();
    return row;
  }

 private:
  static constexpr bool kTimers = HasOnTimer<F, KeyContext>;
  static constexpr std::size_t kAhead = 16;
  // Whose values a cold tier is asked for together: they are in memory together, too. A multiple of kAhead.
  static constexpr std::size_t kColdRows = 128;
  // Of each state with a time to live, for each batch: so all of it is looked at in the course of rows.
  static constexpr std::size_t kCleanSlots = 512;

  void prefetch(const std::uint64_t* hashes, std::size_t first, std::size_t last) {
    if (first == last) return;
    for (const auto& state : this->states_) state->prefetch(hashes, first, last);
    each_queue([&](TimerQueue<K>& queue) { queue.prefetch(hashes, first, last); });
  }
  template <class Call>
  void each_queue(Call call) {
    if constexpr (kTimers) {
      call(*this->scope_.event_timers);
      call(*this->scope_.processing_timers);
    }
  }

  Timer<K> timer_;  // that fires
};

template <class K, class T, class R, class F>
class KeyedKernel : public KeyedFunctionKernel<K, R, F> {
 public:
  KeyedKernel(const F& prototype, std::unique_ptr<KeySelector<K, T>> selector)
      : KeyedFunctionKernel<K, R, F>(prototype), selector_(std::move(selector)) {}

  std::size_t process(std::size_t, const Batch& batch, std::size_t first_row, Output& out) override {
    return this->run_keyed(*selector_, batch, first_row, out,
                           [this](const T& row, KeyedContext<K, R>& context) {
                             call_process(this->function_, row, context);
                           });
  }

 private:
  std::unique_ptr<KeySelector<K, T>> selector_;
};

/// A kernel of one input with a second one that is broadcast.
template <class Kernel, class U, class R>
class BroadcastKernel final : public Kernel {
 public:
  using Kernel::Kernel;

  std::size_t process(std::size_t input, const Batch& batch, std::size_t first_row,
                      Output& out) override {
    if (input == 0) return Kernel::process(input, batch, first_row, out);
    return this->template run_unkeyed<U, BroadcastContext<R>>(
        batch, first_row, out, [this](const U& row, BroadcastContext<R>& context) {
          this->function_.process_broadcast(row, context);
        });
  }
};

/// Two keyed inputs with one key type: both see the same state.
template <class K, class T, class U, class R, class F>
class ConnectedKernel final : public KeyedFunctionKernel<K, R, F> {
 public:
  ConnectedKernel(const F& prototype, std::unique_ptr<KeySelector<K, T>> left,
                  std::unique_ptr<KeySelector<K, U>> right)
      : KeyedFunctionKernel<K, R, F>(prototype), left_(std::move(left)), right_(std::move(right)) {}

  std::size_t process(std::size_t input, const Batch& batch, std::size_t first_row,
                      Output& out) override {
    if (input == 0) {
      return this->run_keyed(*left_, batch, first_row, out,
                             [this](const T& row, KeyedContext<K, R>& context) {
                               this->function_.process_left(row, context);
                             });
    }
    return this->run_keyed(*right_, batch, first_row, out,
                           [this](const U& row, KeyedContext<K, R>& context) {
                             this->function_.process_right(row, context);
                           });
  }

 private:
  std::unique_ptr<KeySelector<K, T>> left_;
  std::unique_ptr<KeySelector<K, U>> right_;
};

/// The operator factory of a kernel that is made with a copy of the function and of its selectors.
template <class Kernel, class F, class... S>
OperatorFactory process_factory(F function, std::size_t inputs, std::shared_ptr<S>... selectors) {
  return [function = std::move(function), inputs, selectors...] {
    return make_process_operator(std::make_unique<Kernel>(function, selectors->clone()...), inputs);
  };
}

/// The states that a function's struct declares, for the graph.
struct FunctionStates {
  std::vector<std::string> found;   ///< as members of an aggregate
  std::vector<std::string> copied;  ///< everywhere in it
  std::vector<StateSpec> specs;     ///< of those found, and of timers
  bool timers = false;
};

/// K: void where there is no key.
template <class K, class F>
FunctionStates states_of(F& function, bool timers) {
  constexpr bool kKeyed = !std::is_void_v<K>;
  FunctionStates states{.found = {}, .copied = {}, .specs = {}, .timers = timers};
  for_each_state(function, [&]<class M>(M& member) {
    static_assert(kKeyed || !std::is_base_of_v<KeyedMember, M>,
                  "process: ValueState, ListState and the like belong to a key; call key_by first");
    states.found.push_back(member.name());
    if constexpr (kKeyed || !std::is_base_of_v<KeyedMember, M>) states.specs.push_back(spec_of<K>(member));
  });
  const StateCopies copies;
  const F copy(function);
  static_cast<void>(copy);
  states.copied = copies.names;
  return states;
}

template <class K, class R, class F>
FunctionStates states_of_keyed(F& function) {
  constexpr bool kTimers = HasOnTimer<F, KeyedContext<K, R>>;
  static_assert(kTimers || !HasOnTimerOfAnyKind<F>,
                "process<Out>: on_timer needs void on_timer(Timestamp, KeyedContext<Key, Out>&)");
  check_open_and_finish<R, F>();
  FunctionStates states = states_of<K>(function, kTimers);
  if constexpr (kTimers) {
    states.specs.push_back(keyed_state_spec<K, TimerList>(kEventTimers));
    states.specs.push_back(keyed_state_spec<K, TimerList>(kProcessingTimers));
  }
  return states;
}
template <class R, class F>
FunctionStates states_of_unkeyed(F& function) {
  static_assert(!HasOnTimerOfAnyKind<F>, "process: timers belong to a key; call key_by first");
  check_open_and_finish<R, F>();
  return states_of<void>(function, false);
}

/// The node of a function step, without inputs; what is wrong with its states is noted in `graph`.
Transformation function_node(LogicalGraph& graph, const FunctionStates& states, const BatchType& out,
                             OperatorFactory factory, std::source_location where);

/// Adds a function step that reads `stream` and, unless it is null, `second`.
template <class R, class Kernel, class F, class... S>
OutputRef add_function(const StreamHandle& stream, const StreamHandle* second, const FunctionStates& states,
                       F function, std::source_location where, std::shared_ptr<S>... selectors) {
  const std::size_t inputs = second == nullptr ? 1 : 2;
  Transformation node =
      function_node(*stream.graph(), states, batch_type<R>(),
                    process_factory<Kernel>(std::move(function), inputs, std::move(selectors)...), where);
  return second == nullptr ? stream.add(std::move(node)) : stream.add(std::move(node), *second);
}

}  // namespace levada::detail
