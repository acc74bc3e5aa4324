#include "testing/memory_cold_tier.h"

#include <utility>

#include "levada/detail/cold_queue.h"
#include "levada/error.h"

namespace levada::testing {
namespace {

class Cursor final : public ColdCursor {
 public:
  explicit Cursor(MemoryColdTier::Map map) : map_(std::move(map)), at_(map_.begin()) {}
  bool valid() override { return at_ != map_.end(); }
  std::string_view key() override { return at_->first; }
  std::string_view value() override { return at_->second; }
  void next() override { ++at_; }
  void seek(std::string_view key) override { at_ = map_.lower_bound(key); }

 private:
  MemoryColdTier::Map map_;
  MemoryColdTier::Map::const_iterator at_;
};

}  // namespace

MemoryColdTier::MemoryColdTier(const ColdImage* image) {
  if (image == nullptr) return;
  for (const std::string& name : image->names()) {
    const Bytes bytes = image->read(name);
    for (View in(bytes); !in.empty();) {
      const std::string_view key = in.take_string();
      map_[Bytes(key)] = in.take_string();
    }
  }
}

void MemoryColdTier::get(std::span<const std::string_view> keys, ColdValues& into) {
  MutexLock lock(mutex_);
  into.values.resize(keys.size());
  into.found.assign(keys.size(), false);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i > 0 && keys[i - 1] >= keys[i]) throw StateError("keys are not in order");
    const auto at = map_.find(keys[i]);
    if (at == map_.end()) continue;
    into.values[i] = at->second;
    into.found[i] = true;
  }
}

std::unique_ptr<ColdCursor> MemoryColdTier::scan(std::string_view first, std::string_view last) {
  MutexLock lock(mutex_);
  return std::make_unique<Cursor>(Map(map_.lower_bound(first), map_.lower_bound(last)));
}

void MemoryColdTier::note_change() {
  if (changes_left_ == 0) throw StateError("the cold tier was told to fail");
  if (changes_left_ > 0) --changes_left_;
}

void MemoryColdTier::take_in(const ColdRun& run) {
  MutexLock lock(mutex_);
  note_change();
  for (const std::uint32_t i : run.sorted()) {
    const ColdRun::Entry& entry = run.entries()[i];
    if (entry.removed) {
      const auto at = map_.find(run.key(entry));
      if (at != map_.end()) map_.erase(at);
    } else {
      map_[Bytes(run.key(entry))] = run.value(entry);
    }
  }
}

void MemoryColdTier::remove_ranges(const std::vector<std::pair<Bytes, Bytes>>& ranges) {
  MutexLock lock(mutex_);
  note_change();
  for (const auto& [first, last] : ranges) {
    map_.erase(map_.lower_bound(first), map_.lower_bound(last));
  }
}

void MemoryColdTier::expire(const ColdExpiry& expiry) {
  MutexLock lock(mutex_);
  std::erase_if(map_, [&](const auto& entry) {
    return detail::cold_table(entry.first) == expiry.table && expiry.expired(entry.second, expiry.before_us);
  });
}

void MemoryColdTier::write_checkpoint(ColdFiles& into) {
  MutexLock lock(mutex_);
  Bytes bytes;
  for (const auto& [key, value] : map_) {
    put_string(bytes, key);
    put_string(bytes, value);
  }
  into.write("map-" + std::to_string(++checkpoints_), bytes);
}

void MemoryColdTier::fail_after(int changes) {
  MutexLock lock(mutex_);
  changes_left_ = changes;
}

MemoryColdTier::Map MemoryColdTier::contents() const {
  MutexLock lock(mutex_);
  return map_;
}

std::unique_ptr<ColdTier> MemoryColdBackend::open(const ColdPlace&, const ColdImage* image) const {
  return std::make_unique<MemoryColdTier>(image);
}

}  // namespace levada::testing
