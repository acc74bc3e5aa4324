// The job whose checkpoint and savepoint are kept in data/: every kind of state that the format has. It must
// build the same graph, with the same results, for ever.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "levada/levada.h"

namespace golden {

using namespace std::chrono_literals;

struct Reading {
  std::string sensor;
  std::int64_t number = 0;
  double value = 0;  // halves: sums are exact in any order
  std::optional<std::int32_t> limit;
  std::vector<std::string> tags;
  levada::Timestamp at{};
};
LEVADA_RECORD(Reading, sensor, number, value, limit, tags, at)

inline constexpr std::uint64_t kRows = 2500;
inline constexpr std::uint64_t kSensors = 300;

// Rows of one sensor are all in one of two splits, so their order is known.
inline Reading reading_at(std::uint64_t i) {
  Reading reading;
  reading.sensor = (i % 7 == 0 ? "the sensor with a long name " : "s") + std::to_string(i % kSensors);
  reading.number = static_cast<std::int64_t>(i);
  reading.value = static_cast<double>(i % 16) / 2;
  if (i % 3 == 0) reading.limit = static_cast<std::int32_t>(i % 100) - 50;
  for (std::uint64_t tag = 0; tag < i % 4; ++tag) reading.tags.push_back("t" + std::to_string(tag));
  reading.at = levada::Timestamp{1'700'000'000s} + 10ms * static_cast<std::int64_t>(i);
  return reading;
}

inline Reading add(Reading sum, const Reading& reading) {
  sum.number += reading.number;
  sum.value += reading.value;
  sum.limit = reading.limit;
  sum.tags = reading.tags;
  sum.at = reading.at;
  return sum;
}

inline std::string text(const Reading& reading) {
  std::string line = reading.sensor + " " + std::to_string(reading.number) + " " + std::to_string(reading.value) +
                     " " + (reading.limit ? std::to_string(*reading.limit) : "none") + " " +
                     std::to_string(reading.at.time_since_epoch().count());
  for (const std::string& tag : reading.tags) line += " " + tag;
  return line;
}

inline std::string text(const levada::Window& window) {
  return std::to_string(window.start.time_since_epoch().count()) + ".." +
         std::to_string(window.end.time_since_epoch().count());
}

/// Builds the graph; `sink` ends a stream in a sink of that uid.
inline void build(levada::StreamEnvironment& env, double rate,
                  const std::function<void(levada::DataStream<std::string>, const std::string&)>& sink) {
  auto readings = env.generate<Reading>(reading_at, {.rows = kRows, .rate = rate, .splits = 2},
                                        levada::event_time(&Reading::at, {.bounded_out_of_orderness = 1s}));
  readings.uid("readings");
  auto by_sensor = readings.key_by(&Reading::sensor);
  sink(by_sensor.reduce(add).uid("sums").map([](const Reading& sum) { return "sum " + text(sum); }), "out-sums");
  sink(by_sensor
           .aggregate(levada::count(), levada::sum(&Reading::number), levada::min(&Reading::value),
                      levada::max(&Reading::number), levada::average(&Reading::value))
           .uid("stats")
           .map([](const auto& row) {
             const auto& [sensor, window, count, sum, least, most, mean] = row;
             return "stats " + sensor + " " + std::to_string(count) + " " + std::to_string(sum) + " " +
                    std::to_string(least) + " " + std::to_string(most) + " " + std::to_string(mean);
           }),
       "out-stats");
  sink(readings.key_by(&Reading::sensor, [](const Reading& reading) { return reading.number % 2 == 0; })
           .window(levada::sliding({.size = 10s, .slide = 2s}))
           .aggregate(levada::count(), levada::min(&Reading::sensor), levada::sum(&Reading::value))
           .uid("sliding")
           .map([](const auto& row) {
             const auto& [key, window, count, first, sum] = row;
             return "sliding " + std::get<0>(key) + (std::get<1>(key) ? " even " : " odd ") + text(window) + " " +
                    std::to_string(count) + " " + first + " " + std::to_string(sum);
           }),
       "out-sliding");
  sink(readings.key_by([](const Reading& reading) { return reading.number % 10; })
           .window(levada::tumbling(5s))
           .allowed_lateness(3s)
           .reduce(add)
           .uid("tumbling")
           .map([](const Reading& sum) {
             // Which of several sensors comes last depends on who is faster.
             return "tumbling " + std::to_string(sum.number) + " " + std::to_string(sum.value);
           }),
       "out-tumbling");
}

}  // namespace golden
