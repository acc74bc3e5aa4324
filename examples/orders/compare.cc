#include "compare.h"

#include <cstdlib>
#include <numeric>
#include <tuple>

namespace orders {
namespace {

constexpr std::size_t kExamplesMax = 5;

void add_example(Check& check, std::string text) {
  if (check.examples.size() < kExamplesMax) check.examples.push_back(std::move(text));
}

std::string text_of(const WindowTotals& totals) {
  return std::to_string(totals.orders) + " orders, total " + std::to_string(totals.total) +
         ", smallest " + std::to_string(totals.smallest) + ", largest " +
         std::to_string(totals.largest);
}

std::string name_of(std::int64_t user, std::int64_t window_start_ms) {
  return "user " + std::to_string(user) + ", window " + std::to_string(window_start_ms) + " ms";
}

std::string name_of(const LateRow& row) {
  return "late row of partition " + std::to_string(row.partition) + ", offset " +
         std::to_string(row.offset);
}

const ReadOrder* find(const Topic& topic, std::int32_t partition, std::int64_t offset) {
  if (partition < 0 || static_cast<std::size_t>(partition) >= topic.size()) return nullptr;
  const auto& rows = topic[static_cast<std::size_t>(partition)];
  if (offset < 0 || static_cast<std::size_t>(offset) >= rows.size()) return nullptr;
  return &rows[static_cast<std::size_t>(offset)];
}

// Calls f(partition, offset, row) for each row that passes the job's filter.
template <typename F>
void for_each_counted(const Topic& topic, F&& f) {
  for (std::size_t p = 0; p < topic.size(); ++p) {
    for (std::size_t offset = 0; offset < topic[p].size(); ++offset) {
      const ReadOrder& row = topic[p][offset];
      if (row.order.cancelled()) continue;
      f(static_cast<std::int32_t>(p), static_cast<std::int64_t>(offset), row);
    }
  }
}

// A row of a table against the recount's window: fewer orders are lost, more are duplicated, and
// with the right count any other difference is wrong.
void compare_window(const std::string& name, const WindowTotals& expected,
                    const WindowTotals& found, Check& check) {
  if (expected == found) return;
  if (found.orders < expected.orders) {
    check.lost += expected.orders - found.orders;
  } else if (found.orders > expected.orders) {
    check.duplicated += found.orders - expected.orders;
  } else {
    ++check.wrong;
  }
  add_example(
      check, name + ": the table has " + text_of(found) + "; the recount has " + text_of(expected));
}

// Whether more orders may have made `later` of `before`, of which nothing is known when it has none.
bool may_follow(const WindowTotals& before, const WindowTotals& later) {
  if (before.orders == 0) return later.orders > 0;
  return later.orders > before.orders && later.total > before.total &&
         later.smallest <= before.smallest && later.largest >= before.largest;
}

bool is_part_of(const WindowTotals& part, const WindowTotals& whole) {
  return part == whole || may_follow(part, whole);
}

}  // namespace

LateSet late_set(const Tables& tables) {
  LateSet late;
  for (const LateRow& row : tables.late) late.emplace(row.partition, row.offset);
  return late;
}

Windows count_windows(const Topic& topic, const LateSet& late, const WindowRules& rules) {
  Windows windows;
  for_each_counted(topic, [&](std::int32_t partition, std::int64_t offset, const ReadOrder& row) {
    if (late.contains({partition, offset})) return;
    windows[{row.order.user, rules.window_start(row.order.ts_ms)}].add(row.order.amount);
  });
  return windows;
}

Check check_accounts(const Topic& topic, const Tables& tables) {
  std::int64_t row_count = 0;
  for_each_counted(topic, [&](std::int32_t, std::int64_t, const ReadOrder&) { ++row_count; });
  const std::int64_t in_windows = std::accumulate(
      tables.totals.begin(), tables.totals.end(), std::int64_t{0},
      [](std::int64_t sum, const TotalsRow& row) { return sum + row.totals.orders; });
  const auto late = static_cast<std::int64_t>(late_set(tables).size());

  Check check;
  check.claim = std::to_string(row_count) + " orders = " + std::to_string(in_windows) +
                " in windows + " + std::to_string(late) + " late, each exactly once";
  const std::int64_t missing = row_count - in_windows - late;
  (missing > 0 ? check.lost : check.duplicated) = std::abs(missing);
  if (missing != 0) {
    add_example(check, std::to_string(row_count) + " orders were produced, but " +
                           std::to_string(in_windows) + " are in windows and " +
                           std::to_string(late) + " in the late table");
  }
  return check;
}

Check check_totals(const Topic& topic, const Tables& tables, const WindowRules& rules) {
  return check_totals(count_windows(topic, late_set(tables), rules), tables);
}

Check check_totals(Windows expected, const Tables& tables) {
  Check check;
  check.claim = "the totals of " + std::to_string(expected.size()) +
                " windows equal the recount, to the last digit";
  std::set<std::pair<std::int64_t, std::int64_t>> seen;
  for (const TotalsRow& row : tables.totals) {
    const std::int64_t start_ms = row.window_start_us / 1000;
    const std::string name = name_of(row.user, start_ms);
    if (!seen.emplace(row.user, row.window_start_us).second) {
      check.duplicated += row.totals.orders;
      add_example(check, name + ": twice in the table");
      continue;
    }
    const auto window = expected.find({row.user, start_ms});
    if (window == expected.end() || row.window_start_us % 1000 != 0) {
      ++check.wrong;
      add_example(check, name + ": in the table, but no order belongs there");
      continue;
    }
    compare_window(name, window->second, row.totals, check);
    expected.erase(window);
  }
  for (const auto& [key, totals] : expected) {
    check.lost += totals.orders;
    add_example(check, name_of(key.first, key.second) + ": missing in the table; the recount has " +
                           text_of(totals));
  }
  return check;
}

Check check_late_rows(const Topic& topic, const Tables& tables, const WindowRules& rules) {
  Check check;
  LateSet seen;
  for (const LateRow& row : tables.late) {
    if (!seen.emplace(row.partition, row.offset).second) {
      ++check.duplicated;
      add_example(check, name_of(row) + ": twice in the table");
      continue;
    }
    const ReadOrder* read = find(topic, row.partition, row.offset);
    Order found = row.order;
    if (read != nullptr) found.ts_ms = read->order.ts_ms;
    if (read == nullptr || found != read->order || row.ts_us != read->order.ts_ms * 1000) {
      ++check.wrong;
      add_example(check, name_of(row) + ": is not the order that the topic has there");
    } else if (read->order.cancelled()) {
      ++check.wrong;
      add_example(check, name_of(row) + ": was cancelled and should have been dropped");
    } else if (!rules.may_be_late(read->order.ts_ms, read->greatest_before_ms)) {
      ++check.wrong;
      add_example(check, name_of(row) + ": time " + std::to_string(read->order.ts_ms) +
                             " ms could not be late after " +
                             (read->greatest_before_ms == kNoTime
                                  ? std::string("nothing")
                                  : std::to_string(read->greatest_before_ms) + " ms"));
    }
  }
  check.claim = "none of " + std::to_string(seen.size()) + " late rows came in time";
  return check;
}

Check check_late_rows_determined(const Topic& topic, const Tables& tables,
                                 const WindowRules& rules) {
  LateSet predicted;
  for_each_counted(topic, [&](std::int32_t partition, std::int64_t offset, const ReadOrder& row) {
    if (rules.may_be_late(row.order.ts_ms, row.greatest_before_ms)) {
      predicted.emplace(partition, offset);
    }
  });
  // Contents, repetitions and rows that could not be late; what is left is what is missing.
  Check check = check_late_rows(topic, tables, rules);
  check.claim =
      "the late table has the " + std::to_string(predicted.size()) + " predicted rows and no other";
  const LateSet found = late_set(tables);
  for (const auto& [partition, offset] : predicted) {
    if (found.contains({partition, offset})) continue;
    ++check.lost;
    add_example(check, "partition " + std::to_string(partition) + ", offset " +
                           std::to_string(offset) + ": late, but not in the late table");
  }
  return check;
}

Check check_log(const Topic& topic, const Tables& tables, const WindowRules& rules) {
  const Windows expected = count_windows(topic, late_set(tables), rules);
  Check check;
  check.claim = "each of " + std::to_string(expected.size()) + " windows fired, " +
                std::to_string(tables.log.size()) + " times in all, each time once and in order";
  Windows last;
  std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t>> seen;
  for (const TotalsRow& row : tables.log) {
    const std::pair<std::int64_t, std::int64_t> key{row.user, row.window_start_us / 1000};
    const std::string fired = name_of(key.first, key.second) + ": fired with " + text_of(row.totals);
    const auto window = expected.find(key);
    if (window == expected.end() || row.window_start_us % 1000 != 0) {
      ++check.wrong;
      add_example(check, fired + "; no order belongs there");
      continue;
    }
    WindowTotals& before = last[key];
    if (!seen.emplace(key.first, key.second, row.totals.orders).second) {
      ++check.duplicated;
      add_example(check, fired + ", twice");
    } else if (!may_follow(before, row.totals) || !is_part_of(row.totals, window->second)) {
      ++check.wrong;
      add_example(check, fired + " after " + text_of(before) + "; the recount has " +
                             text_of(window->second));
    }
    if (row.totals.orders > before.orders) before = row.totals;
  }
  for (const auto& [key, totals] : expected) {
    const auto found = last.find(key);
    if (found != last.end() && found->second == totals) continue;
    ++check.lost;
    add_example(check, name_of(key.first, key.second) + ": never fired with " + text_of(totals));
  }
  return check;
}

}  // namespace orders
