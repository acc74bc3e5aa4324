// Batch: rows of one type that move together, with their event times and, behind a key_by, the hashes of
// their keys. BatchType: one constant per row type with everything the erased kernel may do to rows.
// Nothing outside a typed operator indexes rows.
//
// Threads:  a batch has one owner at a time; it is moved, never shared.
// Lifetime: all `capacity` rows of a batch are constructed when it is made and stay so: size() says how
//           many count. Writers assign into old rows, so strings and vectors keep their capacity.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "levada/assert.h"
#include "levada/serde.h"
#include "levada/time.h"

namespace levada {

class Batch;

/// What the kernel may do to rows of one type. Row ranges are contiguous and given by their first row.
struct BatchType {
  std::string_view name;  ///< of a record: its name; else the kind; for messages and plans
  std::size_t row_bytes;
  std::size_t row_alignment;
  const TypeInfo* shape;
  void (*construct)(void* rows, std::size_t count);
  void (*destroy)(void* rows, std::size_t count) noexcept;
  /// Copies row values; null for a row that cannot be copied (then no stream of it may fan out).
  void (*copy)(const void* from, void* to, std::size_t count);
  /// Moves row values; the source rows stay constructed, with unspecified values.
  void (*move)(void* from, void* to, std::size_t count);
  /// Moves the rows whose numbers are `which[0, count)`; for each the other one comes back, with its capacity.
  void (*gather)(void* from, const std::uint16_t* which, std::size_t count, void* to);
  bool copied_in_words;  ///< rows are copied as they are, 8 bytes after 8 bytes
  /// What the rows hold outside themselves; null when that is always nothing.
  std::size_t (*heap_bytes)(const void* rows, std::size_t count);
  void (*encode)(const void* rows, std::size_t count, Bytes& out);
  void (*decode)(View& in, void* rows, std::size_t count);
};

struct BatchDeleter {
  void operator()(Batch* batch) const noexcept;
};
using BatchPtr = std::unique_ptr<Batch, BatchDeleter>;

class Batch {
 public:
  /// Allocates a batch with all its rows constructed. `capacity` >= 1.
  static BatchPtr make(const BatchType& type, std::size_t capacity);

  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  const BatchType& type() const noexcept { return *type_; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  std::size_t room() const noexcept { return capacity_ - size_; }
  bool empty() const noexcept { return size_ == 0; }
  bool full() const noexcept { return size_ == capacity_; }

  /// Sets how many rows count, after they (and their times) were written in place.
  void set_size(std::size_t size) {
    LEVADA_DEBUG_ASSERT(size <= capacity_, "a batch never counts more rows than it has");
    size_ = static_cast<std::uint32_t>(size);
  }
  void clear() noexcept {
    size_ = 0;
    has_hashes_ = false;
  }

  void* data() noexcept { return rows_; }
  const void* data() const noexcept { return rows_; }
  void* row(std::size_t i) noexcept { return static_cast<char*>(rows_) + i * type_->row_bytes; }
  const void* row(std::size_t i) const noexcept {
    return static_cast<const char*>(rows_) + i * type_->row_bytes;
  }

  /// The rows as T; only typed operators call it. All `capacity` rows may be written.
  template <class T>
  T* rows();
  template <class T>
  const T* rows() const {
    return const_cast<Batch*>(this)->rows<T>();
  }

  /// Event time of each row; kNoTimestamp for a row without one. `capacity` entries.
  Timestamp* times() noexcept { return times_; }
  const Timestamp* times() const noexcept { return times_; }

  /// Hash of each row's key, valid while has_hashes(). `capacity` entries.
  std::uint64_t* hashes() noexcept { return hashes_; }
  const std::uint64_t* hashes() const noexcept { return hashes_; }
  bool has_hashes() const noexcept { return has_hashes_; }
  void set_has_hashes(bool has) noexcept { has_hashes_ = has; }

  /// Memory of the batch itself, without what rows hold outside themselves.
  std::size_t allocation_bytes() const noexcept { return allocation_bytes_; }
  static std::size_t allocation_bytes(const BatchType& type, std::size_t capacity);

  /// What the rows held outside themselves when the budget was last charged for them.
  std::size_t charged_heap_bytes() const noexcept { return charged_heap_bytes_; }
  void set_charged_heap_bytes(std::size_t bytes) noexcept { charged_heap_bytes_ = bytes; }

  /// Moves the rows of these numbers to the end of this batch, with their times and hashes; for rows that hold memory,
  /// old ones come back. has_hashes() stays. `far`: a thread reads them that may run on a core which shares no cache
  /// with this one. REQUIRES: the types are one, there is room, and each number is one of `from`'s rows and comes once.
  /// Cost: some ns a row. Far ones leave past the caches where they are many and that is possible: it costs little more
  /// but does not depend on where the other core is.
  void take(Batch& from, std::span<const std::uint16_t> which, bool far);

  /// A copy of rows [first, first + count), with times and hashes, in a batch of the same capacity.
  BatchPtr slice(std::size_t first, std::size_t count) const;

 private:
  friend struct BatchDeleter;
  Batch() = default;

  const BatchType* type_ = nullptr;
  void* rows_ = nullptr;
  Timestamp* times_ = nullptr;
  std::uint64_t* hashes_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 0;
  bool has_hashes_ = false;
  std::size_t allocation_bytes_ = 0;
  std::size_t charged_heap_bytes_ = 0;
};

/// What a row must be: default-constructible, movable, and known to Serde.
template <class T>
concept Row = std::default_initializable<T> && std::movable<T> && Serializable<T>;

namespace detail {

template <class T>
void gather_rows(void* from, const std::uint16_t* which, std::size_t count, void* to) {
  T* const all = static_cast<T*>(from);
  T* const rows = static_cast<T*>(to);
  for (std::size_t i = 0; i < count; ++i) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      rows[i] = std::move(all[which[i]]);
    } else {
      using std::swap;
      swap(rows[i], all[which[i]]);
    }
  }
}

template <class T>
BatchType make_batch_type() {
  BatchType type{};
  type.name = type_info<T>().name;
  type.row_bytes = sizeof(T);
  type.row_alignment = alignof(T);
  type.shape = &type_info<T>();
  type.construct = [](void* rows, std::size_t count) {
    std::uninitialized_value_construct_n(static_cast<T*>(rows), count);
  };
  type.destroy = [](void* rows, std::size_t count) noexcept {
    std::destroy_n(static_cast<T*>(rows), count);
  };
  if constexpr (std::copyable<T>) {
    type.copy = [](const void* from, void* to, std::size_t count) {
      std::copy_n(static_cast<const T*>(from), count, static_cast<T*>(to));
    };
  }
  type.move = [](void* from, void* to, std::size_t count) {
    T* rows = static_cast<T*>(from);
    std::move(rows, rows + count, static_cast<T*>(to));
  };
  type.gather = &gather_rows<T>;
  type.copied_in_words = std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(std::uint64_t) == 0;
  if constexpr (!kFlat<T>) {
    type.heap_bytes = [](const void* rows, std::size_t count) {
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < count; ++i) bytes += heap_bytes_of(static_cast<const T*>(rows)[i]);
      return bytes;
    };
  }
  type.encode = [](const void* rows, std::size_t count, Bytes& out) {
    for (std::size_t i = 0; i < count; ++i) Serde<T>::write(static_cast<const T*>(rows)[i], out);
  };
  type.decode = [](View& in, void* rows, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) Serde<T>::read(in, static_cast<T*>(rows)[i]);
  };
  return type;
}

}  // namespace detail

/// The one BatchType of T; two batches have the same row type when their types have the same address.
template <Row T>
const BatchType& batch_type() {
  static const BatchType type = detail::make_batch_type<T>();
  return type;
}

template <class T>
T* Batch::rows() {
  LEVADA_DEBUG_ASSERT(type_ == &batch_type<T>(), "a batch is only read as rows of its own type");
  return static_cast<T*>(rows_);
}

}  // namespace levada
