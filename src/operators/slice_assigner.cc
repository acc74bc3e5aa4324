#include "operators/slice_assigner.h"

namespace levada {

WindowAssigner tumbling(Duration size, WindowOptions options) {
  return {.size = size, .slide = size, .offset = options.offset};
}

WindowAssigner sliding(Sliding options) {
  return {.size = options.size.value, .slide = options.slide.value, .offset = options.offset};
}

std::string problem_of(const WindowAssigner& assigner) {
  if (assigner.size <= Duration{0}) return "the size of a window must be positive";
  if (assigner.slide <= Duration{0}) return "the slide of a window must be positive";
  if (assigner.slide > assigner.size) {
    return "the slide of a window must not exceed its size: rows between windows would be lost";
  }
  return {};
}

SliceAssigner::SliceAssigner(const WindowAssigner& assigner)
    : size_(assigner.size.count()),
      slide_(assigner.slide.count()),
      offset_(assigner.offset.count() % assigner.slide.count()),
      rest_(size_ % slide_) {}

std::int64_t SliceAssigner::floor_to_slide(std::int64_t us) const {
  const std::int64_t shifted = us - offset_;
  std::int64_t rest = shifted % slide_;
  if (rest < 0) rest += slide_;
  return us - rest;
}

Slice SliceAssigner::slice_of(std::int64_t us) const {
  const std::int64_t start = floor_to_slide(us);
  if (rest_ == 0) return {start, start + slide_};
  const std::int64_t cut = start + rest_;
  return us < cut ? Slice{start, cut} : Slice{cut, start + slide_};
}

std::int64_t SliceAssigner::last_window_end(const Slice& slice) const {
  return floor_to_slide(slice.start) + size_;
}

// The earliest window that still ends at or after the slice's end.
std::int64_t SliceAssigner::first_window_end(const Slice& slice) const {
  const std::int64_t last = last_window_end(slice);
  return last - (last - slice.end) / slide_ * slide_;
}

}  // namespace levada
