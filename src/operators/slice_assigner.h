// SliceAssigner: the arithmetic of windows and slices. Event time is cut at every window start and end;
// a slice is what lies between two cuts and is named by its end. Size 10, slide 3: slices of 1 and 2.
//
// Threads: immutable. All arithmetic floors, so times before 1970 and negative offsets are right.
#pragma once

#include <cstdint>

#include "levada/windows.h"

namespace levada {

struct Slice {
  std::int64_t start = 0;  ///< microseconds
  std::int64_t end = 0;
};

class SliceAssigner {
 public:
  explicit SliceAssigner(const WindowAssigner& assigner);

  /// The slice that time `us` lies in.
  Slice slice_of(std::int64_t us) const;
  /// The same for the slice that ends at `end`.
  Slice slice_ending(std::int64_t end) const { return slice_of(end - 1); }
  /// Ends of the first and the last window that cover a slice; they follow each other by the slide.
  std::int64_t first_window_end(const Slice& slice) const;
  std::int64_t last_window_end(const Slice& slice) const;
  std::int64_t size() const noexcept { return size_; }
  std::int64_t slide() const noexcept { return slide_; }

 private:
  std::int64_t floor_to_slide(std::int64_t us) const;

  std::int64_t size_;
  std::int64_t slide_;
  std::int64_t offset_;
  std::int64_t rest_;  // size mod slide: where a window ends between two starts
};

}  // namespace levada
