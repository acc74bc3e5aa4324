// ScanExclusion: the scan and the task are never at the same entry, and neither waits for the other without need.
#include "levada/detail/scan_exclusion.h"

#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "support/seed.h"

namespace levada::detail {
namespace {

struct Entry {
  std::atomic<int> visitors{0};
  std::uint64_t value = 0;  // no atomic: who is alone needs none
};
constexpr std::size_t kEntries = 512, kSpan = 64;

struct Table {
  std::unique_ptr<Entry[]> entries{new Entry[kEntries]};
  ScanExclusion exclusion{kSpan * sizeof(Entry)};
  std::atomic<std::uint64_t> met{0};  // another

  void touch(Entry& entry) {
    if (entry.visitors.fetch_add(1, std::memory_order_relaxed) != 0) met.fetch_add(1, std::memory_order_relaxed);
    ++entry.value;
    entry.visitors.fetch_sub(1, std::memory_order_relaxed);
  }
};

// Goes over the table span by span until it is told that the task has ended. Returns how many entries it was at.
std::uint64_t scan(Table& table, const std::atomic<bool>& ended) {
  std::uint64_t scanned = 0;
  while (!ended.load(std::memory_order_acquire)) {
    table.exclusion.claim();
    for (std::size_t first = 0; first < kEntries;) {
      if (!table.exclusion.claim_span(&table.entries[first])) {
        table.exclusion.claim();
        continue;
      }
      for (std::size_t i = first; i < first + kSpan; ++i) table.touch(table.entries[i]);
      scanned += kSpan;
      first += kSpan;
    }
    table.exclusion.release_claim();
  }
  return scanned;
}

TEST(ScanExclusion, KeepsTheTwoApart) {
  Random random(testing::first_seed());
  Table table;
  std::atomic<bool> ended{false};
  std::uint64_t scanned = 0, touched = 0;
  std::thread scanner([&] { scanned = scan(table, ended); });
  const auto move = [&] {
    table.exclusion.move();
    for (std::size_t i = 0; i < kEntries; ++i) table.touch(table.entries[i]);
    touched += kEntries;
    table.exclusion.moved();
  };
  for (int visit = 0; visit < 3000; ++visit) {
    table.exclusion.visit();
    for (std::uint64_t row = 0, rows = random.below(100); row < rows; ++row) {
      if (random.below(8) == 0) table.exclusion.look();
      if (random.below(500) == 0) move();
      Entry& entry = table.entries[random.below(kEntries)];
      if (!table.exclusion.free(&entry)) table.exclusion.keep_out(&entry);
      table.touch(entry);
      ++touched;
    }
    table.exclusion.leave();
    if (random.below(20) == 0) move();
    if (random.below(50) == 0) std::this_thread::yield();
  }
  ended.store(true, std::memory_order_release);
  scanner.join();
  EXPECT_EQ(table.met.load(), 0u);
  EXPECT_GT(scanned, 0u);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kEntries; ++i) sum += table.entries[i].value;
  EXPECT_EQ(sum, scanned + touched) << "no change was lost";
}

TEST(ScanExclusion, AsksNobodyWhileTheTaskIsAway) {
  Table table;
  table.exclusion.visit();
  table.exclusion.leave();
  table.exclusion.claim();
  EXPECT_TRUE(table.exclusion.claim_span(&table.entries[0]));
  table.exclusion.release_claim();
}

TEST(ScanExclusion, BeginsWithASpanOnceTheTaskHasLooked) {
  Table table;
  table.exclusion.visit();
  std::atomic<bool> claimed{false};
  std::thread scanner([&] {
    table.exclusion.claim();
    EXPECT_TRUE(table.exclusion.claim_span(&table.entries[kSpan]));
    claimed.store(true);
  });
  Entry* const inside = &table.entries[kSpan + 1];
  Entry* const outside = &table.entries[2 * kSpan];
  while (table.exclusion.free(outside)) std::this_thread::yield();  // until the claim is announced
  EXPECT_FALSE(claimed.load()) << "the task has not looked";
  while (!claimed.load()) table.exclusion.look();
  EXPECT_FALSE(table.exclusion.free(inside));
  EXPECT_TRUE(table.exclusion.free(outside));
  scanner.join();
  table.exclusion.release_claim();
  table.exclusion.keep_out(inside);
  EXPECT_TRUE(table.exclusion.free(inside));
  table.exclusion.leave();
  EXPECT_FALSE(table.exclusion.free(outside)) << "who does not visit has to begin";
}

TEST(ScanExclusion, StepsBackBeforeAMoveWithinAVisit) {
  Table table;
  table.exclusion.visit();
  std::atomic<bool> claimed{false}, moved{false}, stepped_back{false};
  std::thread scanner([&] {
    table.exclusion.claim();
    claimed.store(true);
    if (!table.exclusion.claim_span(&table.entries[0])) {  // the task never looks before it moves
      stepped_back.store(true);
      table.exclusion.claim();
      EXPECT_TRUE(moved.load());
    }
    table.exclusion.release_claim();
  });
  while (!claimed.load()) std::this_thread::yield();
  table.exclusion.move();
  moved.store(true);
  table.exclusion.moved();
  EXPECT_TRUE(table.exclusion.visits());
  scanner.join();
  EXPECT_TRUE(stepped_back.load());
  table.exclusion.leave();
}

}  // namespace
}  // namespace levada::detail
