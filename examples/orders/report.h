// What the demo shows a person: progress, a table of results, a line for each check.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "compare.h"
#include "job_process.h"

namespace orders {

// 1234567 → 1,234,567
std::string grouped(std::int64_t number);

// One line of less than 80 columns a second, rewritten on a terminal and repeated elsewhere.
class ProgressLine {
 public:
  ProgressLine();
  void show(const Progress& progress);
  void finish();  // shows the last one, and ends a line that would be rewritten

 private:
  void print();

  bool terminal_;
  bool open_ = false;
  bool current_ = true;  // what is shown is the last one
  Progress last_;
  std::int64_t rows_shown_ = 0;
  std::chrono::steady_clock::time_point shown_at_ = std::chrono::steady_clock::now();
};

// Some windows of a few users, as the table has them.
void print_windows(const Tables& tables);

void print_check(const Check& check);

}  // namespace orders
