#include "connectors/kafka_split.h"

#include <charconv>

#include "levada/error.h"

namespace levada::kafka {
namespace {

template <class N>
std::optional<N> parse_number(std::string_view text) {
  N number{};
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || at != end || number < 0) return std::nullopt;
  return number;
}

}  // namespace

std::string split_id(const TopicPartition& partition) {
  return partition.topic + "-" + std::to_string(partition.partition);
}

TopicPartition parse_split_id(std::string_view id) {
  const std::size_t dash = id.rfind('-');
  if (dash != std::string_view::npos && dash > 0) {
    if (const auto partition = parse_number<std::int32_t>(id.substr(dash + 1))) {
      return {std::string(id.substr(0, dash)), *partition};
    }
  }
  throw StateError("\"" + std::string(id) + "\" is not a split of a Kafka source");
}

std::string to_text(const SplitPosition& position) {
  std::string text = "1:" + std::to_string(position.next);
  if (position.stop) text += ".." + std::to_string(*position.stop);
  return text;
}

SplitPosition parse_position(std::string_view text) {
  if (text.starts_with("1:")) {
    const std::string_view numbers = text.substr(2);
    const std::size_t dots = numbers.find("..");
    const auto next = parse_number<std::int64_t>(numbers.substr(0, dots));
    if (next && dots == std::string_view::npos) return {*next, std::nullopt};
    if (next) {
      if (const auto stop = parse_number<std::int64_t>(numbers.substr(dots + 2)))
        return {*next, stop};
    }
  }
  throw StateError("\"" + std::string(text) + "\" is not a position of a Kafka source");
}

}  // namespace levada::kafka
