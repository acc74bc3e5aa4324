// BlockBuffer: the bytes of what rows capture, on their way to the thread that writes them. Entries collect in a small
// stage, whose lines go on to the block past the caches: that thread reads the block later, and often on a core that
// shares no cache with this one. From this one's cache it would get line after line at the price of a miss each.
//
// Threads:    one at a time; who takes the block may be another one.
// Invariants: what there is are the first `streamed_` bytes of the block, then the first `staged_` ones of the stage.
//             Where blocks end does not depend on where memory lies: a run can be repeated.
// Cost:       2 KiB, and the block's memory once there is more than that.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
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
  bool empty() const { return size() == 0; }
  /// It is time to take it: another stage's worth may be too much.
  bool full() const { return size() + kStageBytes > kBlockBytes; }

  /// Entries of bounded length are written where there is room, behind the end.
  bool has_room(std::size_t bytes) const { return stage_.size() - staged_ >= bytes; }
  /// Makes it; `sink` has memory for blocks.
  void make_room(std::size_t bytes, BlockSink& sink) {
    stream(sink);
    stage_.resize(staged_ + std::max(bytes, kStageBytes));
  }
  char* end() { return stage_.data() + staged_; }
  void extend(std::size_t bytes) { staged_ += bytes; }

  /// Others are appended to this; then appended() is called.
  Bytes& tail() {
    if (stage_.size() != staged_) stage_.resize(staged_);
    return stage_;
  }
  void appended(BlockSink& sink) {
    staged_ = stage_.size();
    if (staged_ < kStageBytes) return;
    if (streamed_ > 0 || staged_ < 2 * kStageBytes) return stream(sink);
    stage_.reserve(kBlockBytes + staged_);  // entries are long: it becomes the block
  }

  /// The block; then it is empty.
  Bytes take() {
    if (streamed_ == 0) {
      stage_.resize(std::exchange(staged_, 0));
      return std::exchange(stage_, {});
    }
    add(std::exchange(staged_, 0));
    if (stage_.capacity() > 2 * kStageBytes) stage_ = Bytes();  // of an entry that was long
    block_.resize(std::exchange(streamed_, 0));
    return std::exchange(block_, {});
  }

 private:
  static constexpr std::size_t kLine = 64;
  // New memory is used a little at a time.
  static constexpr std::size_t kGrowBytes = 4096;

  void stream(BlockSink& sink) {
    if (staged_ == 0) return;
    if (streamed_ == 0) begin_block(sink);
    // A line that is written in two parts would have to be read in between.
    const std::size_t in_line = (reinterpret_cast<std::uintptr_t>(block_.data()) + streamed_ + staged_) % kLine;
    const std::size_t rest = in_line < staged_ ? in_line : 0;
    add(staged_ - rest);
    std::memmove(stage_.data(), stage_.data() + staged_ - rest, rest);
    staged_ = rest;
  }
  void begin_block(BlockSink& sink) {
    block_ = sink.spare();
    block_.reserve(std::max(staged_, kBlockBytes));
  }
  void add(std::size_t count) {
    const std::size_t after = streamed_ + count;
    if (block_.size() < after) block_.resize(std::max(after, std::min(after + kGrowBytes, block_.capacity())));
    streamed_copy(block_.data() + streamed_, stage_.data(), count);
    end_streaming();  // what comes later may be how another thread knows that it is there
    streamed_ = after;
  }

  // What each entry needs comes first: it is on one line.
  Bytes stage_;
  std::size_t staged_ = 0;
  std::size_t streamed_ = 0;
  Bytes block_;
};

}  // namespace levada::detail
