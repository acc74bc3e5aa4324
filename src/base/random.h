// Random: a seeded stream of numbers that is the same on every machine and in every version, so
// that a seed replays a run. Not for secrets.
//
// Threads:  one at a time.
// Source:   Blackman and Vigna, xoshiro256**, seeded by SplitMix64; Lemire, "Fast random integer
//           generation in an interval", 2019.
#pragma once

#include <bit>
#include <cstdint>

#include "levada/assert.h"

namespace levada {

class Random {
 public:
  using result_type = std::uint64_t;

  explicit Random(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) word = split_mix(seed);
  }

  /// 64 random bits.
  std::uint64_t next() noexcept {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  /// Uniform in [0, n). REQUIRES: n > 0.
  std::uint64_t below(std::uint64_t n) {
    LEVADA_ASSERT(n > 0, "a random number below zero does not exist");
    const std::uint64_t reject_below = (0 - n) % n;
    for (;;) {
      const Wide product = static_cast<Wide>(next()) * n;
      if (static_cast<std::uint64_t>(product) >= reject_below) {
        return static_cast<std::uint64_t>(product >> 64);
      }
    }
  }

  /// Uniform in [0, 1).
  double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  /// True with probability `p`.
  bool chance(double p) noexcept { return uniform() < p; }

  // What std::shuffle and the standard's distributions ask for.
  std::uint64_t operator()() noexcept { return next(); }
  static constexpr std::uint64_t min() noexcept { return 0; }
  static constexpr std::uint64_t max() noexcept { return ~std::uint64_t{0}; }

 private:
  __extension__ using Wide = unsigned __int128;

  static std::uint64_t split_mix(std::uint64_t& state) noexcept {
    std::uint64_t x = (state += 0x9e3779b97f4a7c15ULL);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
  }

  std::uint64_t state_[4];
};

}  // namespace levada
