// What operators mean, in a few lines each, one event after the other. Includes nothing of the machine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

namespace model {

struct Row {
  std::int64_t key = 0, value = 0, time = 0;
  auto operator<=>(const Row&) const = default;
};

constexpr std::int64_t kEnd = INT64_MAX;

/// What passes a place in a stream: a row, or event time coming to `watermark`; the last is kEnd.
struct Event {
  bool is_row = true;
  Row row{};
  std::int64_t watermark = 0;
};
using Events = std::vector<Event>;

/// After each row of a source comes the watermark: the greatest time − bound − 1.
inline Events source(const std::vector<Row>& rows, std::int64_t bound) {
  Events events;
  std::int64_t newest = INT64_MIN;
  for (const Row& row : rows) {
    newest = std::max(newest, row.time);
    events.push_back({.is_row = true, .row = row});
    events.push_back({.is_row = false, .watermark = newest - bound - 1});
  }
  events.push_back({.is_row = false, .watermark = kEnd});
  return events;
}

// ---- operators: functions of all that passes

/// Each row becomes any number of rows with its time; map and filter are special cases of it.
inline Events flat_map(const Events& in, const std::function<std::vector<Row>(const Row&)>& f) {
  Events out;
  for (const Event& event : in) {
    if (!event.is_row) {
      out.push_back(event);
      continue;
    }
    for (Row row : f(event.row)) {
      row.time = event.row.time;
      out.push_back({.is_row = true, .row = row});
    }
  }
  return out;
}

/// The rows of both in any order: event time comes only when both have ended.
inline Events union_of(const Events& a, const Events& b) {
  Events out;
  for (const Events* in : {&a, &b}) {
    for (const Event& event : *in) {
      if (event.is_row) out.push_back(event);
    }
  }
  out.push_back({.is_row = false, .watermark = kEnd});
  return out;
}

/// For each row the value so far of its key: `f(value so far, value)`, the first row's value at first.
inline Events rolling(const Events& in, std::int64_t (*f)(std::int64_t, std::int64_t)) {
  std::map<std::int64_t, std::int64_t> so_far;
  return flat_map(in, [&](const Row& row) {
    const auto [at, fresh] = so_far.emplace(row.key, row.value);
    if (!fresh) at->second = f(at->second, row.value);
    return std::vector<Row>{{row.key, at->second, row.time}};
  });
}

/// A firing: a key, a window's start, and count and sum of its rows so far.
struct Firing {
  std::int64_t key, start, count, sum;
  auto operator<=>(const Firing&) const = default;
};

/// Windows [start, start + size), starts at multiples of slide. A window fires when the watermark reaches
/// its last moment, end − 1; a row within the lateness fires its key's windows again at once; one too late
/// for all its windows is late.
class Windows {
 public:
  Windows(std::int64_t size, std::int64_t slide, std::int64_t lateness)
      : size_(size), slide_(slide), lateness_(lateness) {}

  void row(const Row& row, const std::function<void(const Firing&)>& fire,
           const std::function<void(const Row&)>& late) {
    bool counted = false;
    for (const std::int64_t start : starts_of(row.time)) {
      const std::int64_t last = start + size_ - 1;
      if (watermark_ != kNone && last <= watermark_ - lateness_) continue;
      counted = true;
      Firing& firing = open_[start].try_emplace(row.key, Firing{row.key, start, 0, 0}).first->second;
      ++firing.count;
      firing.sum += row.value;
      if (last > watermark_) continue;
      fired_.insert(start);
      fire(firing);
    }
    if (!counted) late(row);
  }

  void watermark(std::int64_t time, const std::function<void(const Firing&)>& fire) {
    watermark_ = std::max(watermark_, time);
    for (const auto& [start, keys] : open_) {
      if (start + size_ - 1 > watermark_ || !fired_.insert(start).second) continue;
      for (const auto& [key, firing] : keys) fire(firing);
    }
  }

 private:
  static constexpr std::int64_t kNone = INT64_MIN;

  std::vector<std::int64_t> starts_of(std::int64_t time) const {
    std::vector<std::int64_t> starts;
    const std::int64_t last = time - ((time % slide_) + slide_) % slide_;
    for (std::int64_t start = last; start > time - size_; start -= slide_) starts.push_back(start);
    std::reverse(starts.begin(), starts.end());
    return starts;
  }

  std::int64_t size_, slide_, lateness_;
  std::int64_t watermark_ = kNone;
  std::map<std::int64_t, std::map<std::int64_t, Firing>> open_;  // by start, by key
  std::set<std::int64_t> fired_;
};

/// A window step: `value_of(firing)` is the value of the row that a firing becomes, its time the last
/// moment of the window. Late rows are appended to `late`.
inline Events windows(const Events& in, Windows windows,
                      const std::function<Row(const Firing&)>& result, std::vector<Row>& late) {
  Events out;
  const auto fire = [&](const Firing& firing) { out.push_back({.is_row = true, .row = result(firing)}); };
  for (const Event& event : in) {
    if (event.is_row) {
      windows.row(event.row, fire, [&](const Row& row) { late.push_back(row); });
    } else {
      windows.watermark(event.watermark, fire);
      out.push_back(event);
    }
  }
  return out;
}

/// A function of one key at a time with a value and timers: what it does with a row, and when a timer fires.
struct Function {
  struct Key {
    std::int64_t value = 0;
    std::set<std::int64_t> timers;
  };
  std::function<std::vector<Row>(Key&, const Row&)> row;
  std::function<std::vector<Row>(Key&, std::int64_t key, std::int64_t at)> timer;
};

/// When event time advances all timers up to the watermark fire, by time and then by key, also those that are set
/// meanwhile.
inline std::vector<Row> process(const Events& in, const Function& function) {
  std::map<std::int64_t, Function::Key> keys;
  std::vector<Row> out;
  const auto append = [&](const std::vector<Row>& rows) { out.insert(out.end(), rows.begin(), rows.end()); };
  const auto fire_first = [&](std::int64_t watermark) {
    std::pair<std::int64_t, std::int64_t> first{INT64_MAX, INT64_MAX};
    for (const auto& [key, state] : keys) {
      if (!state.timers.empty()) first = std::min(first, {*state.timers.begin(), key});
    }
    if (first.first > watermark || first.second == INT64_MAX) return false;
    keys[first.second].timers.erase(first.first);
    append(function.timer(keys[first.second], first.second, first.first));
    return true;
  };
  std::int64_t now = INT64_MIN;
  for (const Event& event : in) {
    if (event.is_row) append(function.row(keys[event.row.key], event.row));
    if (event.is_row || event.watermark <= now) continue;
    now = event.watermark;
    while (fire_first(now)) {
    }
  }
  return out;
}

}  // namespace model
