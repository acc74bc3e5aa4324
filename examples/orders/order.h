// One order as it travels through the topic, and the rules by which windows count it.
//
// Everything in this folder stands apart from the library: it produces the orders, counts them
// again with plain loops, and compares. It shares no code with what it checks.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace orders {

struct Order {
  std::int32_t user = 0;
  std::int32_t item = 0;
  std::int32_t amount = 0;  // cents; 0 = cancelled, which the job's filter drops
  std::int64_t ts_ms = 0;

  bool operator==(const Order&) const = default;
  bool cancelled() const { return amount <= 0; }
};

// Replaces `out` by {"user":1234,"item":56,"amount":789,"ts":1700000000000}.
void write_json(const Order& order, std::string& out);

// Reads exactly what write_json writes; false for anything else.
bool parse_json(std::string_view text, Order& order);

// "Greatest time so far" before the first row of a partition.
inline constexpr std::int64_t kNoTime = std::numeric_limits<std::int64_t>::min();

// Tumbling windows aligned to the epoch, with the lateness that they allow. `disorder_ms` is how
// far the job's watermarks stay behind the greatest time of a partition.
struct WindowRules {
  std::int64_t window_ms = 10'000;
  std::int64_t lateness_ms = 5'000;
  std::int64_t disorder_ms = 2'000;

  std::int64_t window_start(std::int64_t ts_ms) const { return ts_ms - ts_ms % window_ms; }
  std::int64_t window_end(std::int64_t ts_ms) const { return window_start(ts_ms) + window_ms; }

  // Whether a row may be late after `greatest_before_ms` was seen in its partition: the watermark
  // is at most that time less the disorder, and others may hold it back further. With a single
  // partition and batches of one row nothing holds it back, and "may be" becomes "is".
  bool may_be_late(std::int64_t ts_ms, std::int64_t greatest_before_ms) const {
    return greatest_before_ms != kNoTime &&
           window_end(ts_ms) + lateness_ms <= greatest_before_ms - disorder_ms;
  }
};

}  // namespace orders
