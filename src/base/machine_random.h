// Random numbers of the machine's, not of a seed: two processes never draw the same. For names that must be nobody
// else's; what a simulation is to replay comes from Random.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <random>

namespace levada {

inline std::uint64_t machine_random() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace levada
