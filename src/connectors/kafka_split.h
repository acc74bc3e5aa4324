// A Kafka partition as a split of the engine: its id and its position in the checkpoint.
//
//   id        topic "-" partition           orders-3
//   position  "1:" next [".." stop]         1:1500..2000
//
// `next` is the offset of the next record to read; a bounded split ends before `stop`.
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "levada/connectors/kafka.h"

namespace levada::kafka {

struct SplitPosition {
  std::int64_t next = 0;
  std::optional<std::int64_t> stop;
  bool operator==(const SplitPosition&) const = default;
};

std::string split_id(const TopicPartition& partition);
/// Errors: StateError if `id` is none.
TopicPartition parse_split_id(std::string_view id);

std::string to_text(const SplitPosition& position);
/// Errors: StateError if `text` is none.
SplitPosition parse_position(std::string_view text);

}  // namespace levada::kafka
