#include "base/planted_bug.h"

#ifdef LEVADA_FAILPOINTS

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace levada {
namespace {

std::size_t index_of(std::string_view name) {
  if (name.empty()) return detail::kNoPlantedBug;
  const auto found = std::find(kPlantedBugs.begin(), kPlantedBugs.end(), name);
  if (found == kPlantedBugs.end()) {
    throw std::invalid_argument("there is no planted bug '" + std::string(name) + "'");
  }
  return static_cast<std::size_t>(found - kPlantedBugs.begin());
}

std::size_t index_in_environment() {
  const char* name = std::getenv("LEVADA_PLANT");  // NOLINT(concurrency-mt-unsafe): only read here
  return index_of(name == nullptr ? "" : name);
}

}  // namespace

namespace detail {
std::atomic<std::size_t> planted_bug{index_in_environment()};
}  // namespace detail

void plant_bug(std::string_view name) { detail::planted_bug.store(index_of(name)); }

}  // namespace levada

#endif
