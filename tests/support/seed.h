// Seeds of random tests: printed, and replayed by LEVADA_SEED=n.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace levada::testing {

/// The seed with which a random test begins. It is printed once a call.
inline std::uint64_t first_seed() {
  const char* given = std::getenv("LEVADA_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("seeds from %llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

/// How many seeds to try: one when LEVADA_SEED names it.
inline std::uint64_t seed_count(std::uint64_t count) {
  return std::getenv("LEVADA_SEED") != nullptr ? 1 : count;
}

}  // namespace levada::testing
