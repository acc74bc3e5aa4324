// Keys of a batch's rows: read in place when the key is a field of the row, else computed into a column.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/batch.h"
#include "levada/serde.h"

namespace levada::detail {

/// A column of keys; borrows the batch or the scratch column they were computed into.
template <class K>
class KeyColumn {
 public:
  KeyColumn(const void* base, std::size_t stride_bytes)
      : base_(static_cast<const char*>(base)), stride_bytes_(stride_bytes) {}
  const K& operator[](std::size_t i) const {
    return *reinterpret_cast<const K*>(base_ + i * stride_bytes_);
  }

 private:
  const char* base_;
  std::size_t stride_bytes_;
};

/// The erased half: what an exchange and a chained keyed edge need.
///
/// Threads: an instance belongs to one subtask; clone() gives each its own.
class KeyHasher {
 public:
  virtual ~KeyHasher() = default;
  /// Writes the hash of every row's key beside the row.
  virtual void hash(Batch& batch) = 0;
  virtual std::unique_ptr<KeyHasher> clone_hasher() const = 0;
};

/// Extracts keys of type K from rows of type T.
template <class K, class T>
class KeySelector : public KeyHasher {
 public:
  using key_type = K;

  /// The keys of all rows of `batch`; valid until the next call or until the batch changes.
  virtual KeyColumn<K> keys(const Batch& batch) = 0;
  virtual std::unique_ptr<KeySelector<K, T>> clone() const = 0;

  std::unique_ptr<KeyHasher> clone_hasher() const final { return clone(); }
  void hash(Batch& batch) final {
    const KeyColumn<K> column = keys(batch);
    std::uint64_t* hashes = batch.hashes();
    for (std::size_t i = 0; i < batch.size(); ++i) hashes[i] = hash_of(column[i]);
    batch.set_has_hashes(true);
  }
};

/// The key is a field: nothing is copied.
template <class K, class T>
class FieldKeySelector final : public KeySelector<K, T> {
 public:
  explicit FieldKeySelector(K T::*field) : field_(field) {}
  KeyColumn<K> keys(const Batch& batch) override {
    const T* rows = batch.rows<T>();
    return {&(rows->*field_), sizeof(T)};
  }
  std::unique_ptr<KeySelector<K, T>> clone() const override {
    return std::make_unique<FieldKeySelector>(*this);
  }

 private:
  K T::*field_;
};

/// The key is computed (a lambda, or several columns); the results stay in a recycled column.
template <class K, class T, class F>
class ComputedKeySelector final : public KeySelector<K, T> {
 public:
  explicit ComputedKeySelector(F f) : f_(std::move(f)) {}
  ComputedKeySelector(const ComputedKeySelector& other) : f_(other.f_) {}
  KeyColumn<K> keys(const Batch& batch) override {
    const T* rows = batch.rows<T>();
    if (column_.size() < batch.size()) column_.resize(batch.capacity());
    for (std::size_t i = 0; i < batch.size(); ++i) column_[i] = std::invoke(f_, rows[i]);
    return {column_.data(), sizeof(K)};
  }
  std::unique_ptr<KeySelector<K, T>> clone() const override {
    return std::make_unique<ComputedKeySelector>(*this);
  }

 private:
  F f_;
  std::vector<K> column_;
};

/// What a column (member pointer or lambda) yields, as kept: decayed, a string_view as std::string.
template <class P, class T>
using RawProjected = std::remove_cvref_t<std::invoke_result_t<const P&, const T&>>;
template <class P, class T>
using Projected = std::conditional_t<
    std::is_same_v<RawProjected<P, T>, std::string_view> ||
        std::is_same_v<std::decay_t<RawProjected<P, T>>, const char*>,
    std::string, RawProjected<P, T>>;

/// The selector of key_by(column): of the column's own type.
template <class T, class P>
std::shared_ptr<const KeySelector<Projected<P, T>, T>> make_key_selector(P column) {
  using K = Projected<P, T>;
  if constexpr (std::is_member_object_pointer_v<P>) {
    return std::make_shared<FieldKeySelector<K, T>>(column);
  } else {
    return std::make_shared<ComputedKeySelector<K, T, P>>(std::move(column));
  }
}

/// The selector of key_by(column, column…): a tuple.
template <class T, class P, class Q, class... R>
auto make_key_selector(P first, Q second, R... more) {
  using K = std::tuple<Projected<P, T>, Projected<Q, T>, Projected<R, T>...>;
  auto f = [=](const T& row) {
    return K{std::invoke(first, row), std::invoke(second, row), std::invoke(more, row)...};
  };
  return std::shared_ptr<const KeySelector<K, T>>(
      std::make_shared<ComputedKeySelector<K, T, decltype(f)>>(std::move(f)));
}

}  // namespace levada::detail
