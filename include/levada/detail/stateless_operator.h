// The operators that keep nothing between calls: map, filter, flat_map, for_each. One loop over the rows
// of a batch each, with the user's function inlined.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "levada/detail/stream.h"
#include "levada/fwd.h"
#include "levada/operator.h"

namespace levada {

/// Takes the rows that a flat_map or process function emits for the row at hand.
///
/// Threads:  of the subtask. Lifetime: of the call.
template <class R>
class Collector {
 public:
  Collector(Output& out, OperatorCounters& counters) : out_(out), counters_(counters) {}

  /// Emits a row with the event time of the row at hand.
  void emit(R row) { out_.template next<R>(time_) = std::move(row); }
  /// Emits a row to a side output; counted when nobody reads it.
  template <class S>
  void emit(const OutputTag<S>& tag, std::type_identity_t<S> row) {
    if (Output* side = out_.find_side(tag.name)) {
      side->template next<S>(time_) = std::move(row);
    } else {
      counters_.side_output_unread.add(1);
    }
  }

  void set_time(Timestamp time) { time_ = time; }

 private:
  Output& out_;
  OperatorCounters& counters_;
  Timestamp time_ = kNoTimestamp;
};

namespace detail {

template <class T, class R, class F>
class MapOperator final : public Operator {
 public:
  explicit MapOperator(F f) : f_(std::move(f)) {}

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output& out) override {
    if constexpr (std::is_same_v<T, R>) {
      if (first_row == 0 && out.can_swap(*batch)) return map_in_place(batch, out);
    }
    Batch& to = out.batch();
    const std::size_t at = to.size();
    const std::size_t count = std::min(batch->size() - first_row, to.room());
    T* in = batch->rows<T>() + first_row;
    R* made = to.rows<R>() + at;
    for (std::size_t i = 0; i < count; ++i) made[i] = std::invoke(f_, std::move(in[i]));
    std::copy_n(batch->times() + first_row, count, to.times() + at);
    to.set_size(at + count);
    return first_row + count;
  }

 private:
  // Rows of one type stay in their batch, times too.
  std::size_t map_in_place(BatchPtr& batch, Output& out) {
    T* rows = batch->rows<T>();
    const std::size_t size = batch->size();
    for (std::size_t i = 0; i < size; ++i) rows[i] = std::invoke(f_, std::move(rows[i]));
    batch->set_has_hashes(false);
    out.swap(batch);
    return batch->size();
  }

  const F f_;
};

template <class T, class F>
class FilterOperator final : public Operator {
 public:
  explicit FilterOperator(F keep) : keep_(std::move(keep)) {}

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output& out) override {
    if (first_row > 0 || !out.can_swap(*batch)) return copy(*batch, first_row, out);
    compact(*batch);
    out.swap(batch);
    return batch->size();
  }

 private:
  void compact(Batch& batch) {
    T* rows = batch.rows<T>();
    Timestamp* times = batch.times();
    const std::size_t size = batch.size();
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const bool keeps = std::invoke(keep_, std::as_const(rows[i]));
      if constexpr (std::is_trivially_copyable_v<T>) {
        rows[kept] = rows[i];  // no branch: which rows stay may be random
      } else if (keeps && kept != i) {
        std::swap(rows[kept], rows[i]);  // both buffers live on
      }
      times[kept] = times[i];
      kept += keeps;
    }
    batch.set_size(kept);
    batch.set_has_hashes(false);
  }

  std::size_t copy(Batch& batch, std::size_t row, Output& out) {
    T* rows = batch.rows<T>();
    for (; row < batch.size() && !out.full(); ++row) {
      if (!std::invoke(keep_, std::as_const(rows[row]))) continue;
      out.next<T>(batch.times()[row]) = std::move(rows[row]);
    }
    return row;
  }

  const F keep_;
};

template <class T, class R, class F>
class FlatMapOperator final : public Operator {
 public:
  explicit FlatMapOperator(F f) : f_(std::move(f)) {}

  void open(OperatorContext& context) override { counters_ = context.counters; }

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output& out) override {
    Collector<R> collector(out, *counters_);
    const T* rows = batch->rows<T>();
    std::size_t row = first_row;
    for (; row < batch->size() && !out.full(); ++row) {
      collector.set_time(batch->times()[row]);
      std::invoke(f_, rows[row], collector);
    }
    return row;
  }

 private:
  const F f_;
  OperatorCounters* counters_ = nullptr;
};

template <class T, class F>
class ForEachOperator final : public Operator {
 public:
  explicit ForEachOperator(F f) : f_(std::move(f)) {}

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output&) override {
    const T* rows = batch->rows<T>();
    for (std::size_t i = first_row; i < batch->size(); ++i) std::invoke(f_, rows[i]);
    return batch->size();
  }

 private:
  F f_;
};

template <class T, class R, class F>
OperatorFactory map_factory(F f) {
  return [f = std::move(f)] { return std::make_unique<MapOperator<T, R, F>>(f); };
}
template <class T, class F>
OperatorFactory filter_factory(F keep) {
  return [keep = std::move(keep)] { return std::make_unique<FilterOperator<T, F>>(keep); };
}
template <class T, class R, class F>
OperatorFactory flat_map_factory(F f) {
  return [f = std::move(f)] { return std::make_unique<FlatMapOperator<T, R, F>>(f); };
}
template <class T, class F>
OperatorFactory for_each_factory(F f) {
  return [f = std::move(f)] { return std::make_unique<ForEachOperator<T, F>>(f); };
}

}  // namespace detail
}  // namespace levada
