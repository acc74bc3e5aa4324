// BlockBuffer: the bytes of a snapshot's block that is under way. Entries collect in a small stage, which goes on to the
// block past the caches: only the thread that writes files reads that again, later, and often on a core that shares no
// cache with this one. From this one's cache it would get line after line at the price of a miss each.
//
// Threads:    one at a time.
// Invariants: what there is are the first `streamed_` bytes of the block, then the first `staged_` ones of the stage.
//             Where blocks end does not depend on where memory lies: a run can be repeated.
// Cost:       2 KiB, and the block's memory once there is more than that.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "levada/bytes.h"
#include "levada/detail/streamed_copy.h"
#include "levada/state_backend.h"

namespace levada::detail {

class BlockBuffer {
 public:
  /// What a block has at most, unless an entry is longer than a stage.
  static constexpr std::size_t kBlockBytes = 32 * 1024;
  static constexpr std::size_t kStageBytes = 2048;

  std::size_t size() const { return streamed_ + staged_; }
  /// It is time to take it: another stage's worth may be too much.
  bool full() const { return size() + kStageBytes > kBlockBytes; }

  /// Entries of bounded length are written where there is room, behind the end.
  bool has_room(std::size_t bytes) const { return stage_.size() - staged_ >= bytes; }
  /// Makes it. The first time the stage gets `first_stage` bytes, or what is needed. `expected` is what the block may
  /// come to have: `sink` has memory for long ones.
  void make_room(std::size_t bytes, std::size_t first_stage, std::size_t expected, BlockSink& sink) {
    stream(expected, sink);
    if (has_room(bytes)) return;
    stage_.resize(std::max(bytes, std::min(expected, stage_.empty() ? first_stage : kStageBytes)));
  }
  char* end() { return stage_.data() + staged_; }
  void extend(std::size_t bytes) { staged_ += bytes; }

  /// Others are appended to this; then appended() is called.
  Bytes& tail() {
    if (stage_.size() != staged_) stage_.resize(staged_);
    return stage_;
  }
  void appended(std::size_t expected, BlockSink& sink) {
    staged_ = stage_.size();
    if (staged_ < kStageBytes) return;
    if (streamed_ > 0 || staged_ < 2 * kStageBytes) return stream(expected, sink);
    stage_.reserve(std::min(expected, kBlockBytes) + staged_);  // entries are long: it becomes the block
  }

  /// The block; then it is empty.
  Bytes take() {
    if (streamed_ == 0) {
      stage_.resize(std::exchange(staged_, 0));
      return std::exchange(stage_, {});
    }
    add(stage_.data(), std::exchange(staged_, 0));
    if (stage_.capacity() > 2 * kStageBytes) stage_ = Bytes();  // of an entry that was long
    block_.resize(std::exchange(streamed_, 0));
    return std::exchange(block_, {});
  }

 private:
  // New memory is used a little at a time: all groups need some when a snapshot begins.
  static constexpr std::size_t kGrowBytes = 4096;

  void stream(std::size_t expected, BlockSink& sink) {
    if (staged_ == 0) return;
    if (streamed_ == 0) begin_block(std::max(staged_, std::min(expected, kBlockBytes)), sink);
    add(stage_.data(), std::exchange(staged_, 0));
  }
  void begin_block(std::size_t bytes, BlockSink& sink) {
    if (bytes >= kBlockBytes / 2) block_ = sink.spare();
    block_.reserve(bytes);
  }
  void add(const char* bytes, std::size_t count) {
    const std::size_t after = streamed_ + count;
    if (block_.size() < after) block_.resize(std::max(after, std::min(after + kGrowBytes, block_.capacity())));
    streamed_copy(block_.data() + streamed_, bytes, count);
    streamed_ = after;
  }

  // What each entry needs comes first: it is on one line.
  Bytes stage_;
  std::size_t staged_ = 0;
  std::size_t streamed_ = 0;
  Bytes block_;
};

}  // namespace levada::detail
