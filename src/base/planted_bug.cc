#include "base/planted_bug.h"

#ifdef LEVADA_FAILPOINTS

#include <algorithm>
#include <stdexcept>
#include <string>

namespace levada {

namespace detail {
std::atomic<std::size_t> planted_bug{kNoPlantedBug};
}  // namespace detail

void plant_bug(std::string_view name) {
  if (name.empty()) {
    detail::planted_bug.store(detail::kNoPlantedBug);
    return;
  }
  const auto found = std::find(kPlantedBugs.begin(), kPlantedBugs.end(), name);
  if (found == kPlantedBugs.end()) {
    throw std::invalid_argument("there is no planted bug '" + std::string(name) + "'");
  }
  detail::planted_bug.store(static_cast<std::size_t>(found - kPlantedBugs.begin()));
}

}  // namespace levada

#endif
