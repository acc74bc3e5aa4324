// FunctionScope: what the parts of a function of process() share while it is called. BoundState: a state
// member's place, as the engine sees it. CurrentKey: the key of the row or timer at hand.
//
// Threads:  of the subtask.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/detail/state_names.h"
#include "levada/detail/stored_key.h"
#include "levada/operator.h"
#include "levada/state_backend.h"
#include "levada/time.h"

namespace levada {

/// Which clock a timer goes by.
enum class TimeDomain { kEventTime, kProcessingTime };

}  // namespace levada

namespace levada::detail {

/// What a function sees of time; kept by its operator.
struct FunctionTime {
  Timestamp watermark = kMinWatermark;
  /// Processing time: of the clock, but never before what a checkpoint has seen.
  Timestamp now = Timestamp::min();
};

[[noreturn]] void throw_no_key(std::string_view state);

/// The key of the row or timer at hand.
template <class K>
class CurrentKey {
 public:
  using Key = StoredKey<K>;

  /// `key` stays valid until the next call.
  void set(const K& key, std::uint64_t hash) {
    key_ = &key;
    hash_ = hash;
    encoded_ = false;
  }
  void clear() { key_ = nullptr; }

  bool there() const { return key_ != nullptr; }
  const K& key() const { return *key_; }
  std::uint64_t hash() const { return hash_; }
  /// As tables look for it.
  typename Key::View view() {
    if constexpr (!kEncoded) {
      return Key::view(*key_, bytes_);
    } else {
      if (!std::exchange(encoded_, true)) Key::view(*key_, bytes_);
      return bytes_;
    }
  }

 private:
  static constexpr bool kEncoded = Key::kInArena && !std::is_same_v<K, std::string>;

  const K* key_ = nullptr;
  std::uint64_t hash_ = 0;
  bool encoded_ = false;
  Bytes bytes_;
};

class BoundState {
 public:
  virtual ~BoundState() = default;
  virtual void restore(const RestoredState& state, const OperatorContext& context) = 0;
  virtual void snapshot(SnapshotContext& context) = 0;
  /// Of keyed state.
  virtual StateLookUp* look_up() { return nullptr; }
  /// The rows with these hashes come next.
  virtual void prefetch(const std::uint64_t* hashes, std::size_t first, std::size_t last) {
    static_cast<void>(hashes), static_cast<void>(first), static_cast<void>(last);
  }
  /// The function has returned: what it changed is charged.
  virtual void settle() {}
  /// Looks at about `slots` more entries for what has expired.
  virtual void clean(std::size_t slots) { static_cast<void>(slots); }
};

struct FunctionScope {
  OperatorContext* context = nullptr;
  const FunctionTime* time = nullptr;
  std::vector<BoundState*> changed;  ///< to be settled

  void settle() {
    if (changed.empty()) return;
    for (BoundState* state : changed) state->settle();
    changed.clear();
  }
};

}  // namespace levada::detail
