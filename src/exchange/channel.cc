#include "exchange/channel.h"

#include <utility>

#include "levada/assert.h"

#include "base/planted_bug.h"

namespace levada {

Channel::Channel(const BatchType& type, std::size_t batch_rows, MemoryShare& memory)
    : type_(&type),
      batch_rows_(batch_rows),
      memory_(memory),
      batch_bytes_(Batch::allocation_bytes(type, batch_rows)),
      ring_(kSlots),
      returned_(2 * kBatchesMax) {}

Channel::~Channel() {
  memory_.release(batches_ * batch_bytes_);
  if (heap_bytes_ > 0) memory_.release(static_cast<std::size_t>(heap_bytes_));
  if (heap_bytes_ < 0) memory_.acquire(static_cast<std::size_t>(-heap_bytes_));
}

void Channel::connect(Waker* consumer, Waker* producer) noexcept {
  consumer_ = consumer;
  producer_ = producer;
}

BatchPtr Channel::take_empty() {
  if (BatchPtr* returned = returned_.front()) {
    BatchPtr batch = std::move(*returned);
    returned_.drop_front();
    batch->clear();
    return batch;
  }
  if (batches_ == kBatchesMax) return nullptr;
  if (batches_ == 0) {
    memory_.acquire(batch_bytes_);
  } else if (!memory_.try_acquire(batch_bytes_)) {
    return nullptr;
  }
  ++batches_;
  return Batch::make(*type_, batch_rows_);
}

// Batches keep what their rows hold and may change channels, so each push accounts for the difference
// to what the batch was charged before; over all channels the differences add up to what is held.
void Channel::charge_heap(Batch& batch) noexcept {
  if (type_->heap_bytes == nullptr) return;
  const std::size_t held = type_->heap_bytes(batch.data(), batch.size());
  const std::size_t before = batch.charged_heap_bytes();
  if (held > before) memory_.acquire(held - before);
  if (held < before) memory_.release(before - held);
  heap_bytes_ += static_cast<std::ptrdiff_t>(held) - static_cast<std::ptrdiff_t>(before);
  batch.set_charged_heap_bytes(held);
}

void Channel::push(Element&& element) noexcept {
  LEVADA_ASSERT(ring_.size() < kSlots, "a producer pushes only after it saw room");
  if (element.batch) charge_heap(*element.batch);
  ring_.push(std::move(element));
  if (consumer_ != nullptr) consumer_->wake();
}

void Channel::pop() noexcept {
  ring_.drop_front();
  wake_producer();
}

void Channel::give_back(BatchPtr batch) noexcept {
  LEVADA_ASSERT(returned_.size() < returned_.capacity(), "no more batches return than were made");
  returned_.push(std::move(batch));
  wake_producer();
}

void Channel::wake_producer() noexcept {
  if (!producer_waits_.load(std::memory_order_seq_cst)) return;
  producer_waits_.store(false, std::memory_order_relaxed);
  if (producer_ != nullptr && !LEVADA_PLANTED("channel.producer_not_woken")) producer_->wake();
}

}  // namespace levada
