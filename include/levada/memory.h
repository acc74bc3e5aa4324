// MemoryBudget: one number of bytes for everything of a job that grows, divided into named shares.
// What grows asks its share first: a full share means back-pressure (channels, prefetch) or a StateError
// (state tables); nothing allocates without bound.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace levada {

inline namespace literals {
constexpr std::size_t operator""_KiB(unsigned long long n) { return static_cast<std::size_t>(n) << 10; }
constexpr std::size_t operator""_MiB(unsigned long long n) { return static_cast<std::size_t>(n) << 20; }
constexpr std::size_t operator""_GiB(unsigned long long n) { return static_cast<std::size_t>(n) << 30; }
}  // namespace literals

/// A named part of the budget.
///
/// Threads: callable from any thread; the counters are relaxed atomics.
class MemoryShare {
 public:
  MemoryShare(std::string name, std::size_t limit_bytes)
      : name_(std::move(name)), limit_bytes_(limit_bytes) {}
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  /// Takes `bytes` if they fit below the limit; returns whether it did.
  bool try_acquire(std::size_t bytes) noexcept;
  /// Takes `bytes` even beyond the limit: for what must exist (a channel's guaranteed batch).
  void acquire(std::size_t bytes) noexcept;
  /// Gives `bytes` back. LEVADA_ASSERTs that they were taken.
  void release(std::size_t bytes) noexcept;

  std::string_view name() const noexcept { return name_; }
  std::size_t used_bytes() const noexcept { return used_bytes_.load(std::memory_order_relaxed); }
  std::size_t peak_bytes() const noexcept { return peak_bytes_.load(std::memory_order_relaxed); }
  std::size_t limit_bytes() const noexcept { return limit_bytes_; }

 private:
  void note_peak(std::size_t used) noexcept;

  std::string name_;
  std::size_t limit_bytes_;
  std::atomic<std::size_t> used_bytes_{0};
  std::atomic<std::size_t> peak_bytes_{0};
};

/// The budget of a job (or of several that share it).
///
/// Threads: the shares are fixed at construction.
class MemoryBudget {
 public:
  /// Divides `total_bytes`: channels, state, snapshots, prefetch (Kafka), sinks (rows buffered by sinks),
  /// epoch_log (output on its way to the log).
  explicit MemoryBudget(std::size_t total_bytes);

  std::size_t total_bytes() const noexcept { return total_bytes_; }
  MemoryShare& channels() noexcept { return *shares_[0]; }
  MemoryShare& state() noexcept { return *shares_[1]; }
  MemoryShare& snapshots() noexcept { return *shares_[2]; }
  MemoryShare& prefetch() noexcept { return *shares_[3]; }
  MemoryShare& sinks() noexcept { return *shares_[4]; }
  MemoryShare& epoch_log() noexcept { return *shares_[5]; }
  const std::vector<std::unique_ptr<MemoryShare>>& shares() const noexcept { return shares_; }

 private:
  std::size_t total_bytes_;
  std::vector<std::unique_ptr<MemoryShare>> shares_;
};

/// A quarter of what the cgroup or the machine has: the default budget.
std::size_t default_memory_bytes();

}  // namespace levada
