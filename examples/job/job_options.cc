#include "job/job_options.h"

#include <charconv>
#include <functional>
#include <map>
#include <stdexcept>
#include <string_view>

namespace {

std::int64_t parse_number(const std::string& option, std::string_view text, std::int64_t least) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least) {
    throw std::invalid_argument(option + " wants a whole number of at least " + std::to_string(least) +
                                ", not '" + std::string(text) + "'");
  }
  return value;
}

}  // namespace

std::optional<levada::kafka::Position> JobOptions::stop_at() const {
  if (!end_offset) return std::nullopt;
  return levada::kafka::offsets({{topic, levada::kafka::kAllPartitions, *end_offset}});
}

JobOptions JobOptions::parse(int argc, char** argv) {
  JobOptions options;
  const auto text = [](std::string& into) {
    return [&into](const std::string&, const std::string& value) { into = value; };
  };
  const auto number = [](int& into) {
    return [&into](const std::string& option, const std::string& value) {
      into = static_cast<int>(parse_number(option, value, 1));
    };
  };
  const auto seconds = [](levada::Duration& into) {
    return [&into](const std::string& option, const std::string& value) {
      into = std::chrono::seconds(parse_number(option, value, 0));
    };
  };
  const auto milliseconds = [](levada::Duration& into) {
    return [&into](const std::string& option, const std::string& value) {
      into = std::chrono::milliseconds(parse_number(option, value, 1));
    };
  };
  const std::map<std::string, std::function<void(const std::string&, const std::string&)>> known = {
      {"--brokers", text(options.brokers)},
      {"--topic", text(options.topic)},
      {"--name", text(options.name)},
      {"--group", text(options.group)},
      {"--postgres", text(options.postgres)},
      {"--checkpoints", text(options.checkpoints)},
      {"--totals-table", text(options.totals_table)},
      {"--late-table", text(options.late_table)},
      {"--log-table", text(options.log_table)},
      {"--parallelism", number(options.parallelism)},
      {"--batch-rows", number(options.batch_rows)},
      {"--window-s", seconds(options.window)},
      {"--lateness-s", seconds(options.lateness)},
      {"--interval-ms", milliseconds(options.interval)},
      {"--progress-ms", milliseconds(options.progress)},
      {"--end-offset",
       [&](const std::string& option, const std::string& value) {
         options.end_offset = parse_number(option, value, 0);
       }},
  };
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--list-failpoints") {
      options.list_fail_points = true;
      return options;
    }
    const auto at = known.find(option);
    if (at == known.end()) throw std::invalid_argument("unknown option " + option);
    if (++i == argc) throw std::invalid_argument(option + " wants a value");
    at->second(option, argv[i]);
  }
  for (const auto& [option, given] : {std::pair{"--brokers", &options.brokers},
                                      std::pair{"--topic", &options.topic},
                                      std::pair{"--postgres", &options.postgres},
                                      std::pair{"--checkpoints", &options.checkpoints}}) {
    if (given->empty()) throw std::invalid_argument(std::string(option) + " is missing");
  }
  return options;
}
