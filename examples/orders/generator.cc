#include "generator.h"

#include <algorithm>
#include <stdexcept>

namespace orders {
namespace {

// Late rows aim at windows that pass up to this much later than the row is made: these few are
// still in time, on either side of the border.
constexpr std::int64_t kLateBorderMs = 500;

// splitmix64: a stateless source of random bits. Source: Steele, Lea, Flood, OOPSLA 2014.
std::uint64_t mix(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

std::int64_t below(std::uint64_t random, std::int64_t bound) {
  return static_cast<std::int64_t>(random % static_cast<std::uint64_t>(bound));
}

}  // namespace

Generator::Generator(const GeneratorOptions& options) : options_(options) {
  if (options_.partition_count < 1 || options_.row_count % options_.partition_count != 0) {
    throw std::invalid_argument("the row count must be a multiple of the partition count");
  }
}

Order Generator::row(std::int64_t index) const {
  const std::uint64_t a =
      mix(options_.seed * 0x2545F4914F6CDD1DULL + static_cast<std::uint64_t>(index));
  const std::uint64_t b = mix(a);
  const std::uint64_t c = mix(b);
  const std::uint64_t d = mix(c);

  Order order;
  order.user = static_cast<std::int32_t>(below(a, options_.user_count));
  order.item = static_cast<std::int32_t>(below(a >> 32, options_.item_count));
  order.amount = static_cast<std::int32_t>(1 + below(b, 100'000));
  if (below(b >> 32, 1000) < options_.cancelled_per_mille) order.amount = 0;

  const std::int64_t now_ms =
      options_.first_ts_ms +
      static_cast<std::int64_t>(static_cast<double>(index) * static_cast<double>(options_.span_ms) /
                                static_cast<double>(options_.row_count));
  order.ts_ms = std::max(options_.first_ts_ms, now_ms - below(c, options_.rules.disorder_ms + 1));
  if (below(c >> 32, 1000) < options_.late_per_mille) {
    const std::int64_t late_ms = late_time(now_ms, d);
    if (late_ms != kNoTime) order.ts_ms = late_ms;
  }
  return order;
}

// A time in one of the two youngest windows that have passed at `now_ms`, or kNoTime while none
// has: the first rows cannot be late.
std::int64_t Generator::late_time(std::int64_t now_ms, std::uint64_t random) const {
  const WindowRules& rules = options_.rules;
  const std::int64_t passed_ms = now_ms + kLateBorderMs - rules.lateness_ms - rules.disorder_ms;
  const std::int64_t end_ms = rules.window_start(passed_ms);
  if (end_ms <= options_.first_ts_ms) return kNoTime;
  const std::int64_t oldest_ms = std::max(options_.first_ts_ms, end_ms - 2 * rules.window_ms);
  return oldest_ms + below(random, end_ms - oldest_ms);
}

}  // namespace orders
