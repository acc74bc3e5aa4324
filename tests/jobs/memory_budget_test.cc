// The memory budget of a whole job: what is small enough runs on, what outgrows it says so.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "levada/levada.h"

namespace levada {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Reading {
  std::uint64_t sensor = 0;
  std::int64_t value = 0;
  std::string note;
  Timestamp at;
};
LEVADA_RECORD(Reading, sensor, value, note, at)

struct Total {
  std::uint64_t sensor = 0;
  std::int64_t total = 0;
};
LEVADA_RECORD(Total, sensor, total)

void make_reading(std::uint64_t i, Reading& reading) {
  reading.sensor = i * 0x9e3779b97f4a7c15ULL >> 44;
  reading.value = static_cast<std::int64_t>(i);
  reading.note.assign(200, static_cast<char>('a' + i % 26));
  reading.at = Timestamp{Duration{static_cast<std::int64_t>(i)}};
}

// 100 splits and more bytes of rows than the budget, behind a sink that holds everything back.
TEST(MemoryBudget, OfALittleRunsOnWithAHundredSplitsAndASlowSink) {
  constexpr std::uint64_t kRows = 400'000;
  StreamEnvironment env({.parallelism = 2, .memory = 64_MiB});
  std::atomic<std::uint64_t> rows{0}, sum{0};
  env.generate<Reading>(make_reading, {.rows = kRows, .splits = 100}, event_time(&Reading::at))
      .key_by([](const Reading& reading) { return reading.sensor % 1000; })
      .reduce([](Reading, const Reading& newest) { return newest; })
      .for_each([&](const Reading& reading) {
        sum += static_cast<std::uint64_t>(reading.value);
        if (++rows % 400 == 0) std::this_thread::sleep_for(1ms);
      });
  env.execute("slow-sink");
  EXPECT_EQ(rows, kRows);
  EXPECT_EQ(sum, kRows * (kRows - 1) / 2);
}

// What the job of `build` fails with; empty when it does not.
template <class Build>
std::string error_of(Build build) {
  StreamEnvironment env({.parallelism = 2, .memory = 64_MiB});
  build(env.generate<Reading>(
      [](std::uint64_t i, Reading& reading) {
        make_reading(i, reading);
        reading.sensor = i;  // never the same again
      },
      {.rows = 20'000'000, .splits = 2}, event_time(&Reading::at)));
  try {
    env.execute("outgrows");
  } catch (const JobError& error) {
    return error.what();
  }
  return {};
}

// Half of 64 MiB is for state.
const std::string kStateBytes = std::to_string(32_MiB);

TEST(MemoryBudget, NamesTheRollingStateThatOutgrowsIt) {
  const std::string error = error_of([](const DataStream<Reading>& readings) {
    readings.key_by(&Reading::sensor)
        .aggregate(key().as(&Total::sensor), sum(&Reading::value).as(&Total::total))
        .uid("totals")
        .discard();
  });
  EXPECT_THAT(error, AllOf(HasSubstr("totals"), HasSubstr("rolling"), HasSubstr("outgrew"),
                           HasSubstr("of " + kStateBytes + " bytes")));
}

TEST(MemoryBudget, NamesTheWindowStateThatOutgrowsIt) {
  const std::string error = error_of([](const DataStream<Reading>& readings) {
    readings.key_by(&Reading::sensor)
        .window(tumbling(1h))
        .aggregate(key().as(&Total::sensor), sum(&Reading::value).as(&Total::total))
        .uid("hourly")
        .discard();
  });
  EXPECT_THAT(error, AllOf(HasSubstr("hourly"), HasSubstr("windows"), HasSubstr("outgrew"),
                           HasSubstr("of " + kStateBytes + " bytes")));
}

TEST(MemoryBudget, CountsWhatValuesHoldOutsideThemselves) {
  const std::string error = error_of([](const DataStream<Reading>& readings) {
    readings.key_by(&Reading::sensor)
        .reduce([](Reading, const Reading& newest) { return newest; })
        .uid("newest")
        .discard();
  });
  EXPECT_THAT(error, AllOf(HasSubstr("newest"), HasSubstr("outgrew")));
}

}  // namespace
}  // namespace levada
