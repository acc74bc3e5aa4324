// ScanExclusion: how the thread that scans a table for a snapshot and the table's task keep out of each other's way,
// while the task goes on with its rows. The scan claims one short span of slots after the other, the task says which
// entry it captures, or that it moves entries; each says so before it looks at what the other says. At an entry the task
// steps back, for the few microseconds of a span; before a move the scan does. What neither claims nor names needs no
// order: the task reads and writes what is captured, and the scan only reads that it is.
//
// Threads:    scan: one at a time; capture and move: of the table's task.
// Invariants: 1. The scan looks at values only of entries in its claim, and the task changes those of entries that are
//                not captured only when it has named them: never both of the same.
//             2. Slots are not moved, freed or given other keys while there is a claim.
// Cost:       an exchange a span, and one an entry. Each is of a line that the other thread reads once a span.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace levada::detail {

/// A wait for another thread that is about to be done, unless it has lost its core. `looks`: how many there were.
void wait_a_little(int& looks) noexcept;

class ScanExclusion {
 public:
  /// A span is of so many bytes at most.
  explicit ScanExclusion(std::size_t span_bytes) : span_bytes_(span_bytes) {}

  // ---- of the scan

  /// Nobody moves anything; waits until that is so.
  void claim() noexcept {
    for (int looks = 0;;) {
      claimed_.store(kNoEntry, std::memory_order_seq_cst);
      if (named_.load(std::memory_order_seq_cst) != kAll) return;
      claimed_.store(kNone, std::memory_order_release);
      while (named_.load(std::memory_order_acquire) == kAll) wait_a_little(looks);
    }
  }
  /// Nor does anybody capture anything in the span that begins there, instead of the one before. False: the task wants
  /// to move something, and waits for that. REQUIRES: claim().
  bool claim_span(const void* first) noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(first);
    claimed_.store(at, std::memory_order_seq_cst);
    for (int looks = 0;; wait_a_little(looks)) {
      const std::uintptr_t named = named_.load(std::memory_order_seq_cst);
      if (named == kAll) return false;
      if (!lies_in(named, at)) return true;
    }
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
      for (int looks = 0; claims(at);) wait_a_little(looks);
    }
  }
  /// From here to done() there is no claim.
  void name_all() noexcept {
    named_.store(kAll, std::memory_order_seq_cst);
    for (int looks = 0; claimed_.load(std::memory_order_seq_cst) != kNone;) wait_a_little(looks);
  }
  void done() noexcept { named_.store(kNone, std::memory_order_release); }

 private:
  // No addresses of entries.
  static constexpr std::uintptr_t kAll = 0;
  static constexpr std::uintptr_t kNone = UINTPTR_MAX;
  static constexpr std::uintptr_t kNoEntry = UINTPTR_MAX - 1;  // a claim of nothing but that nothing moves

  bool lies_in(std::uintptr_t at, std::uintptr_t first) const noexcept { return at - first < span_bytes_; }
  bool claims(std::uintptr_t at) const noexcept { return lies_in(at, claimed_.load(std::memory_order_seq_cst)); }

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
