// Windows: which pieces of event time a row belongs to.
#pragma once

#include <string>

#include "levada/required.h"
#include "levada/time.h"

namespace levada {

/// A piece of event time: [start, end).
struct Window {
  Timestamp start;
  Timestamp end;
  bool operator==(const Window&) const = default;
};

struct WindowOptions {
  Duration offset{};  ///< of window starts from 1970-01-01 00:00 UTC: days in another time zone
};

struct Sliding {
  Required<Duration> size;
  Required<Duration> slide;
  Duration offset{};
};

/// Windows of `size`, one beginning every `slide`. Plain data.
struct WindowAssigner {
  Duration size{};
  Duration slide{};
  Duration offset{};
};

/// Windows that touch and do not overlap: tumbling(10s).
///
/// Units:   event time.
/// Errors:  GraphError at execute when `size` is not positive.
WindowAssigner tumbling(Duration size, WindowOptions options = {});

/// Windows of `.size`, one beginning every `.slide`: a row belongs to size / slide of them.
///
/// Units:   event time.
/// Errors:  GraphError at execute unless 0 < slide <= size.
WindowAssigner sliding(Sliding options);

/// What is wrong with an assigner; empty when nothing is.
std::string problem_of(const WindowAssigner& assigner);

}  // namespace levada
