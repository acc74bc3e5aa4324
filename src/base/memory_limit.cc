#include "base/memory_limit.h"

#include <algorithm>
#include <fstream>
#include <string_view>

namespace levada {
namespace {

// The number in a limit file; "max" (v2) and what cannot be read are no limit.
std::size_t limit_in(const std::string& path, std::size_t no_limit) {
  std::ifstream file(path);
  std::size_t bytes = 0;
  return file >> bytes ? bytes : no_limit;
}

// The least limit of `group` and the groups around it, below `mount`. Inside a container the
// group's path may not exist there; the mount itself then is the container's group.
std::size_t limit_of_groups(const std::string& mount, std::string group, std::string_view file,
                            std::size_t no_limit) {
  std::size_t least = no_limit;
  for (;;) {
    while (group.ends_with('/')) group.pop_back();
    least = std::min(least, limit_in(mount + group + "/" + std::string(file), no_limit));
    if (group.empty()) return least;
    group.resize(std::min(group.rfind('/'), group.size() - 1));
  }
}

}  // namespace

std::size_t memory_limit_bytes(std::size_t physical_bytes, const std::string& root) {
  std::size_t least = physical_bytes;
  std::ifstream groups(root + "/proc/self/cgroup");
  // Each line is "hierarchy:controllers:path"; v2 has hierarchy 0 and no controllers.
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") {
      least = std::min(least, limit_of_groups(root + "/sys/fs/cgroup", group, "memory.max", least));
    } else if (controllers.find(",memory,") != std::string::npos) {
      least = std::min(least, limit_of_groups(root + "/sys/fs/cgroup/memory", group,
                                              "memory.limit_in_bytes", least));
    }
  }
  return least;
}

}  // namespace levada
