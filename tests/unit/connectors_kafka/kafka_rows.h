// The row of the Kafka tests, and its records.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "levada/serde.h"

#include "unit/connectors_kafka/mock_kafka.h"

namespace levada::testing {

struct Sale {
  std::int64_t id = 0;
  std::optional<std::int64_t> offset;
  std::optional<std::string> note;
};
LEVADA_RECORD(Sale, id, offset, note)

inline Produced sale(const std::string& topic, std::int32_t partition, std::int64_t id) {
  return {.topic = topic,
          .partition = partition,
          .value = "{\"id\":" + std::to_string(id) + "}",
          .timestamp_ms = 1'700'000'000'000 + id};
}

/// Sales with the ids [first, last) in one partition.
inline std::vector<Produced> sales(const std::string& topic, std::int32_t partition,
                                   std::int64_t first, std::int64_t last) {
  std::vector<Produced> made;
  for (std::int64_t id = first; id < last; ++id) made.push_back(sale(topic, partition, id));
  return made;
}

/// The ids of what came from one split, in order.
template <class Rows>
std::vector<std::int64_t> ids(const Rows& rows, std::size_t split = 0) {
  std::vector<std::int64_t> found;
  for (const auto& got : rows) {
    if (got.split == split) found.push_back(got.row.id);
  }
  return found;
}

/// first, first + 1, ..., last - 1.
inline std::vector<std::int64_t> range(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> made;
  for (; first < last; ++first) made.push_back(first);
  return made;
}

}  // namespace levada::testing
