// Channel: one producer, one consumer, bounded. Elements flow down; empty batches flow back through the
// return lane, so that batches circulate and the allocator is left alone.
//
// Threads:    the producer's methods from the producing task only, the consumer's from the consuming
//             task only. Two single-producer single-consumer rings, no locks.
// Invariants: 1. At most `batches_max` batches exist in a channel: filling, full, being read, returning.
//             2. Each is paid for in the channels share; the first is guaranteed, others only when the
//                share has room. So a full share slows producers down and never stops them.
//             3. kControlReserve slots stay free for control messages: data alone never fills the ring.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "exchange/element.h"
#include "levada/memory.h"

namespace levada {

/// Makes somebody step soon. Called across threads; cheap when nobody sleeps.
class Waker {
 public:
  virtual ~Waker() = default;
  virtual void wake() noexcept = 0;
};

/// A bounded ring for one producer and one consumer.
template <class T>
class SpscRing {
 public:
  explicit SpscRing(std::size_t slots_power_of_two) : slots_(slots_power_of_two) {}

  std::size_t size() const noexcept {
    // In one order with what says that a producer waits for room: it says so, then looks again.
    return tail_.load(std::memory_order_acquire) - head_.load(std::memory_order_seq_cst);
  }
  std::size_t capacity() const noexcept { return slots_.size(); }

  /// Producer. REQUIRES: size() < capacity().
  void push(T&& value) noexcept {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    slots_[tail & (slots_.size() - 1)] = std::move(value);
    tail_.store(tail + 1, std::memory_order_seq_cst);
  }
  /// Consumer: the oldest value, null when empty. Stays valid until drop_front().
  T* front() noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_seq_cst)) return nullptr;
    return &slots_[head & (slots_.size() - 1)];
  }
  void drop_front() noexcept {
    head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
  }

 private:
  std::vector<T> slots_;
  alignas(64) std::atomic<std::size_t> head_{0};
  alignas(64) std::atomic<std::size_t> tail_{0};
};

class Channel {
 public:
  static constexpr std::size_t kSlots = 32;
  static constexpr std::size_t kControlReserve = 8;
  static constexpr std::size_t kBatchesMax = 8;

  /// `memory` is the channels share.
  Channel(const BatchType& type, std::size_t batch_rows, MemoryShare& memory);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// Who is woken when elements arrive, and when a waiting producer may go on. Null: nobody.
  void connect(Waker* consumer, Waker* producer) noexcept;

  // ---- the producer

  const BatchType& type() const noexcept { return *type_; }
  /// An empty batch to fill; null when the channel has no more to give now.
  BatchPtr take_empty();
  /// True when a batch or a time can be pushed.
  bool has_room() const noexcept { return ring_.size() < kSlots - kControlReserve; }
  /// True when a barrier or an end can be pushed.
  bool has_control_room() const noexcept { return ring_.size() < kSlots; }
  void push(Element&& element) noexcept;
  /// Asks to be woken when room or an empty batch comes. Call, then check again before waiting.
  void await_room() noexcept { producer_waits_.store(true, std::memory_order_seq_cst); }

  // ---- the consumer

  /// The oldest element; null when there is none. Borrowed until pop().
  Element* front() noexcept { return ring_.front(); }
  void pop() noexcept;
  /// Gives a batch that was read back to the producer.
  void give_back(BatchPtr batch) noexcept;
  std::size_t queued() const noexcept { return ring_.size(); }

 private:
  void wake_producer() noexcept;
  void charge_heap(Batch& batch) noexcept;

  const BatchType* type_;
  std::size_t batch_rows_;
  MemoryShare& memory_;
  std::size_t batch_bytes_;
  SpscRing<Element> ring_;
  SpscRing<BatchPtr> returned_;
  std::size_t batches_ = 0;            // the producer's
  std::ptrdiff_t heap_bytes_ = 0;      // net of what pushed rows hold outside themselves
  Waker* consumer_ = nullptr;
  Waker* producer_ = nullptr;
  std::atomic<bool> producer_waits_{false};
};

}  // namespace levada
