// The typed half of local pre-aggregation: before rows of a window aggregate travel to the subtask of their
// key, those of one key and slice are folded into one partial result. The operator that decides about
// slices, and when partial results leave, is src/operators/local_window_operator.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "levada/detail/key.h"
#include "levada/detail/sliding_merge.h"
#include "levada/detail/typed_table.h"
#include "levada/operator.h"
#include "levada/transformation.h"
#include "levada/windows.h"

namespace levada::detail {

/// What rows of one key and slice come to; its event time is the slice's last moment.
template <class K, class A>
struct Partial {
  K key{};
  A value{};
};

// LEVADA_RECORD, for a template.
template <class K, class A>
constexpr auto levada_fields(const Partial<K, A>*) {
  return std::tuple{&Partial<K, A>::key, &Partial<K, A>::value};
}
template <class K, class A>
constexpr auto levada_field_names(const Partial<K, A>*) {
  return std::array<std::string_view, 2>{"key", "value"};
}
template <class K, class A>
constexpr std::string_view levada_record_name(const Partial<K, A>*) {
  return "partial result";
}

/// The face of the typed kernel that the local window operator drives. Slices are named by their ends.
class LocalKernel {
 public:
  virtual ~LocalKernel() = default;
  virtual void open(OperatorContext& context) = 0;
  /// Reads and hashes the keys of a batch; fold() then speaks of its rows.
  virtual void begin_batch(Batch& batch) = 0;
  virtual void fold(std::int64_t slice, const Batch& batch, std::size_t first, std::size_t last) = 0;
  /// Emits the partial results of a slice from `slot` on and drops it. True when done; else the output is
  /// full and it is called again.
  virtual bool emit(std::int64_t slice, std::size_t& slot, Output& out) = 0;
  /// The slices that have partial results, ascending.
  virtual std::vector<std::int64_t> slices() const = 0;
  virtual std::size_t entries() const = 0;
  virtual std::size_t memory_bytes() const = 0;
};

template <class K, class T, class G>
class TypedLocalKernel final : public LocalKernel {
 public:
  using Accumulator = typename G::Accumulator;
  using Table = TypedTable<K, Accumulator>;
  using KeyView = typename Table::KeyView;
  using Row = Partial<K, Accumulator>;

  TypedLocalKernel(std::unique_ptr<KeySelector<K, T>> selector, G aggregation)
      : selector_(std::move(selector)), aggregation_(std::move(aggregation)) {}

  void open(OperatorContext& context) override {
    table_ = std::make_unique<Table>("local", context.node, KeyGroupRange{0, 1}, 1,
                                     context.memory->state());
    table_->overdraw(context);
  }
  void begin_batch(Batch& batch) override {
    selector_->hash(batch);
    keys_.emplace(selector_->keys(batch));
  }

  void fold(std::int64_t slice, const Batch& batch, std::size_t first, std::size_t last) override {
    const KeyColumn<K> keys = *keys_;
    const T* rows = batch.rows<T>();
    auto& space = table_->space(slice);
    table_->visit(
        space, batch.hashes(),
        [&](std::size_t row) -> KeyView { return Table::Key::view(keys[row], key_bytes_); }, first, last,
        [&](std::size_t row, auto& entry) {
          change_value(*table_, space, entry.value,
                       [&](Accumulator& value) { aggregation_.add(value, rows[row]); });
        });
  }

  bool emit(std::int64_t slice, std::size_t& slot, Output& out) override {
    auto& space = table_->space(slice);
    auto& group = space.groups.front();
    const Timestamp time = Timestamp{Duration{slice - 1}};
    constexpr std::size_t kMost = 256;
    std::uint32_t found[kMost];
    while (slot < group.slots()) {
      if (out.full()) return false;
      const std::size_t count =
          table_->live_slots(space, group, slot, found, std::min(kMost, out.batch().room()));
      for (std::size_t i = 0; i < count; ++i) {
        auto& entry = group.slot(found[i]);
        Row& row = out.template next<Row>(time);
        entry.key.copy_to(row.key);
        row.value = entry.value;
      }
    }
    table_->drop(slice);
    return true;
  }

  std::vector<std::int64_t> slices() const override { return table_->names(); }
  std::size_t entries() const override { return table_->entries(); }
  std::size_t memory_bytes() const override { return table_->memory_bytes(); }

 private:
  std::unique_ptr<KeySelector<K, T>> selector_;
  G aggregation_;
  std::unique_ptr<Table> table_;
  std::optional<KeyColumn<K>> keys_;
  Bytes key_bytes_;
};

std::unique_ptr<Operator> make_local_window_operator(std::unique_ptr<LocalKernel> kernel,
                                                     const WindowAssigner& assigner);

/// The local phase of a window aggregate over rows T with keys K.
template <class K, class T, class G>
TwoPhases local_phase(std::shared_ptr<const KeySelector<K, T>> selector, const WindowAssigner& assigner,
                      const G& aggregation) {
  using Row = Partial<K, typename G::Accumulator>;
  TwoPhases phases;
  phases.row_type = &batch_type<T>();
  phases.partial_type = &batch_type<Row>();
  phases.partial_hasher = make_key_selector<Row>(&Row::key);
  phases.make_local = [selector = std::move(selector), assigner, aggregation] {
    return make_local_window_operator(
        std::make_unique<TypedLocalKernel<K, T, G>>(selector->clone(), aggregation), assigner);
  };
  return phases;
}

}  // namespace levada::detail
