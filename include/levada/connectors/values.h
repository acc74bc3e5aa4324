// Rows from the program itself and back to it: for tests, examples and benchmarks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/batch.h"
#include "levada/detail/stream.h"
#include "levada/source.h"

namespace levada {

struct GenerateOptions {
  std::uint64_t rows = 0;  ///< 0: without end
  double rate = 0;         ///< rows a second over all splits; 0: as fast as they are read
  int splits = 1;          ///< row i belongs to split i mod splits; at most that many subtasks read
};

namespace detail {

/// Appends rows first, first + stride, … to a batch: `count` of them.
using AppendRows =
    std::function<void(Batch& batch, std::uint64_t first, std::uint64_t stride, std::size_t count)>;

/// A source whose rows are a function of their index; the position in the checkpoint is an index.
std::shared_ptr<SourceFactory> make_indexed_source(GenerateOptions options, AppendRows append);

/// Rows collected by the subtasks of one node, shared with the host: those of complete checkpoints (or
/// all, without checkpoints), so that a restart neither loses nor doubles any.
class CollectedRows {
 public:
  CollectedRows();
  ~CollectedRows();
  CollectedRows(const CollectedRows&) = delete;
  CollectedRows& operator=(const CollectedRows&) = delete;

  OperatorFactory operator_factory(std::shared_ptr<CollectedRows> self);
  /// Calls `f` with every published batch.
  void for_each(const std::function<void(const Batch&)>& f) const;

  struct Shared;

 private:
  std::unique_ptr<Shared> shared_;
};

template <class T>
AppendRows append_values(std::shared_ptr<const std::vector<T>> values) {
  return [values](Batch& batch, std::uint64_t first, std::uint64_t stride, std::size_t count) {
    T* rows = batch.rows<T>() + batch.size();
    for (std::size_t i = 0; i < count; ++i) rows[i] = (*values)[first + i * stride];
    batch.set_size(batch.size() + count);
  };
}

template <class T, class F>
AppendRows append_generated(F f) {
  return [f = std::move(f)](Batch& batch, std::uint64_t first, std::uint64_t stride,
                            std::size_t count) {
    T* rows = batch.rows<T>() + batch.size();
    for (std::size_t i = 0; i < count; ++i) {
      if constexpr (std::is_invocable_v<const F&, std::uint64_t, T&>) {
        std::invoke(f, first + i * stride, rows[i]);
      } else {
        rows[i] = std::invoke(f, first + i * stride);
      }
    }
    batch.set_size(batch.size() + count);
  };
}

}  // namespace detail

/// The handle of a collected stream.
///
/// Threads:  rows() may be called from any thread; it is complete once the job has ended.
/// Lifetime: independent of job and environment.
template <class T>
class Collected {
 public:
  Collected() : shared_(std::make_shared<detail::CollectedRows>()) {}

  /// The rows so far: of complete checkpoints, or all when the job takes none.
  std::vector<T> rows() const {
    std::vector<T> all;
    shared_->for_each([&](const Batch& batch) {
      all.insert(all.end(), batch.rows<T>(), batch.rows<T>() + batch.size());
    });
    return all;
  }
  /// The rows' event times, in the same order.
  std::vector<Timestamp> times() const {
    std::vector<Timestamp> all;
    shared_->for_each([&](const Batch& batch) {
      all.insert(all.end(), batch.times(), batch.times() + batch.size());
    });
    return all;
  }

  detail::OperatorFactory operator_factory() const { return shared_->operator_factory(shared_); }

 private:
  std::shared_ptr<detail::CollectedRows> shared_;
};

}  // namespace levada
