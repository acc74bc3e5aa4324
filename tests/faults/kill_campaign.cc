// The kill campaign: SIGKILL, again and again, against a real broker and a real database.
//
//   kill_campaign --job PATH --brokers HOST:PORT --postgres CONNINFO [--kills N=30] [--seed S]
//                 [--rows R] [--keep]
//
// Exits 0 only when no order is lost, duplicated or wrong, when (from 30 kills on) every phase of
// the job was hit, and when at least half of the incarnations completed a checkpoint: a job that
// dies before it does anything would pass too easily.

#include <charconv>
#include <cstdio>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include "campaign.h"

namespace faults {
namespace {

constexpr std::int32_t kKillsForEveryPhase = 30;

template <typename Number>
Number parse(std::string_view name, std::string_view text) {
  Number value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{} || result.ptr != text.data() + text.size()) {
    throw std::invalid_argument(std::string(name) + " wants a number, not " + std::string(text));
  }
  return value;
}

CampaignOptions parse_options(int argc, char** argv) {
  CampaignOptions options;
  options.seed = std::random_device{}();
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--keep") {
      options.keep = true;
      continue;
    }
    if (i + 1 == argc) throw std::invalid_argument(std::string(name) + " wants a value");
    const std::string_view value = argv[++i];
    if (name == "--job") {
      options.job_path = value;
    } else if (name == "--brokers") {
      options.brokers = value;
    } else if (name == "--postgres") {
      options.conninfo = value;
    } else if (name == "--kills") {
      options.kill_count = parse<std::int32_t>(name, value);
    } else if (name == "--seed") {
      options.seed = parse<std::uint64_t>(name, value);
    } else if (name == "--rows") {
      options.row_count = parse<std::int64_t>(name, value);
    } else {
      throw std::invalid_argument("unknown option " + std::string(name));
    }
  }
  if (options.job_path.empty() || options.brokers.empty() || options.conninfo.empty()) {
    throw std::invalid_argument("--job, --brokers and --postgres are needed");
  }
  if (options.kill_count < 1) throw std::invalid_argument("--kills wants at least 1");
  return options;
}

void print_counts(const char* title, const std::map<std::string, std::int32_t>& counts) {
  std::printf("%s", title);
  for (const auto& [name, count] : counts) std::printf(" %s=%d", name.c_str(), count);
  std::printf("\n");
}

void print_examples(const orders::Check& check) {
  for (const std::string& example : check.examples) std::printf("  %s\n", example.c_str());
}

bool fail_if(bool failed, const char* what) {
  if (failed) std::printf("FAILED: %s\n", what);
  return failed;
}

void print(const CampaignResult& result) {
  print_counts("kills by phase:", result.kills_by_phase);
  print_counts("kills by fail point:", result.kills_by_point);
  if (!result.unreached_points.empty()) {
    std::printf("fail points not reached:");
    for (const std::string& point : result.unreached_points) std::printf(" %s", point.c_str());
    std::printf("\n");
  }
  std::printf("incarnations=%d with_checkpoint=%d rows=%lld\n", result.incarnation_count,
              result.incarnations_with_checkpoint, static_cast<long long>(result.row_count));
  for (const auto& [title, check] :
       {std::pair{"insert-only table:", &result.log}, std::pair{"late table:", &result.late}}) {
    std::printf("%s missing=%lld wrong=%lld repeated=%lld\n", title,
                static_cast<long long>(check->lost), static_cast<long long>(check->wrong),
                static_cast<long long>(check->repeated));
    print_examples(*check);
  }
  print_examples(result.totals);
  std::printf("kills=%d lost=%lld duplicated=%lld wrong=%lld\n", result.kill_count,
              static_cast<long long>(result.totals.lost + result.topic.lost),
              static_cast<long long>(result.totals.duplicated),
              static_cast<long long>(result.totals.wrong));
}

bool holds(const CampaignResult& result) {
  bool failed = fail_if(!result.topic.holds(), "the topic is not what was produced");
  failed |= fail_if(!result.totals.holds(), "the upsert table does not equal the recount");
  failed |= fail_if(!result.log.holds(), "the insert-only table misses firings or has wrong ones");
  failed |= fail_if(!result.late.holds(), "the late table has rows that came in time");
  failed |= fail_if(2 * result.incarnations_with_checkpoint < result.incarnation_count,
                    "fewer than half of the incarnations completed a checkpoint");
  if (result.kill_count >= kKillsForEveryPhase) {
    for (const char* phase : kPhases) {
      failed |= fail_if(!result.kills_by_phase.contains(phase),
                        (std::string("no kill in phase ") + phase).c_str());
    }
  }
  return !failed;
}

int run(const CampaignOptions& options) {
  std::printf("seed=%llu kills=%d\n", static_cast<unsigned long long>(options.seed),
              options.kill_count);
  std::fflush(stdout);
  const CampaignResult result = run_campaign(options);
  print(result);
  return holds(result) ? 0 : 1;
}

}  // namespace
}  // namespace faults

int main(int argc, char** argv) {
  try {
    return faults::run(faults::parse_options(argc, argv));
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "kill_campaign: %s\n", error.what());
    return 1;
  }
}
