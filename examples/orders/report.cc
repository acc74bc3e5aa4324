#include "report.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include <unistd.h>

namespace orders {
namespace {

constexpr std::size_t kWindowsShown = 6;
constexpr std::int64_t kUsersShown = 2;

std::string money(std::int64_t cents) {
  char text[32];
  std::snprintf(text, sizeof text, ".%02d", static_cast<int>(cents % 100));
  return grouped(cents / 100) + text;
}

std::string time_of_day(std::int64_t time_us) {
  const std::time_t seconds = time_us / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%F %T", &parts);
  return text;
}

// 2023-11-14T22:13:20.000Z → 22:13:20
std::string time_within_day(const std::string& time) {
  const std::size_t day_end = time.find('T');
  return day_end == std::string::npos ? time : time.substr(day_end + 1, 8);
}

}  // namespace

std::string grouped(std::int64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t end = text.size(); end > 3; end -= 3) text.insert(end - 3, 1, ',');
  return text;
}

ProgressLine::ProgressLine() : terminal_(isatty(STDOUT_FILENO) == 1) {}

void ProgressLine::show(const Progress& progress) {
  last_ = progress;
  current_ = false;
  if (std::chrono::steady_clock::now() - shown_at_ >= std::chrono::seconds(1)) print();
}

void ProgressLine::print() {
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::duration<double> passed = now - shown_at_;
  const auto rows_per_s =
      static_cast<std::int64_t>(static_cast<double>(last_.rows - rows_shown_) / passed.count());
  rows_shown_ = last_.rows;
  shown_at_ = now;
  current_ = true;
  std::printf("%s  %s rows · %s/s · watermark %s · checkpoint %s · %s late%s",
              terminal_ ? "\r\033[K" : "", grouped(last_.rows).c_str(), grouped(rows_per_s).c_str(),
              time_within_day(last_.watermark).c_str(), last_.checkpoint.c_str(),
              grouped(last_.late).c_str(), terminal_ ? "" : "\n");
  std::fflush(stdout);
  open_ = terminal_;
}

void ProgressLine::finish() {
  if (!current_) print();
  if (open_) std::printf("\n");
  open_ = false;
}

void print_windows(const Tables& tables) {
  std::vector<TotalsRow> rows;
  for (const TotalsRow& row : tables.totals) {
    if (row.user >= 1 && row.user <= kUsersShown) rows.push_back(row);
  }
  std::sort(rows.begin(), rows.end(), [](const TotalsRow& a, const TotalsRow& b) {
    return std::pair(a.window_start_us, a.user) < std::pair(b.window_start_us, b.user);
  });
  rows.resize(std::min(rows.size(), kWindowsShown));
  std::printf("  %6s  %-19s  %6s  %12s  %10s  %10s\n", "user", "window start (UTC)", "orders",
              "total", "smallest", "largest");
  for (const TotalsRow& row : rows) {
    std::printf("  %6s  %-19s  %6s  %12s  %10s  %10s\n", grouped(row.user).c_str(),
                time_of_day(row.window_start_us).c_str(), grouped(row.totals.orders).c_str(),
                money(row.totals.total).c_str(), money(row.totals.smallest).c_str(),
                money(row.totals.largest).c_str());
  }
  std::printf("  … %s rows in all\n",
              grouped(static_cast<std::int64_t>(tables.totals.size())).c_str());
}

void print_check(const Check& check) {
  std::printf("  %s  %s", check.holds() ? "ok    " : "FAILED", check.claim.c_str());
  if (!check.holds()) {
    std::printf(": NOT SO: lost=%s duplicated=%s wrong=%s", grouped(check.lost).c_str(),
                grouped(check.duplicated).c_str(), grouped(check.wrong).c_str());
  }
  std::printf("\n");
  for (const std::string& example : check.examples)
    std::printf("            %s\n", example.c_str());
}

}  // namespace orders
