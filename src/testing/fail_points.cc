#include "levada/fail_points.h"

#include <vector>

#include "base/fail_point.h"

namespace levada {

std::span<const FailPointInfo> fail_points() {
#ifdef LEVADA_FAILPOINTS
  static const std::vector<FailPointInfo> all = [] {
    std::vector<FailPointInfo> made;
    for (const FailPoint& point : kFailPoints) made.push_back({point.name, to_string(point.phase)});
    return made;
  }();
  return all;
#else
  return {};
#endif
}

}  // namespace levada
