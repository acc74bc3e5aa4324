// The typed half of keyed operators: folding rows into tables by key and making result rows. Decisions
// about time are in src/operators.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "levada/detail/aggregation.h"
#include "levada/detail/key.h"
#include "levada/detail/local_aggregation.h"
#include "levada/detail/sliding_merge.h"
#include "levada/detail/stream.h"
#include "levada/detail/typed_table.h"
#include "levada/operator.h"

namespace levada::detail {

// The names of states, as checkpoints have them.
inline constexpr const char* kRollingState = "rolling";
inline constexpr const char* kWindowState = "windows";      ///< one namespace a slice
inline constexpr const char* kWatermarkState = "watermark"; ///< of window operators, one a subtask

/// Rolling: every row in gives the key's result so far. reduce(f) and aggregate(...) without a window.
template <class K, class T, class G>
class RollingOperator final : public Operator {
 public:
  using Table = TypedTable<K, typename G::Accumulator>;
  using KeyView = typename Table::KeyView;

  RollingOperator(std::unique_ptr<KeySelector<K, T>> selector, G aggregation)
      : selector_(std::move(selector)), aggregation_(std::move(aggregation)) {}

  void open(OperatorContext& context) override {
    context_ = &context;
    table_ = std::make_unique<Table>(kRollingState, context);
  }
  void restore(const RestoredState& state) override {
    state.read_table(*table_, context_->key_groups.first, context_->key_groups.last);
  }
  void snapshot(SnapshotContext& context) override { context.put_table(*table_); }
  StateLookUp* state_look_up(std::string_view name) override {
    return name == table_->name() ? table_.get() : nullptr;
  }

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output& out) override {
    const KeyColumn<K> keys = selector_->keys(*batch);
    const T* rows = batch->rows<T>();
    auto& space = table_->space(0);
    Batch& to = out.batch();
    const std::size_t count = std::min(batch->size() - first_row, to.room());
    auto* results = to.rows<typename G::Row>() + to.size();
    table_->visit(
        space, batch->hashes(),
        [&](std::size_t row) -> KeyView { return Table::Key::view(keys[row], key_bytes_); },
        first_row, first_row + count, [&](std::size_t row, auto& entry) {
          change_value(*table_, space, entry.value,
                       [&](auto& value) { aggregation_.add(value, rows[row]); });
          aggregation_.result(results[row - first_row], keys[row], entry.value, Window{});
        });
    std::copy_n(batch->times() + first_row, count, to.times() + to.size());
    to.set_size(to.size() + count);
    return first_row + count;
  }

 private:
  std::unique_ptr<KeySelector<K, T>> selector_;
  G aggregation_;
  OperatorContext* context_ = nullptr;
  std::unique_ptr<Table> table_;
  Bytes key_bytes_;
};

/// Where a firing is; lives as long as it is suspended.
struct FiringCursor {
  bool begun = false;
  std::size_t group = 0;
  std::size_t slot = 0;
  bool prepared = false;  ///< `group` is at hand: loaded, and what is kept merged of it is that of this window
};

/// The face of the typed kernel that the slice window operator drives. Slices are named by their ends.
class WindowKernel {
 public:
  virtual ~WindowKernel() = default;
  virtual void open(OperatorContext& context) = 0;
  virtual StateTable& table() = 0;
  /// Reads the keys of a batch of rows or of partial results; fold() and fire_key() then speak of it.
  virtual void begin_batch(const Batch& batch, bool partial) = 0;
  /// Folds rows [first, last) into a slice no window of which has fired.
  virtual void fold(std::int64_t slice, const Batch& batch, std::size_t first, std::size_t last) = 0;
  /// Folds one row into any slice.
  virtual void fold_late(std::int64_t slice, const Batch& batch, std::size_t row) = 0;
  /// Emits the results of all keys of a window. True when done; else called again with the cursor.
  virtual bool fire(const Firing& firing, FiringCursor& cursor, Output& out) = 0;
  /// Emits the result of the key of one row.
  virtual void fire_key(const Batch& batch, std::size_t row, const Firing& firing, Output& out) = 0;
  virtual void drop(std::int64_t slice) = 0;
  /// The slices that have state, ascending.
  virtual std::vector<std::int64_t> slices() const = 0;
};

/// `sliding`: windows have several slices, which are kept merged between firings.
template <class K, class T, class G>
class TypedWindowKernel final : public WindowKernel {
 public:
  using Accumulator = typename G::Accumulator;
  using Table = TypedTable<K, Accumulator>;
  using KeyView = typename Table::KeyView;
  using Row = typename G::Row;
  using SlidingMerge =
      std::conditional_t<G::kRetractable, RunningMerge<K, G>, TwoStacks<K, G>>;

  TypedWindowKernel(std::unique_ptr<KeySelector<K, T>> selector, G aggregation, bool sliding)
      : selector_(std::move(selector)), aggregation_(std::move(aggregation)), sliding_(sliding) {}

  void open(OperatorContext& context) override {
    table_ = std::make_unique<Table>(kWindowState, context);
    if (sliding_) merge_ = std::make_unique<SlidingMerge>(aggregation_, *table_, context);
  }
  StateTable& table() override { return *table_; }

  void begin_batch(const Batch& batch, bool partial) override {
    partial_ = partial;
    keys_.emplace(partial ? KeyColumn<K>(&batch.rows<PartialRow>()->key, sizeof(PartialRow))
                          : selector_->keys(batch));
  }

  void fold(std::int64_t slice, const Batch& batch, std::size_t first, std::size_t last) override {
    change_rows(batch, [&](auto change) {
      const KeyColumn<K> keys = *keys_;
      auto& space = table_->space(slice);
      table_->visit(
          space, batch.hashes(),
          [&](std::size_t row) -> KeyView { return Table::Key::view(keys[row], key_bytes_); }, first,
          last, [&](std::size_t row, auto& entry) {
            change_value(*table_, space, entry.value,
                         [&](Accumulator& value) { change(value, row); });
          });
    });
  }

  void fold_late(std::int64_t slice, const Batch& batch, std::size_t row) override {
    const std::uint64_t hash = batch.hashes()[row];
    const auto key = [&] { return Table::Key::view((*keys_)[row], key_bytes_); };
    const bool fresh = table_->find(table_->space(slice), hash, key()) == nullptr;
    fold(slice, batch, row, row + 1);
    if (!merge_) return;
    change_rows(batch, [&](auto change) {
      merge_->add_late(slice, hash, key(), fresh, [&](Accumulator& value) { change(value, row); });
    });
  }

  bool fire(const Firing& firing, FiringCursor& cursor, Output& out) override {
    return merge_ ? fire_merged(firing, cursor, out) : fire_slice(firing, cursor, out);
  }

  void fire_key(const Batch& batch, std::size_t row, const Firing& firing, Output& out) override {
    const K& key = (*keys_)[row];
    KeyView view = Table::Key::view(key, key_bytes_);
    Accumulator total{};
    for (const std::int64_t slice : firing.slices) {
      const auto* entry = table_->find(table_->space(slice), batch.hashes()[row], view);
      if (entry != nullptr) aggregation_.merge(total, entry->value);
    }
    aggregation_.result(out.next<Row>(firing.window.end - Duration{1}), key, total, firing.window);
  }

  void drop(std::int64_t slice) override { table_->drop(slice); }
  std::vector<std::int64_t> slices() const override { return table_->names(); }

 private:
  using PartialRow = Partial<K, Accumulator>;

  // Calls f(change), where change(value, row) adds a row of the batch, or merges a partial result, to a value.
  template <class F>
  void change_rows(const Batch& batch, F f) {
    if (partial_) {
      const PartialRow* rows = batch.rows<PartialRow>();
      f([&](Accumulator& value, std::size_t row) { aggregation_.merge(value, rows[row].value); });
    } else {
      const T* rows = batch.rows<T>();
      f([&](Accumulator& value, std::size_t row) { aggregation_.add(value, rows[row]); });
    }
  }

  // A window of one slice is read where it is.
  bool fire_slice(const Firing& firing, FiringCursor& cursor, Output& out) {
    auto& space = table_->space(firing.slices.front());
    for (; cursor.group < space.groups.size(); ++cursor.group, cursor.slot = 0) {
      auto& group = space.groups[cursor.group];
      if (!std::exchange(cursor.prepared, true)) table_->load(space, group);
      if (!emit(*table_, space, group, firing, cursor, out)) return false;
      table_->unload(space, group);
      cursor.prepared = false;
    }
    return true;
  }

  bool fire_merged(const Firing& firing, FiringCursor& cursor, Output& out) {
    if (!std::exchange(cursor.begun, true)) merge_->begin(firing);
    for (; cursor.group < table_->group_count(); ++cursor.group, cursor.slot = 0) {
      if (!std::exchange(cursor.prepared, true)) merge_->prepare(cursor.group);
      if (!emit(merge_->table(), merge_->space(cursor.group), merge_->result(cursor.group), firing,
                cursor, out)) {
        return false;
      }
      merge_->done(cursor.group);
      cursor.prepared = false;
    }
    merge_->end();
    return true;
  }

  // Emits a group from the cursor's slot on; false when the output is full.
  template <class Entries, class Space, class Group>
  bool emit(const Entries& entries, const Space& space, Group& group, const Firing& firing,
            FiringCursor& cursor, Output& out) {
    constexpr std::size_t kMost = 256;
    std::uint32_t found[kMost];
    const Timestamp time = firing.window.end - Duration{1};
    while (cursor.slot < group.slots()) {
      if (out.full()) return false;
      Batch& to = out.batch();
      Row* rows = to.rows<Row>();
      std::size_t at = to.size();
      const std::size_t count = entries.live_slots(space, group, cursor.slot, found,
                                                   std::min(kMost, to.room()));
      for (std::size_t i = 0; i < count; ++i) {
        const auto& entry = group.slot(found[i]);
        if constexpr (Entries::kTally) {
          if (SlidingMerge::gone(entry)) continue;
        }
        aggregation_.result(rows[at], entry.key.load(key_), entry.value, firing.window);
        ++at;
      }
      std::fill(to.times() + to.size(), to.times() + at, time);
      to.set_size(at);
    }
    return true;
  }

  std::unique_ptr<KeySelector<K, T>> selector_;
  G aggregation_;
  bool sliding_;
  std::unique_ptr<Table> table_;
  std::unique_ptr<SlidingMerge> merge_;
  std::optional<KeyColumn<K>> keys_;
  bool partial_ = false;  // the batch at hand has partial results
  Bytes key_bytes_;  // of the key at hand, where the table keeps keys as bytes
  K key_{};          // the same as itself
};

/// What a window operator needs to know beside its kernel.
struct WindowSpec {
  WindowAssigner assigner;
  Duration allowed_lateness{};
  bool late_output = false;  ///< late rows go to side output 0; else they are counted
  bool final_phase = false;  ///< input 0 has partial results of a local phase, input 1 rows
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
        std::make_unique<TypedWindowKernel<K, T, G>>(selector->clone(), aggregation,
                                                     spec.assigner.size != spec.assigner.slide),
        spec);
  };
}

}  // namespace levada::detail
