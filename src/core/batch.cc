#include "levada/batch.h"

#include <limits>
#include <new>
#include <string>

#include "levada/detail/streamed_copy.h"
#include "levada/operator.h"

namespace levada {
namespace {

// A batch is one allocation: the Batch, its times, its hashes, its rows; each starts on a cache
// line.
struct Layout {
  std::size_t alignment;
  std::size_t times;
  std::size_t hashes;
  std::size_t rows;
  std::size_t bytes;
};

constexpr std::size_t round_up(std::size_t n, std::size_t to) {
  return (n + to - 1) / to * to;
}

Layout layout_of(const BatchType& type, std::size_t capacity) {
  constexpr std::size_t kCacheLine = 64;
  Layout layout{};
  layout.alignment = std::max(kCacheLine, type.row_alignment);
  layout.times = round_up(sizeof(Batch), kCacheLine);
  layout.hashes = layout.times + round_up(capacity * sizeof(Timestamp), kCacheLine);
  layout.rows = layout.hashes + round_up(capacity * sizeof(std::uint64_t), layout.alignment);
  layout.rows = round_up(layout.rows, layout.alignment);
  layout.bytes = layout.rows + capacity * type.row_bytes;
  return layout;
}

// Rows that are taken together and leave past the caches: of fewer most lines would be written in parts.
constexpr std::size_t kStreamedMin = 64;

// A recycled batch beyond these is freed: what an operator has in flight is one or two.
constexpr std::size_t kSparesMax = 4;

}  // namespace

BatchPtr Batch::make(const BatchType& type, std::size_t capacity) {
  LEVADA_ASSERT(capacity >= 1 && capacity <= std::numeric_limits<std::uint32_t>::max(),
                "a batch has room for 1 to 2^32 rows, not " + std::to_string(capacity));
  const Layout layout = layout_of(type, capacity);
  const std::align_val_t alignment{layout.alignment};
  char* memory = static_cast<char*>(::operator new(layout.bytes, alignment));
  try {
    type.construct(memory + layout.rows, capacity);
  } catch (...) {
    ::operator delete(memory, alignment);
    throw;
  }
  Batch* batch = new (memory) Batch();
  batch->type_ = &type;
  batch->rows_ = memory + layout.rows;
  batch->times_ = reinterpret_cast<Timestamp*>(memory + layout.times);
  batch->hashes_ = reinterpret_cast<std::uint64_t*>(memory + layout.hashes);
  batch->capacity_ = static_cast<std::uint32_t>(capacity);
  batch->allocation_bytes_ = layout.bytes;
  std::uninitialized_fill_n(batch->times_, capacity, kNoTimestamp);
  std::uninitialized_fill_n(batch->hashes_, capacity, std::uint64_t{0});
  return BatchPtr(batch);
}

void BatchDeleter::operator()(Batch* batch) const noexcept {
  const BatchType& type = *batch->type_;
  const std::align_val_t alignment{layout_of(type, batch->capacity_).alignment};
  type.destroy(batch->rows_, batch->capacity_);
  batch->~Batch();
  ::operator delete(static_cast<void*>(batch), alignment);
}

std::size_t Batch::allocation_bytes(const BatchType& type, std::size_t capacity) {
  return layout_of(type, capacity).bytes;
}

void Batch::take(Batch& from, std::span<const std::uint16_t> which, bool far) {
  LEVADA_DEBUG_ASSERT(type_ == from.type_ && &from != this, "a batch takes rows of its type, of another");
  LEVADA_DEBUG_ASSERT(which.size() <= room(), "a batch takes no more rows than it has room for");
  // Column after column: stores that follow each other go to one line, and wait for it together.
  char* const rows = static_cast<char*>(row(size_));
  Timestamp* const times = times_ + size_;
  std::uint64_t* const hashes = hashes_ + size_;
  if (far && type_->copied_in_words && which.size() >= kStreamedMin) {
    detail::streamed_gather(rows, static_cast<const char*>(from.data()), type_->row_bytes, which);
    static_assert(sizeof(Timestamp) == sizeof(std::uint64_t));
    detail::streamed_gather(reinterpret_cast<char*>(times), reinterpret_cast<const char*>(from.times_),
                            sizeof(Timestamp), which);
    detail::streamed_gather(reinterpret_cast<char*>(hashes), reinterpret_cast<const char*>(from.hashes_),
                            sizeof(std::uint64_t), which);
    detail::end_streaming();
  } else {
    type_->gather(from.data(), which.data(), which.size(), rows);
    for (std::size_t i = 0; i < which.size(); ++i) times[i] = from.times_[which[i]];
    for (std::size_t i = 0; i < which.size(); ++i) hashes[i] = from.hashes_[which[i]];
  }
  size_ += static_cast<std::uint32_t>(which.size());
}

BatchPtr Batch::slice(std::size_t first, std::size_t count) const {
  LEVADA_ASSERT(first <= size_ && count <= size_ - first,
                "a slice lies inside its batch: " + std::to_string(first) + " + " +
                    std::to_string(count) + " of " + std::to_string(size_));
  // A stream of rows that cannot be copied has one consumer; the graph sees to that.
  LEVADA_ASSERT(type_->copy != nullptr,
                "rows of type " + std::string(type_->name) + " cannot be copied");
  BatchPtr copy = make(*type_, capacity_);
  type_->copy(row(first), copy->rows_, count);
  std::copy_n(times_ + first, count, copy->times_);
  std::copy_n(hashes_ + first, count, copy->hashes_);
  copy->set_size(count);
  copy->has_hashes_ = has_hashes_;
  return copy;
}

// ---- Output

BatchPtr Output::take() {
  if (!sealed_.empty()) {
    BatchPtr oldest = std::move(sealed_.front());
    sealed_.erase(sealed_.begin());
    return oldest;
  }
  if (!current_ || current_->empty()) return nullptr;
  return std::move(current_);
}

void Output::recycle(BatchPtr batch) {
  if (spares_.size() >= kSparesMax || &batch->type() != type_ || batch->capacity() != batch_rows_) {
    return;
  }
  batch->clear();
  spares_.push_back(std::move(batch));
}

BatchPtr Output::take_spare() {
  LEVADA_ASSERT(type_ != nullptr, "nothing is emitted to an output that nobody reads");
  if (spares_.empty()) return Batch::make(*type_, batch_rows_);
  BatchPtr spare = std::move(spares_.back());
  spares_.pop_back();
  return spare;
}

void Output::seal() {
  if (current_ && !current_->empty()) sealed_.push_back(std::move(current_));
  current_ = take_spare();
}

void Output::move_row(Batch& from, std::size_t row) {
  if (!current_ || current_->full()) seal();
  const std::size_t at = current_->size();
  from.type().move(from.row(row), current_->row(at), 1);
  current_->times()[at] = from.times()[row];
  current_->set_size(at + 1);
}

}  // namespace levada
