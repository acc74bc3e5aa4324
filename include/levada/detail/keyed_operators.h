// The typed half of keyed operators: folding rows into tables by key and making result rows. Decisions
// about time are in src/operators.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "levada/detail/aggregation.h"
#include "levada/detail/key.h"
#include "levada/detail/stream.h"
#include "levada/detail/typed_table.h"
#include "levada/operator.h"

namespace levada::detail {

/// How many rows ahead a table's slot is fetched.
inline constexpr std::size_t kPrefetchRows = 12;

/// Folds a row into an entry's accumulator and accounts for what it has come to hold.
template <class Table, class G, class T>
void fold_row(Table& table, const G& aggregation, typename G::Accumulator& accumulator,
              const T& row) {
  if constexpr (kFlat<typename G::Accumulator>) {
    aggregation.add(accumulator, row);
  } else {
    const std::size_t before = heap_bytes_of(accumulator);
    aggregation.add(accumulator, row);
    table.charge_change(before, heap_bytes_of(accumulator));
  }
}

/// Rolling: every row in gives the key's result so far. reduce(f) and aggregate(...) without a window.
template <class K, class T, class G>
class RollingOperator final : public Operator {
 public:
  using Table = TypedTable<K, typename G::Accumulator>;

  RollingOperator(std::unique_ptr<KeySelector<K, T>> selector, G aggregation)
      : selector_(std::move(selector)), aggregation_(std::move(aggregation)) {}

  void open(OperatorContext& context) override {
    context_ = &context;
    table_ = std::make_unique<Table>("rolling", context.node, context.key_groups,
                                     context.max_parallelism, context.memory->state());
  }
  void restore(const RestoredState& state) override {
    state.read_table(*table_, context_->key_groups.first, context_->key_groups.last);
  }
  void snapshot(SnapshotContext& context) override { context.put_table(*table_); }

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output& out) override {
    const KeyColumn<K> keys = selector_->keys(*batch);
    const std::uint64_t* hashes = batch->hashes();
    const T* rows = batch->rows<T>();
    typename Table::Space& space = table_->space(0);
    Batch& to = out.batch();
    const std::size_t size = batch->size();
    std::size_t row = first_row;
    std::size_t at = to.size();
    for (; row < size && at < to.capacity(); ++row, ++at) {
      if (row + kPrefetchRows < size) {
        const std::uint64_t ahead = hashes[row + kPrefetchRows];
        table_->group_of(space, ahead).prefetch(ahead);
      }
      auto& entry = table_->at(space, hashes[row], keys[row]);
      fold_row(*table_, aggregation_, entry.value, rows[row]);
      aggregation_.result(to.rows<typename G::Row>()[at], entry.key, entry.value, Window{});
      to.times()[at] = batch->times()[row];
    }
    to.set_size(at);
    return row;
  }

 private:
  std::unique_ptr<KeySelector<K, T>> selector_;
  G aggregation_;
  OperatorContext* context_ = nullptr;
  std::unique_ptr<Table> table_;
};

/// Where a firing is; lives as long as it is suspended.
struct FiringCursor {
  std::size_t group = 0;
  std::size_t slot = 0;
  bool merged = false;  ///< the scratch table holds the slices of `group`
};

/// The face of the typed kernel that the slice window operator drives. Slices are named by their ends.
class WindowKernel {
 public:
  virtual ~WindowKernel() = default;
  virtual void open(OperatorContext& context) = 0;
  virtual StateTable& table() = 0;
  /// Reads the keys of a batch; fold() and fire_key() then speak of its rows.
  virtual void begin_batch(const Batch& batch) = 0;
  /// Folds rows [first, last) into a slice.
  virtual void fold(std::int64_t slice, const Batch& batch, std::size_t first, std::size_t last) = 0;
  /// Emits the results of all keys of a window. True when done; else called again with the cursor.
  virtual bool fire(const Window& window, std::span<const std::int64_t> slices, FiringCursor& cursor,
                    Output& out) = 0;
  /// Emits the result of the key of one row.
  virtual void fire_key(const Batch& batch, std::size_t row, const Window& window,
                        std::span<const std::int64_t> slices, Output& out) = 0;
  virtual void drop(std::int64_t slice) = 0;
  /// The slices that have state, ascending.
  virtual std::vector<std::int64_t> slices() const = 0;
};

template <class K, class T, class G>
class TypedWindowKernel final : public WindowKernel {
 public:
  using Accumulator = typename G::Accumulator;
  using Table = TypedTable<K, Accumulator>;
  using Group = typename Table::Group;
  using Row = typename G::Row;

  TypedWindowKernel(std::unique_ptr<KeySelector<K, T>> selector, G aggregation)
      : selector_(std::move(selector)), aggregation_(std::move(aggregation)) {}

  void open(OperatorContext& context) override {
    table_ = std::make_unique<Table>("windows", context.node, context.key_groups,
                                     context.max_parallelism, context.memory->state());
    scratch_ = std::make_unique<Table>("firing", context.node, KeyGroupRange{0, 1}, 1,
                                       context.memory->state());
  }
  StateTable& table() override { return *table_; }

  void begin_batch(const Batch& batch) override { keys_.emplace(selector_->keys(batch)); }

  void fold(std::int64_t slice, const Batch& batch, std::size_t first, std::size_t last) override {
    const KeyColumn<K> keys = *keys_;
    const std::uint64_t* hashes = batch.hashes();
    const T* rows = batch.rows<T>();
    typename Table::Space& space = table_->space(slice);
    for (std::size_t row = first; row < last; ++row) {
      if (row + kPrefetchRows < last) {
        const std::uint64_t ahead = hashes[row + kPrefetchRows];
        table_->group_of(space, ahead).prefetch(ahead);
      }
      auto& entry = table_->at(space, hashes[row], keys[row]);
      fold_row(*table_, aggregation_, entry.value, rows[row]);
    }
  }

  // A window of one slice is read where it is; of several, each key group is merged first.
  bool fire(const Window& window, std::span<const std::int64_t> slices, FiringCursor& cursor,
            Output& out) override {
    for (; cursor.group < table_->group_count(); ++cursor.group, cursor.slot = 0) {
      Group* group = nullptr;
      if (slices.size() == 1) {
        auto* space = table_->find_space(slices.front());
        if (space == nullptr) return true;
        group = &space->groups[cursor.group];
      } else {
        if (!std::exchange(cursor.merged, true)) merge_group(cursor.group, slices);
        group = &scratch_->space(0).groups[0];
      }
      if (!emit_group(*group, window, cursor, out)) return false;
      cursor.merged = false;
    }
    return true;
  }

  void fire_key(const Batch& batch, std::size_t row, const Window& window,
                std::span<const std::int64_t> slices, Output& out) override {
    const K& key = (*keys_)[row];
    const std::uint64_t hash = batch.hashes()[row];
    Accumulator total{};
    for (const std::int64_t slice : slices) {
      auto* space = table_->find_space(slice);
      if (space == nullptr) continue;
      const auto* entry = table_->group_of(*space, hash).find(hash, key);
      if (entry != nullptr) aggregation_.merge(total, entry->value);
    }
    emit(key, total, window, out);
  }

  void drop(std::int64_t slice) override { table_->drop(slice); }
  std::vector<std::int64_t> slices() const override { return table_->names(); }

 private:
  void merge_group(std::size_t index, std::span<const std::int64_t> slices) {
    scratch_->drop(0);
    typename Table::Space& into = scratch_->space(0);
    for (const std::int64_t slice : slices) {
      auto* space = table_->find_space(slice);
      if (space == nullptr) continue;
      Group& group = space->groups[index];
      for (std::size_t i = 0; i < group.slots(); ++i) {
        const auto& entry = group.slot(i);
        if (entry.meta == 0) continue;
        auto& merged = scratch_->at(into, hash_of(entry.key), entry.key);
        aggregation_.merge(merged.value, entry.value);
      }
    }
  }

  bool emit_group(Group& group, const Window& window, FiringCursor& cursor, Output& out) {
    for (; cursor.slot < group.slots(); ++cursor.slot) {
      const auto& entry = group.slot(cursor.slot);
      if (entry.meta == 0) continue;
      if (out.full()) return false;
      emit(entry.key, entry.value, window, out);
    }
    return true;
  }

  void emit(const K& key, const Accumulator& accumulator, const Window& window, Output& out) {
    aggregation_.result(out.next<Row>(window.end - Duration{1}), key, accumulator, window);
  }

  std::unique_ptr<KeySelector<K, T>> selector_;
  G aggregation_;
  std::unique_ptr<Table> table_;
  std::unique_ptr<Table> scratch_;
  std::optional<KeyColumn<K>> keys_;
};

/// What a window operator needs to know beside its kernel.
struct WindowSpec {
  WindowAssigner assigner;
  Duration allowed_lateness{};
  bool late_output = false;  ///< late rows go to side output 0; else they are counted
};

std::unique_ptr<Operator> make_slice_window_operator(std::unique_ptr<WindowKernel> kernel,
                                                     const WindowSpec& spec);

template <class K, class T, class G>
OperatorFactory rolling_factory(std::shared_ptr<const KeySelector<K, T>> selector, G aggregation) {
  return [selector = std::move(selector), aggregation = std::move(aggregation)] {
    return std::make_unique<RollingOperator<K, T, G>>(selector->clone(), aggregation);
  };
}

template <class K, class T, class G>
OperatorFactory window_factory(std::shared_ptr<const KeySelector<K, T>> selector, WindowSpec spec,
                               G aggregation) {
  return [selector = std::move(selector), spec, aggregation = std::move(aggregation)] {
    return make_slice_window_operator(
        std::make_unique<TypedWindowKernel<K, T, G>>(selector->clone(), aggregation), spec);
  };
}

}  // namespace levada::detail
