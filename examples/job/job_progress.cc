#include "job/job_progress.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <string>

#include "levada/fail_points.h"

namespace {

std::atomic<levada::Job*> signalled_job{nullptr};

void on_signal(int) {
  if (levada::Job* job = signalled_job.load()) job->request_stop();
}

std::string iso_time(levada::Timestamp time) {
  if (time == levada::kMinWatermark) return "-";
  if (time == levada::kMaxWatermark) return "end";
  const auto since = time.time_since_epoch();
  const auto whole = std::chrono::floor<std::chrono::seconds>(since);
  const std::time_t seconds = whole.count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(since - whole).count();
  std::snprintf(text + length, sizeof text - length, ".%03dZ", static_cast<int>(millis));
  return text;
}

const levada::NodeStatus* find(const levada::JobStatus& status, std::string_view node) {
  for (const levada::NodeStatus& known : status.nodes) {
    if (known.node == node) return &known;
  }
  return nullptr;
}

// "orders-3" at 17 → "3:17"
std::string positions(const levada::JobStatus& status) {
  std::string text;
  for (const levada::SplitStatus& split : status.splits) {
    if (!text.empty()) text += ',';
    text += split.split.substr(split.split.rfind('-') + 1) + ":" + split.position;
  }
  return text.empty() ? "-" : text;
}

void print_progress(const levada::JobStatus& status, std::uint64_t rows, double rows_per_s) {
  const levada::NodeStatus* totals = find(status, "totals");
  const levada::NodeStatus* late = find(status, "to late orders");
  std::printf("progress rows=%llu rows_per_s=%.0f watermark=%s checkpoint=%s late=%llu position=%s\n",
              static_cast<unsigned long long>(rows), rows_per_s,
              iso_time(totals ? totals->watermark : levada::kMinWatermark).c_str(),
              status.last_checkpoint ? std::to_string(status.last_checkpoint->id).c_str() : "-",
              static_cast<unsigned long long>(late ? late->rows_in : 0), positions(status).c_str());
  for (const levada::NodeStatus& node : status.nodes) {
    for (const std::string& reason : node.waiting_for) {
      std::printf("waiting node='%s' for='%s'\n", node.node.c_str(), reason.c_str());
    }
  }
  std::fflush(stdout);
}

}  // namespace

void log_to_stderr(levada::LogLevel level, std::string_view message) {
  if (level < levada::LogLevel::kWarning) return;
  const std::string name(levada::to_string(level));
  std::fprintf(stderr, "%s: %.*s\n", name.c_str(), static_cast<int>(message.size()), message.data());
}

void stop_on_signals(levada::Job& job) {
  signalled_job.store(&job);
  std::signal(SIGTERM, &on_signal);
  std::signal(SIGINT, &on_signal);
}

void report_until_end(levada::Job& job, levada::Duration interval) {
  std::uint64_t before = 0;
  for (bool ended = false; !ended;) {
    const auto begun = std::chrono::steady_clock::now();
    ended = job.wait_for(interval);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begun;
    const levada::JobStatus status = job.status();
    const levada::NodeStatus* source = find(status, "orders");
    const std::uint64_t rows = source ? source->rows_out : 0;
    print_progress(status, rows, rows > before ? static_cast<double>(rows - before) / passed.count() : 0);
    before = rows;
  }
  signalled_job.store(nullptr);
}

int print_fail_points() {
  for (const levada::FailPointInfo& point : levada::fail_points()) {
    std::printf("%.*s %.*s\n", static_cast<int>(point.name.size()), point.name.data(),
                static_cast<int>(point.phase.size()), point.phase.data());
  }
  return 0;
}
