// Runs a program to its end and measures it from outside: CPU time (user and system, all threads), time and
// memory of the whole process, and what it printed.
#pragma once

#include <string>
#include <vector>

namespace bench {

struct ChildRun {
  double cpu_s = 0;
  double wall_s = 0;
  double rss_mb = 0;
  int status = 0;  ///< as of waitpid; 0: it ended well
  std::string output;
};

/// Runs `words[0]`, a path, with the arguments after it. `environment` ("NAME=value") is added to this
/// process's own. Standard error is shared.
ChildRun run_child(const std::vector<std::string>& words,
                   const std::vector<std::string>& environment = {});

}  // namespace bench
