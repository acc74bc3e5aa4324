// What operators mean, in a few lines each, one row after the other. Includes nothing of the machine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace model {

struct Row {
  std::int64_t key, value, time;
};

/// A firing: a key, a window's start, and count and sum of its rows so far.
struct Firing {
  std::int64_t key, start, count, sum;
  auto operator<=>(const Firing&) const = default;
};

struct WindowResult {
  std::vector<Firing> firings;  ///< those of one window at one moment in order of their keys
  std::vector<std::int64_t> late_values;
};

/// Windows [start, start + size), starts at multiples of slide. After each row the watermark is the
/// greatest time − bound − 1; a window fires when it reaches its last moment, end − 1; a row within the
/// lateness fires its key's windows again at once; one too late for all its windows goes to the late ones.
inline WindowResult windows(const std::vector<Row>& rows, std::int64_t size, std::int64_t slide,
                            std::int64_t bound, std::int64_t lateness) {
  WindowResult result;
  std::map<std::int64_t, std::map<std::int64_t, Firing>> open;  // by start, by key
  std::set<std::int64_t> fired;
  std::int64_t watermark = INT64_MIN / 2, newest = INT64_MIN / 2;
  const auto fire_due = [&] {
    for (auto& [start, keys] : open) {
      if (start + size - 1 > watermark || !fired.insert(start).second) continue;
      for (const auto& [key, firing] : keys) result.firings.push_back(firing);
    }
  };
  for (const Row& row : rows) {
    std::int64_t last = row.time - ((row.time % slide) + slide) % slide;
    std::vector<std::int64_t> starts;
    for (std::int64_t start = last; start > row.time - size; start -= slide) starts.push_back(start);
    std::reverse(starts.begin(), starts.end());
    bool counted = false;
    for (const std::int64_t start : starts) {
      if (start + size - 1 + lateness <= watermark) continue;
      counted = true;
      Firing& firing = open[start].try_emplace(row.key, Firing{row.key, start, 0, 0}).first->second;
      ++firing.count;
      firing.sum += row.value;
      if (start + size - 1 <= watermark) {
        fired.insert(start);
        result.firings.push_back(firing);
      }
    }
    if (!counted) result.late_values.push_back(row.value);
    newest = std::max(newest, row.time);
    watermark = std::max(watermark, newest - bound - 1);
    fire_due();
  }
  watermark = INT64_MAX;
  fire_due();
  return result;
}

}  // namespace model
