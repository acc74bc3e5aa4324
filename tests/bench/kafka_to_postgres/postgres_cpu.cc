#include "postgres_cpu.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>

#include <pqxx/pqxx>
#include <unistd.h>

namespace bench {
namespace {

struct ProcessTimes {
  pid_t parent = 0;
  long own_ticks = 0;
  long ended_children_ticks = 0;  // of those that the process has waited for
};

// See proc(5), /proc/pid/stat; the name, which may hold anything, ends at the last ')'.
std::optional<ProcessTimes> read_times(const std::filesystem::path& folder) {
  std::ifstream file(folder / "stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  ProcessTimes times;
  std::string state, skipped;
  fields >> state >> times.parent;
  for (int field = 5; field <= 13; ++field) fields >> skipped;
  long user = 0, system = 0, children_user = 0, children_system = 0;
  fields >> user >> system >> children_user >> children_system;
  if (!fields) return std::nullopt;
  times.own_ticks = user + system;
  times.ended_children_ticks = children_user + children_system;
  return times;
}

std::filesystem::path proc(pid_t pid) {
  return "/proc/" + std::to_string(pid);
}

}  // namespace

PostgresCpu::PostgresCpu(const std::string& conninfo) {
  const pqxx::connection connection(conninfo);
  const auto backend = read_times(proc(connection.backendpid()));
  if (!backend) throw std::runtime_error("the PostgreSQL server does not run on this machine");
  server_ = backend->parent;
}

double PostgresCpu::seconds() const {
  const auto server = read_times(proc(server_));
  if (!server) throw std::runtime_error("the PostgreSQL server is gone");
  long ticks = server->own_ticks + server->ended_children_ticks;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto times = read_times(entry.path());
    if (times && times->parent == server_) ticks += times->own_ticks;
  }
  return static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace bench
