// Makes the orders of a run: row i is a pure function of the seed and i, so that whoever reads the
// topic can say for each offset what must be there.
//
// Rows go to the partitions in turn. Their times advance evenly over the span, each up to 2 s back
// at random. About 1 % are late: they belong to a window whose end and lateness have passed. (Some
// of these come just before that moment; they still count, and their window fires again.) A few per
// mille have the amount 0.
#pragma once

#include <cstdint>

#include "order.h"

namespace orders {

struct GeneratorOptions {
  std::uint64_t seed = 1;
  std::int64_t row_count = 1'000'000;  // a multiple of partition_count
  std::int32_t partition_count = 8;
  std::int32_t user_count = 10'000;
  std::int32_t item_count = 1'000;
  std::int64_t first_ts_ms = 1'700'000'000'000;
  std::int64_t span_ms = 100'000;    // event time between the first row and the last
  std::int32_t late_per_mille = 12;  // of the rows, as soon as a window has passed
  std::int32_t cancelled_per_mille = 3;
  WindowRules rules;
};

class Generator {
 public:
  // Throws std::invalid_argument when the rows do not divide evenly among the partitions.
  explicit Generator(const GeneratorOptions& options);

  Order row(std::int64_t index) const;
  Order row(std::int32_t partition, std::int64_t offset) const {
    return row(offset * options_.partition_count + partition);
  }
  std::int32_t partition(std::int64_t index) const {
    return static_cast<std::int32_t>(index % options_.partition_count);
  }
  std::int64_t rows_per_partition() const { return options_.row_count / options_.partition_count; }
  const GeneratorOptions& options() const { return options_; }

 private:
  std::int64_t late_time(std::int64_t now_ms, std::uint64_t random) const;

  GeneratorOptions options_;
};

}  // namespace orders
