// The command line of orders_demo.
#pragma once

#include <cstdint>
#include <string>

namespace orders {

struct DemoOptions {
  std::int64_t row_count = 1'000'000;
  std::string brokers;  // empty: an embedded cluster
  std::string conninfo;
  std::string job_path;
  std::int32_t parallelism = 2;
  bool keep = false;
};

// Throws std::invalid_argument with one line that says what is wrong.
DemoOptions parse_demo_options(int argc, char** argv);

inline constexpr const char* kDemoUsage =
    "usage: orders_demo --postgres CONNINFO [--rows N=1000000] [--brokers HOST:PORT]\n"
    "                   [--parallelism N=2] [--keep] [--job PATH]\n";

}  // namespace orders
