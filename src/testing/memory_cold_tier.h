// MemoryColdTier: a cold tier that is an ordered map, for tests and the simulation.
//
// Threads: as the contract says.
#pragma once

#include <map>
#include <memory>

#include "base/mutex.h"
#include "levada/cold_tier.h"

namespace levada::testing {

class MemoryColdTier final : public ColdTier {
 public:
  using Map = std::map<Bytes, Bytes, std::less<>>;

  /// `image` null: empty.
  explicit MemoryColdTier(const ColdImage* image = nullptr);

  void get(std::span<const std::string_view> keys, ColdValues& into) override;
  std::unique_ptr<ColdCursor> scan(std::string_view first, std::string_view last) override;
  void take_in(const ColdRun& run) override;
  void remove_ranges(const std::vector<std::pair<Bytes, Bytes>>& ranges) override;
  /// Drops it at once.
  void expire(const ColdExpiry& expiry) override;
  void write_checkpoint(ColdFiles& into) override;

  /// The change after `changes` more fails.
  void fail_after(int changes);
  Map contents() const;

 private:
  void note_change() LEVADA_REQUIRES(mutex_);

  mutable Mutex mutex_;
  Map map_ LEVADA_GUARDED_BY(mutex_);
  int changes_left_ LEVADA_GUARDED_BY(mutex_) = -1;
  int checkpoints_ = 0;
};

/// Tiers in memory for jobs.
class MemoryColdBackend final : public ColdBackend {
 public:
  std::size_t cache_sixteenths() const override { return 0; }
  std::unique_ptr<ColdTier> open(const ColdPlace& place, const ColdImage* image) const override;
};

}  // namespace levada::testing
