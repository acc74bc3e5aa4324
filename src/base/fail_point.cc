#include "base/fail_point.h"

#ifdef LEVADA_FAILPOINTS

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

namespace levada {
namespace {

enum class Action { kKill, kStop, kThrow, kSleep };

struct Armed {
  std::size_t point = 0;
  std::uint64_t nth = 0;
  Action action = Action::kKill;
  std::chrono::milliseconds pause{0};
};

struct Plan {
  std::vector<Armed> armed;
  std::array<std::atomic<std::uint64_t>, kFailPoints.size()> passings{};
  Plan* before = nullptr;  // never freed: a point may be passed while the process ends
};

std::atomic<Plan*> current_plan{nullptr};
std::atomic<bool> environment_read{false};

[[noreturn]] void throw_bad_spec(std::string_view entry) {
  throw std::invalid_argument("LEVADA_FAIL: '" + std::string(entry) +
                              "' is not name:nth:kill, …:stop, …:throw or …:sleep=ms with a known "
                              "name");
}

std::uint64_t parse_number(std::string_view text, std::string_view entry) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) throw_bad_spec(entry);
  return number;
}

Armed parse_entry(std::string_view entry) {
  const std::size_t first = entry.find(':');
  const std::size_t second = first == std::string_view::npos ? first : entry.find(':', first + 1);
  if (second == std::string_view::npos) throw_bad_spec(entry);
  const std::string_view name = entry.substr(0, first);
  const std::string_view action = entry.substr(second + 1);
  Armed armed;
  while (armed.point < kFailPoints.size() && kFailPoints[armed.point].name != name) ++armed.point;
  armed.nth = parse_number(entry.substr(first + 1, second - first - 1), entry);
  if (armed.point == kFailPoints.size() || armed.nth == 0) throw_bad_spec(entry);
  if (action == "kill") {
    armed.action = Action::kKill;
  } else if (action == "stop") {
    armed.action = Action::kStop;
  } else if (action == "throw") {
    armed.action = Action::kThrow;
  } else if (action.starts_with("sleep=")) {
    armed.action = Action::kSleep;
    armed.pause = std::chrono::milliseconds(parse_number(action.substr(6), entry));
  } else {
    throw_bad_spec(entry);
  }
  return armed;
}

std::unique_ptr<Plan> parse_plan(std::string_view spec) {
  auto plan = std::make_unique<Plan>();
  while (!spec.empty()) {
    const std::size_t comma = std::min(spec.find(','), spec.size());
    plan->armed.push_back(parse_entry(spec.substr(0, comma)));
    spec.remove_prefix(std::min(comma + 1, spec.size()));
  }
  return plan;
}

Plan& plan_of_environment() {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (environment_read.load(std::memory_order_acquire)) return *current_plan.load();
  const char* spec = std::getenv("LEVADA_FAIL");  // NOLINT(concurrency-mt-unsafe): only read here
  arm_fail_points(spec == nullptr ? "" : spec);
  return *current_plan.load();
}

void act(const Armed& armed) {
  switch (armed.action) {
    case Action::kKill:
      ::kill(::getpid(), SIGKILL);
      for (;;) ::pause();
    case Action::kStop: ::kill(::getpid(), SIGSTOP); return;
    case Action::kThrow:
      throw std::runtime_error("fail point " + std::string(kFailPoints[armed.point].name));
    case Action::kSleep: std::this_thread::sleep_for(armed.pause); return;
  }
}

// The file named by LEVADA_PHASE_FILE, mapped: its pages outlive the process. Null when there is
// none.
std::uint64_t* map_phase_file() {
  const char* path = std::getenv("LEVADA_PHASE_FILE");  // NOLINT(concurrency-mt-unsafe)
  if (path == nullptr) return nullptr;
  const int fd = ::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  void* mapped = MAP_FAILED;
  if (fd >= 0 && ::ftruncate(fd, 16) == 0) {
    mapped = ::mmap(nullptr, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (mapped == MAP_FAILED) throw std::system_error(error, std::generic_category(), path);
  return static_cast<std::uint64_t*>(mapped);
}

// Every name has at most eight bytes: a phase is one store, never half written.
std::uint64_t packed_name(Phase phase) {
  const std::string_view name = to_string(phase);
  char padded[8] = {};
  std::memcpy(padded, name.data(), std::min(name.size(), sizeof padded));
  return std::bit_cast<std::uint64_t>(padded);
}

}  // namespace

Phase set_phase(Phase phase) {
  static std::atomic<Phase> current{Phase::kRun};
  static std::uint64_t* const file = map_phase_file();
  const Phase before = current.exchange(phase, std::memory_order_relaxed);
  if (file != nullptr) {
    std::atomic_ref<std::uint64_t>(*file).store(packed_name(phase), std::memory_order_relaxed);
  }
  return before;
}

void arm_fail_points(std::string_view spec) {
  Plan* plan = parse_plan(spec).release();
  plan->before = current_plan.load();
  current_plan.store(plan);
  environment_read.store(true, std::memory_order_release);
  detail::fail_points_off.store(plan->armed.empty(), std::memory_order_release);
}

void reset_fail_points() {
  environment_read.store(false);
  detail::fail_points_off.store(false);
}

namespace detail {

std::atomic<bool> fail_points_off{false};

void pass_armed_fail_point(std::size_t index) {
  const bool read = environment_read.load(std::memory_order_acquire);
  Plan& plan = read ? *current_plan.load() : plan_of_environment();
  if (plan.armed.empty()) return;
  const std::uint64_t passing = 1 + plan.passings[index].fetch_add(1, std::memory_order_relaxed);
  for (const Armed& armed : plan.armed) {
    if (armed.point == index && armed.nth == passing) act(armed);
  }
}

}  // namespace detail
}  // namespace levada

#endif
