// Compares what the job wrote with what the topic holds, and says in numbers and words what is
// lost, duplicated or wrong. Works on plain vectors, so that it can be tested with planted faults.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "order.h"
#include "recount.h"

namespace orders {

struct TotalsRow {
  std::int64_t user = 0;
  std::int64_t window_start_us = 0;
  WindowTotals totals;
};

struct LateRow {
  Order order;
  std::int64_t ts_us = 0;  // as in the table; order.ts_ms is not used
  std::int32_t partition = 0;
  std::int64_t offset = 0;
};

// The rows of the job's tables, in any order but for the log.
struct Tables {
  std::vector<TotalsRow> totals;
  std::vector<LateRow> late;
  std::vector<TotalsRow> log;  // every firing, as they came; only where the job was asked for it
};

// The result of one comparison. `lost` and `duplicated` count orders (in the comparison of the log:
// firings), `wrong` counts rows of a table that are there but not right.
struct Check {
  std::string claim;  // what holds if all three are 0
  std::int64_t lost = 0;
  std::int64_t duplicated = 0;
  std::int64_t wrong = 0;
  std::vector<std::string> examples;  // the first few faults

  bool holds() const { return lost == 0 && duplicated == 0 && wrong == 0; }
};

// (partition, offset) of the rows in the late table.
using LateSet = std::set<std::pair<std::int32_t, std::int64_t>>;
LateSet late_set(const Tables& tables);

// The windows of all rows that are neither cancelled nor in the late table.
Windows count_windows(const Topic& topic, const LateSet& late, const WindowRules& rules);

// Every row of the topic is in a window, in the late table, or cancelled: a sum over whole tables.
Check check_accounts(const Topic& topic, const Tables& tables);

// The totals table equals the expected windows, by default count_windows(), to the last digit.
Check check_totals(Windows expected, const Tables& tables);
Check check_totals(const Topic& topic, const Tables& tables, const WindowRules& rules);

// Each late row is a row of the topic, there once, not cancelled, and may be late.
Check check_late_rows(const Topic& topic, const Tables& tables, const WindowRules& rules);

// The late table has exactly the rows that may be late. Holds for one partition read in batches of
// one row, where the watermark follows each row at once.
Check check_late_rows_determined(const Topic& topic, const Tables& tables,
                                 const WindowRules& rules);

// The firings of each window of the recount, in their order: each has more orders than the one before
// (a window fires again only for an order that came after), and the last one has all of them.
Check check_log(const Topic& topic, const Tables& tables, const WindowRules& rules);

}  // namespace orders
