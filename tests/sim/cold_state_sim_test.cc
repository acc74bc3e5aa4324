// Keyed state with a cold tier on the simulated executor: rolling results and windows on a budget that holds a
// part of their state, through crashes of the process, changes of parallelism and faults of the disk. A seed
// replays a run: LEVADA_SEED=n.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "levada/levada.h"
#include "levada/testing/simulation.h"
#include "support/rows.h"
#include "support/seed.h"
#include "testing/memory_cold_tier.h"

namespace levada {
namespace {

using testing::Row;

struct Total {
  std::int64_t key = 0;
  Timestamp start;
  std::int64_t count = 0, total = 0, least = 0;
};
LEVADA_RECORD(Total, key, start, count, total, least)

struct Sum {
  std::int64_t key = 0, count = 0, total = 0;
};
LEVADA_RECORD(Sum, key, count, total)

constexpr std::int64_t kRows = 6'000;
constexpr std::int64_t kKeys = 1'200;
// Of windows: what is merged of their slices stays in memory.
constexpr std::int64_t kWindowKeys = 300;

template <std::int64_t kOf>
Row make_row(std::uint64_t i) {
  return testing::row_of(i, kOf, 5000);
}

// Counts what the tiers were asked for, in all incarnations.
class CountingBackend final : public ColdBackend {
 public:
  std::size_t cache_sixteenths() const override { return 0; }
  std::unique_ptr<ColdTier> open(const ColdPlace&, const ColdImage* image) const override {
    restored += image != nullptr;
    return std::make_unique<Tier>(*this, image);
  }
  mutable std::uint64_t restored = 0, runs = 0, found = 0;

 private:
  class Tier final : public ColdTier {
   public:
    Tier(const CountingBackend& counts, const ColdImage* image) : counts_(counts), tier_(image) {}
    void get(std::span<const std::string_view> keys, ColdValues& into) override {
      tier_.get(keys, into);
      for (const bool there : into.found) counts_.found += there;
    }
    std::unique_ptr<ColdCursor> scan(std::string_view first, std::string_view last) override {
      return tier_.scan(first, last);
    }
    void take_in(const ColdRun& run) override {
      ++counts_.runs;
      tier_.take_in(run);
    }
    void remove_ranges(const std::vector<std::pair<Bytes, Bytes>>& ranges) override {
      tier_.remove_ranges(ranges);
    }
    void expire(const ColdExpiry& expiry) override { tier_.expire(expiry); }
    void write_checkpoint(ColdFiles& into) override { tier_.write_checkpoint(into); }

   private:
    const CountingBackend& counts_;
    testing::MemoryColdTier tier_;
  };
};

using Totals = std::map<std::pair<std::int64_t, std::int64_t>, std::array<std::int64_t, 3>>;

Totals expected_totals(std::int64_t size, std::int64_t slide) {
  Totals totals;
  for (std::int64_t i = 0; i < kRows; ++i) {
    const Row row = make_row<kWindowKeys>(static_cast<std::uint64_t>(i));
    const std::int64_t time = row.at.time_since_epoch().count();
    for (std::int64_t start = time - time % slide; start > time - size; start -= slide) {
      auto& [count, total, least] =
          totals.try_emplace({row.key, start}, std::array<std::int64_t, 3>{0, 0, INT64_MAX}).first->second;
      ++count;
      total += row.value;
      least = std::min(least, row.value);
    }
  }
  return totals;
}

testing::SimulationResult simulate(std::uint64_t seed, std::size_t memory,
                                   std::shared_ptr<const ColdBackend> backend,
                                   const std::function<void(StreamEnvironment&)>& build) {
  return testing::run_simulated({.parallelism = 2,
                                 .checkpoint = {.interval = 200us, .directory = "/job"},
                                 .state = {.cold = std::move(backend)},
                                 .memory = memory,
                                 .batch_rows = 16},
                                build,
                                {.seed = seed,
                                 .crashes = 3,
                                 .steps_per_crash = 450,
                                 .parallelism = {2, 3, 1, 2},
                                 .operations_per_disk_fault = 100});
}

template <std::int64_t kOf>
auto rows_of(StreamEnvironment& env) {
  return env
      .generate<Row>(make_row<kOf>, {.rows = kRows, .splits = 3},
                     event_time(&Row::at, {.bounded_out_of_orderness = 10ms}))
      .uid("rows")
      .key_by(&Row::key);
}

void expect_used(const CountingBackend& backend) {
  std::printf("runs %llu, entries that came back %llu, tiers restored %llu\n",
              static_cast<unsigned long long>(backend.runs),
              static_cast<unsigned long long>(backend.found),
              static_cast<unsigned long long>(backend.restored));
  EXPECT_GT(backend.runs, 0u);
  EXPECT_GT(backend.restored, 0u);
}

TEST(ColdState, RollingResultsCountEveryRowOnce) {
  const auto backend = std::make_shared<CountingBackend>();
  std::map<std::int64_t, Sum> expected;
  for (std::int64_t i = 0; i < kRows; ++i) {
    const Row row = make_row<kKeys>(static_cast<std::uint64_t>(i));
    Sum& sum = expected[row.key];
    ++sum.count;
    sum.total += row.value;
  }
  const std::uint64_t first = testing::first_seed();
  for (std::uint64_t seed = first; seed < first + testing::seed_count(40); ++seed) {
    Collected<Sum> collected;
    const auto result = simulate(seed, 128_KiB, backend, [&](StreamEnvironment& env) {
      rows_of<kKeys>(env)
          .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
          .uid("sums")
          .collect_into(collected)
          .uid("out");
    });
    ASSERT_TRUE(result.finished) << "LEVADA_SEED=" << seed << ": " << result.error;
    ASSERT_EQ(collected.rows().size(), static_cast<std::size_t>(kRows)) << "LEVADA_SEED=" << seed;
    std::map<std::int64_t, Sum> last;
    for (const Sum& row : collected.rows()) {
      Sum& sum = last[row.key];
      ASSERT_EQ(row.count, sum.count + 1) << "LEVADA_SEED=" << seed << ", key " << row.key;
      sum = row;
    }
    for (const auto& [key, sum] : expected) {
      ASSERT_EQ(last[key].total, sum.total) << "LEVADA_SEED=" << seed << ", key " << key;
    }
  }
  expect_used(*backend);
  EXPECT_GT(backend->found, 0u);
}

class ColdWindows : public ::testing::TestWithParam<std::pair<std::int64_t, std::int64_t>> {};

TEST_P(ColdWindows, HaveAllTheirRows) {
  const auto [size, slide] = GetParam();
  const auto backend = std::make_shared<CountingBackend>();
  const Totals expected = expected_totals(size, slide);
  const std::uint64_t first = testing::first_seed();
  for (std::uint64_t seed = first; seed < first + testing::seed_count(40); ++seed) {
    Collected<Total> collected;
    const auto result = simulate(seed, slide < size ? 640_KiB : 256_KiB, backend, [&, size = size, slide = slide](StreamEnvironment& env) {
      rows_of<kWindowKeys>(env)
          .window(sliding({.size = Duration{size}, .slide = Duration{slide}}))
          .aggregate(key().as(&Total::key), window_start().as(&Total::start), count().as(&Total::count),
                     sum(&Row::value).as(&Total::total), min(&Row::value).as(&Total::least))
          .uid("totals")
          .collect_into(collected)
          .uid("out");
    });
    ASSERT_TRUE(result.finished) << "LEVADA_SEED=" << seed << ": " << result.error;
    Totals totals;
    for (const Total& row : collected.rows()) {
      const bool fresh = totals
                             .emplace(std::pair{row.key, row.start.time_since_epoch().count()},
                                      std::array<std::int64_t, 3>{row.count, row.total, row.least})
                             .second;
      ASSERT_TRUE(fresh) << "LEVADA_SEED=" << seed;
    }
    ASSERT_EQ(totals, expected) << "LEVADA_SEED=" << seed;
  }
  expect_used(*backend);
}

INSTANTIATE_TEST_SUITE_P(TumblingAndSliding, ColdWindows,
                         ::testing::Values(std::pair{2'000'000, 2'000'000},
                                           std::pair{2'000'000, 500'000}));

}  // namespace
}  // namespace levada
