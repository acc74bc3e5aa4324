#include "demo_options.h"

#include <charconv>
#include <filesystem>
#include <stdexcept>
#include <string_view>

namespace orders {
namespace {

// Enough for windows to pass and rows to be late, also in the smaller run.
constexpr std::int64_t kRowsMin = 10'000;
constexpr std::int64_t kRowsMax = 100'000'000;
constexpr std::int64_t kParallelismMax = 128;

std::int64_t parse_count(std::string_view name, std::string_view text, std::int64_t min,
                         std::int64_t max) {
  std::int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{} || result.ptr != text.data() + text.size() || value < min ||
      value > max) {
    throw std::invalid_argument(std::string(name) + " wants a number from " + std::to_string(min) +
                                " to " + std::to_string(max) + ", not " + std::string(text));
  }
  return value;
}

}  // namespace

DemoOptions parse_demo_options(int argc, char** argv) {
  DemoOptions options;
  options.job_path =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "orders_to_postgres";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--keep") {
      options.keep = true;
      continue;
    }
    // --name value or --name=value
    const std::size_t name_end = argument.find('=');
    const std::string_view name = argument.substr(0, name_end);
    std::string_view value;
    if (name_end != std::string_view::npos) {
      value = argument.substr(name_end + 1);
    } else if (i + 1 < argc) {
      value = argv[++i];
    } else {
      throw std::invalid_argument(std::string(name) + " wants a value");
    }
    if (name == "--rows") {
      options.row_count = parse_count(name, value, kRowsMin, kRowsMax);
    } else if (name == "--brokers") {
      options.brokers = value;
    } else if (name == "--postgres") {
      options.conninfo = value;
    } else if (name == "--parallelism") {
      options.parallelism = static_cast<std::int32_t>(parse_count(name, value, 1, kParallelismMax));
    } else if (name == "--job") {
      options.job_path = value;
    } else {
      throw std::invalid_argument("unknown option " + std::string(name));
    }
  }
  if (options.conninfo.empty()) throw std::invalid_argument("--postgres is missing");
  return options;
}

}  // namespace orders
