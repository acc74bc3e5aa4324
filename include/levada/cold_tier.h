// The cold tier of keyed state: where entries are that do not fit into the tables in memory. A tier belongs to
// one subtask and holds the entries of all its tables, as bytes under ordered keys (detail/cold_queue.h says
// how a key is made). It changes only by whole runs of entries, and is a cache: what a job restores from is its
// checkpoints, of which a tier's files are a part.
//
// Threads:  get(), scan() and expire() on the task's thread, also while a change is under way in the background;
//           changes and write_checkpoint() one at a time, on any thread.
// Failures: StateError naming the tier and what it could not do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "levada/bytes.h"
#include "levada/log.h"

namespace levada {

/// Entries on their way into a tier, each key once, in any order.
class ColdRun {
 public:
  struct Entry {
    std::uint64_t hash = 0;  ///< for whom made the run
    std::uint64_t at = 0;    ///< of the key, in the run's bytes; the value follows it
    std::uint32_t key_bytes = 0;
    std::uint32_t value_bytes = 0;
    bool removed = false;  ///< the key goes; there is no value
  };

  /// Begins an entry: its key is appended to bytes(), then end_key() is called, then its value is appended
  /// unless it is removed, then end().
  void begin(std::uint64_t hash, bool removed) {
    entries_.push_back({.hash = hash, .at = bytes_.size(), .removed = removed});
  }
  void end_key() {
    entries_.back().key_bytes = static_cast<std::uint32_t>(bytes_.size() - entries_.back().at);
  }
  void end() {
    Entry& entry = entries_.back();
    entry.value_bytes = static_cast<std::uint32_t>(bytes_.size() - entry.at - entry.key_bytes);
  }
  Bytes& bytes() noexcept { return bytes_; }

  const std::vector<Entry>& entries() const noexcept { return entries_; }
  std::string_view key(const Entry& entry) const {
    return {bytes_.data() + entry.at, entry.key_bytes};
  }
  std::string_view value(const Entry& entry) const {
    return {bytes_.data() + entry.at + entry.key_bytes, entry.value_bytes};
  }
  /// The entries' numbers in the order of their keys.
  std::vector<std::uint32_t> sorted() const;
  std::size_t memory_bytes() const noexcept {
    return bytes_.capacity() + entries_.capacity() * sizeof(Entry);
  }

 private:
  Bytes bytes_;
  std::vector<Entry> entries_;
};

/// The values of some keys; `found` says which there are.
struct ColdValues {
  std::vector<Bytes> values;
  std::vector<bool> found;
};

/// Goes through a range of keys, ascending. The tier as it was when the cursor was made.
class ColdCursor {
 public:
  virtual ~ColdCursor() = default;
  virtual bool valid() = 0;
  virtual std::string_view key() = 0;
  virtual std::string_view value() = 0;
  virtual void next() = 0;
  /// Goes on at the first key that is not less.
  virtual void seek(std::string_view key) = 0;
};

/// Takes the files of a tier into a checkpoint.
class ColdFiles {
 public:
  virtual ~ColdFiles() = default;
  /// A file of the local disk that never changes. `name` is unique in the life of the tier.
  virtual void link(const std::string& name, const std::string& path) = 0;
  /// A file made of these bytes.
  virtual void write(const std::string& name, std::string_view bytes) = 0;
};

/// The files that a tier wrote for a checkpoint.
class ColdImage {
 public:
  virtual ~ColdImage() = default;
  virtual std::vector<std::string> names() const = 0;
  virtual Bytes read(const std::string& name) const = 0;
  /// Makes `path` of the local disk that file, which must not be changed.
  virtual void link(const std::string& name, const std::string& path) const = 0;
};

/// Values of one table that are worth nothing any more when they are too old.
struct ColdExpiry {
  std::uint32_t table = 0;  ///< the number in its keys
  /// Whether nothing of the value was updated after `before_us`. Must not throw.
  bool (*expired)(std::string_view value, std::int64_t before_us) = nullptr;
  std::int64_t before_us = 0;
};

class ColdTier {
 public:
  virtual ~ColdTier() = default;
  /// Looks up `keys`, ascending and each once; `into` is resized.
  virtual void get(std::span<const std::string_view> keys, ColdValues& into) = 0;
  /// The keys in [first, last).
  virtual std::unique_ptr<ColdCursor> scan(std::string_view first, std::string_view last) = 0;
  /// Puts and removes what the run says.
  virtual void take_in(const ColdRun& run) = 0;
  /// Removes all keys in each [first, last).
  virtual void remove_ranges(const std::vector<std::pair<Bytes, Bytes>>& ranges) = 0;
  /// From now on the tier may drop what has expired, at any time or never. For a table the time never goes back.
  virtual void expire(const ColdExpiry& expiry) { static_cast<void>(expiry); }
  /// Everything that changes brought so far.
  virtual void write_checkpoint(ColdFiles& into) = 0;
};

/// Where a subtask's tier is.
struct ColdPlace {
  std::string job;   ///< both are fit for the name of a directory
  std::string name;  ///< unique among the job's
  std::size_t memory_bytes = 0;  ///< for caches
  std::function<void(LogLevel, std::string_view)> log;
};

/// Makes tiers: what the options of an environment name.
class ColdBackend {
 public:
  virtual ~ColdBackend() = default;
  /// The part of the state's memory that is for caches, in 1/16.
  virtual std::size_t cache_sixteenths() const = 0;
  /// Deletes what earlier starts of the job left. None of its tiers is open.
  virtual void clear(const std::string& job) const { static_cast<void>(job); }
  /// A tier with what `image` says, empty without; what an earlier one left in that place is deleted.
  virtual std::unique_ptr<ColdTier> open(const ColdPlace& place, const ColdImage* image) const = 0;
};

}  // namespace levada
