// ScanExclusion: how the thread that scans a table for a snapshot and the table's task keep out of each other's way,
// while the task goes on with its rows. The scan claims one short span of slots after the other, and begins with it when
// the task, while it visits rows, has said that it heeds that claim: it looks for a new one before each entry that it
// captures, and every few rows. A task that does not visit rows need not be asked; one that moves entries says so, and
// the scan steps back. What neither claims nor captures needs no order: the task reads and writes what is captured, and
// the scan only reads that it is.
//
// Threads:    scan: one at a time; the rest: of the table's task.
// Invariants: 1. The scan looks at values only of entries in its claim, and the task changes those of entries that are
//                not captured only while it visits, and not in the claim that it heeds: never both of the same.
//             2. Slots are not moved, freed or given other keys while there is a claim.
// Cost:       two misses of a shared line a span, for either; an exchange a visit.
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
      announce(kNoEntry);
      if (task_.load(std::memory_order_seq_cst) != kMoves) return;
      release_claim();
      while (task_.load(std::memory_order_acquire) == kMoves) wait_a_little(looks);
    }
  }
  /// Nor does anybody capture anything in the span that begins there, instead of the one before. False: the task wants
  /// to move something, and waits for that. REQUIRES: claim().
  bool claim_span(const void* first) noexcept {
    announce(reinterpret_cast<std::uintptr_t>(first));
    for (int looks = 0;; wait_a_little(looks)) {
      const std::uint64_t said = task_.load(std::memory_order_seq_cst);
      if (said == kMoves) return false;
      if (said == kAway || said == claims_) return true;
    }
  }
  void release_claim() noexcept { claim_.store(kNoClaim, std::memory_order_release); }

  // ---- of the task

  /// From here to leave() it may capture entries. Until then it waits for nobody: the scan waits for it.
  void visit() noexcept {
    task_.store(kLooks, std::memory_order_seq_cst);
    heed(claim_.load(std::memory_order_seq_cst));
    visits_ = true;
  }
  void leave() noexcept {
    visits_ = false;
    task_.store(kAway, std::memory_order_release);
  }
  bool visits() const noexcept { return visits_; }
  /// Lets the scan go on with a claim that is new. REQUIRES: visits().
  void look() noexcept {
    const std::uint64_t claim = claim_.load(std::memory_order_acquire);
    if (claim != heeded_) heed(claim);
  }
  /// It visits, no claim is new, and the entry is in none.
  bool free(const void* entry) const noexcept {
    return claim_.load(std::memory_order_acquire) == heeded_ &&
           reinterpret_cast<std::uintptr_t>(entry) - span_ >= span_bytes_ && visits_;
  }
  /// The entry is in no claim until the next look. REQUIRES: visits().
  void keep_out(const void* entry) noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(entry);
    look();
    for (int looks = 0; at - span_ < span_bytes_; look()) wait_a_little(looks);
  }

  /// From here to moved() there is no claim.
  void move() noexcept {
    task_.store(kMoves, std::memory_order_seq_cst);
    for (int looks = 0; claim_.load(std::memory_order_seq_cst) != kNoClaim;) wait_a_little(looks);
  }
  void moved() noexcept {
    if (visits_) return visit();
    task_.store(kAway, std::memory_order_release);
  }

 private:
  // Claims are counted from 1. What the task says is the one that it heeds, or:
  static constexpr std::uint64_t kNoClaim = 0;
  static constexpr std::uint64_t kAway = UINT64_MAX;
  static constexpr std::uint64_t kMoves = UINT64_MAX - 1;
  static constexpr std::uint64_t kLooks = UINT64_MAX - 2;
  static constexpr std::uintptr_t kNoEntry = UINTPTR_MAX;  // a claim of nothing but that nothing moves

  void announce(std::uintptr_t first) noexcept {
    first_.store(first, std::memory_order_release);
    claim_.store(++claims_, std::memory_order_seq_cst);
  }
  // The span read here may be that of a later claim, which waits for the task to heed it: the one heeded is over then.
  void heed(std::uint64_t claim) noexcept {
    heeded_ = claim;
    span_ = claim == kNoClaim ? kNoEntry : first_.load(std::memory_order_acquire);
    task_.store(claim, std::memory_order_release);
  }

  // Of the task alone.
  const std::size_t span_bytes_;
  bool visits_ = false;
  std::uint64_t heeded_ = kNoClaim;
  std::uintptr_t span_ = kNoEntry;
  // Written by the scan.
  alignas(64) std::atomic<std::uint64_t> claim_{kNoClaim};
  std::atomic<std::uintptr_t> first_{kNoEntry};
  std::uint64_t claims_ = kNoClaim;
  // Written by the task.
  alignas(64) std::atomic<std::uint64_t> task_{kAway};
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
