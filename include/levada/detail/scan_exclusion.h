// ScanExclusion: how the thread that scans a table for a snapshot and the table's task keep out of each other's way,
// while the task goes on with its rows. The scan claims a short span of slots at a time, the task says which entry it
// captures, or that it moves entries; each says so before it looks at what the other says. At an entry the task steps
// back, for the few microseconds of a span; before a move the scan does. What neither claims nor names needs no
// order: the task reads and writes what is captured, and the scan only reads that it is.
//
// Threads:    scan: one at a time; capture and move: of the table's task.
// Invariants: 1. The scan looks at values only of entries in its claim, and the task changes those of entries that are
//                not captured only when it has named them: never both of the same.
//             2. Slots are not moved, freed or given other keys while there is a claim.
// Cost:       two exchanges a span and one an entry; the task's is of a line of its own, but for when a span begins.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

namespace levada::detail {

class ScanExclusion {
 public:
  /// A span is of so many bytes at most.
  explicit ScanExclusion(std::size_t span_bytes) : span_bytes_(span_bytes) {}

  // ---- of the scan

  /// Nobody moves or captures anything.
  void claim_all() noexcept {
    Wait wait;
    for (;;) {
      claimed_.store(kAll, std::memory_order_seq_cst);
      std::uintptr_t named = named_.load(std::memory_order_seq_cst);
      for (; named != kNone && named != kAll; named = named_.load(std::memory_order_seq_cst)) wait.a_little();
      if (named == kNone) return;
      claimed_.store(kNone, std::memory_order_release);
      while (named_.load(std::memory_order_acquire) == kAll) wait.a_little();
    }
  }
  /// Nobody moves anything, or captures anything in the span. REQUIRES: claim_all().
  void claim_only(const void* first) noexcept {
    claimed_.store(reinterpret_cast<std::uintptr_t>(first), std::memory_order_release);
  }
  void release_claim() noexcept { claimed_.store(kNone, std::memory_order_release); }

  // ---- of the task

  /// From here to done() the entry is not in a claim.
  void name(const void* entry) noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(entry);
    for (;;) {
      named_.store(at, std::memory_order_seq_cst);
      if (!claims(at)) return;
      named_.store(kNone, std::memory_order_release);
      for (Wait wait; claims(at);) wait.a_little();
    }
  }
  /// From here to done() there is no claim.
  void name_all() noexcept {
    named_.store(kAll, std::memory_order_seq_cst);
    for (Wait wait; claimed_.load(std::memory_order_seq_cst) != kNone;) wait.a_little();
  }
  void done() noexcept { named_.store(kNone, std::memory_order_release); }

 private:
  // No address of an entry.
  static constexpr std::uintptr_t kAll = 0;
  static constexpr std::uintptr_t kNone = UINTPTR_MAX;

  // The other thread is about to be done, unless it has lost its core.
  class Wait {
   public:
    void a_little() noexcept {
      if (++looks_ > kLooks) std::this_thread::yield();
    }

   private:
    static constexpr int kLooks = 1000;
    int looks_ = 0;
  };

  bool claims(std::uintptr_t at) const noexcept {
    const std::uintptr_t first = claimed_.load(std::memory_order_seq_cst);
    return first == kAll || at - first < span_bytes_;  // kNone: one more than `at`
  }

  const std::size_t span_bytes_;
  alignas(64) std::atomic<std::uintptr_t> claimed_{kNone};
  alignas(64) std::atomic<std::uintptr_t> named_{kNone};
};

/// An entry's word of bits: written by one thread at a time, and read by the other meanwhile. Who reads that an entry
/// is captured may change what the other has read of it.
class SharedBits {
 public:
  SharedBits() = default;
  SharedBits(std::uint32_t bits) noexcept : bits_(bits) {}  // NOLINT: it stands for the number
  operator std::uint32_t() const noexcept {                 // NOLINT
    return std::atomic_ref<std::uint32_t>(bits_).load(std::memory_order_acquire);
  }
  SharedBits& operator=(std::uint32_t bits) noexcept {
    std::atomic_ref<std::uint32_t>(bits_).store(bits, std::memory_order_release);
    return *this;
  }
  SharedBits& operator|=(std::uint32_t bits) noexcept { return *this = *this | bits; }
  SharedBits& operator&=(std::uint32_t bits) noexcept { return *this = *this & bits; }

 private:
  mutable std::uint32_t bits_ = 0;
};

}  // namespace levada::detail
